"""A person who works in Notion: over HTTP and with a token of their own, as anybody."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

VERSION = "2026-03-11"
Properties = Mapping[str, Any]
"""By name, in the shapes that Notion's API has for them."""


class Person:
    """Raises RuntimeError where Notion refuses what the person does, and OSError when it is away."""

    def __init__(self, url: str, token: str) -> None:
        self._address = urlsplit(url).netloc
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Notion-Version": VERSION,
            "Content-Type": "application/json",
        }

    def make(self, data_source: str, properties: Properties) -> str:
        """The id of a new page."""
        parent = {"type": "data_source_id", "data_source_id": data_source}
        return str(self._ask("POST", "/v1/pages", {"parent": parent, "properties": properties})["id"])

    def edit(self, page: str, properties: Properties) -> None:
        self._ask("PATCH", f"/v1/pages/{page}", {"properties": properties})

    def command(self, page: str, properties: Properties) -> str:
        """What a shell takes to make that edit."""
        headers = " ".join(f"-H '{name}: {value}'" for name, value in self._headers.items())
        body = json.dumps({"properties": properties})
        return f"curl -s -o /dev/null -X PATCH http://{self._address}/v1/pages/{page} {headers} -d '{body}'"

    def _ask(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        try:
            connection.request(method, path, json.dumps(body), self._headers)
            answer = connection.getresponse()
            found: dict[str, Any] = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise RuntimeError(f"Notion answers {answer.status}: {found.get('message')}")
        return found


def text(value: str) -> dict[str, Any]:
    return {"rich_text": [{"text": {"content": value}}]}


def title(value: str) -> dict[str, Any]:
    return {"title": [{"text": {"content": value}}]}
