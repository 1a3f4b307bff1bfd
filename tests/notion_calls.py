"""Requests to the simulator of Notion as tests send them, one by one and never again by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import httpx

from connectors.notion.simulator import NotionSimulator

VERSION = "2026-03-11"


class Calls:
    """`json` of every answer is at hand as Any. Raises httpx.TransportError where the connection is cut."""

    def __init__(self, url: str, token: str, version: str = VERSION, timeout: httpx.Timeout | float = 30) -> None:
        headers = {"Authorization": f"Bearer {token}", "Notion-Version": version}
        self.http = httpx.Client(base_url=f"{url}/v1/", headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.http.close()

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self.http.get(path, params=params)

    def post(self, path: str, body: object, **params: Any) -> httpx.Response:
        return self.http.post(path, json=body, params=params)

    def patch(self, path: str, body: object) -> httpx.Response:
        return self.http.patch(path, json=body)

    def create(self, source: str, properties: dict[str, Any], **more: Any) -> httpx.Response:
        return self.post(
            "pages", {"parent": {"type": "data_source_id", "data_source_id": source}, "properties": properties, **more}
        )

    def update(self, page: str, properties: dict[str, Any], **more: Any) -> httpx.Response:
        return self.patch(f"pages/{page}", {"properties": properties, **more})

    def query(self, source: str, **body: Any) -> Any:
        answer = self.post(f"data_sources/{source}/query", body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def all(self, source: str, **body: Any) -> Iterator[Any]:
        """Every row of a query, page by page."""
        cursor = None
        while True:
            found = self.query(source, **body, **({"start_cursor": cursor} if cursor else {}))
            yield from found["results"]
            cursor = found["next_cursor"]
            if not found["has_more"]:
                return


def title(text: str) -> dict[str, Any]:
    return {"title": [{"text": {"content": text}}]}


def rich(text: str) -> dict[str, Any]:
    return {"rich_text": [{"text": {"content": text}}]}


def calls_to(simulator: NotionSimulator, version: str = VERSION, timeout: httpx.Timeout | float = 30) -> Calls:
    return Calls(simulator.url, simulator.token, version, timeout)
