"""Somebody who works in the simulated Notion, and counts there: `python workspace.py SOURCE TOKEN`.

Prints what each page of a data source holds as its row's key, and its title, with a tab between. With `make NAME` a
page is made there, and with `rename NAME OTHER` the one of that title gets another.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

URL = "http://127.0.0.1:8420/v1"


def ask(token: str, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {
        "Authorization": f"Bearer {token}",
        "Notion-Version": "2026-03-11",
        "Content-Type": "application/json",
    }
    with urlopen(Request(f"{URL}/{path}", json.dumps(body).encode(), headers, method=method)) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def pages(token: str, source: str) -> Iterator[tuple[str, str, str]]:
    """Id, key and title of each."""
    body: dict[str, Any] = {"page_size": 100}
    while True:
        found = ask(token, "POST", f"data_sources/{source}/query", body)
        for page in found["results"]:
            yield page["id"], text(page, "Sync Key", "rich_text"), text(page, "Name", "title")
        if not found["has_more"]:
            return
        body["start_cursor"] = found["next_cursor"]


def text(page: dict[str, Any], name: str, kind: str) -> str:
    return "".join(one["plain_text"] for one in page["properties"][name][kind])


def titled(name: str) -> dict[str, Any]:
    return {"Name": {"title": [{"text": {"content": name}}]}}


def main() -> None:
    source, token, *asked = sys.argv[1:]
    match asked:
        case []:
            for _, key, title in pages(token, source):
                sys.stdout.write(f"{key}\t{title}\n")
        case ["make", name]:
            parent = {"type": "data_source_id", "data_source_id": source}
            planned = {"Status": {"status": {"name": "Planned"}}}
            ask(token, "POST", "pages", {"parent": parent, "properties": titled(name) | planned})
        case ["rename", name, other]:
            [page] = [id_ for id_, _, title in pages(token, source) if title == name]
            ask(token, "PATCH", f"pages/{page}", {"properties": titled(other)})
        case _:
            sys.exit(f"not understood: {asked}")


if __name__ == "__main__":
    main()
