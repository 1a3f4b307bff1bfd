"""A quick script's way of keeping rows and Notion in step: each shortcut here does damage that has its test."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

TRIES = 5
FIELDS: Mapping[str, str] = {"Name": "title", "Budget": "number", "Description": "rich_text"}
Row = dict[str, Any]


class GaveUp(Exception):
    """The script ended here, and whatever it had still to do with it."""


@dataclass
class Naive:
    """`hub` holds the rows by key, `links` the pages that were made of them. `echo`: how it knows its own edits."""

    url: str
    token: str
    source: str
    echo: Literal["none", "same minute"] = "none"
    hub: dict[str, Row] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    cursor: str | None = None
    pushed: dict[str, str] = field(default_factory=dict)
    applied: list[str] = field(default_factory=list)
    """The ids of the webhooks that it acted on."""

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}", "Notion-Version": "2026-03-11"}
        self._http = httpx.Client(base_url=f"{self.url}/v1/", headers=headers, timeout=30)

    def close(self) -> None:
        self._http.close()

    def _send(self, method: str, path: str, body: object = None) -> Any:
        """Again on any trouble, at once; what it does not know ends the script."""
        for _ in range(TRIES):
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.TransportError:
                continue
            if answer.status_code in (429, 500, 502, 503, 504):
                continue
            if answer.status_code == 200:
                return answer.json()
            raise GaveUp(answer.text)
        raise GaveUp("tried often enough")

    # Outward

    def push(self, key: str) -> None:
        """A page that can not be updated must be gone: another is made."""
        properties = self._mapped(key)
        if key in self.links:
            try:
                page = self._send("PATCH", f"pages/{self.links[key]}", {"properties": properties})
            except GaveUp:
                page = self._make(properties)
        else:
            page = self._make(properties)
        self.links[key] = page["id"]
        self.pushed[page["id"]] = page["last_edited_time"]

    def _make(self, properties: Mapping[str, Any]) -> Any:
        return self._send("POST", "pages", {"parent": {"data_source_id": self.source}, "properties": properties})

    def _mapped(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = {"Sync Key": {"rich_text": [{"text": {"content": key}}]}}
        for name, value in self.hub[key].items():
            kind = FIELDS[name]
            found[name] = {kind: value if kind == "number" else [{"text": {"content": value}}]}
        return found

    # Inward

    def poll(self) -> list[str]:
        """Takes what was edited after the last edit that was seen, and tells the keys."""
        body: dict[str, Any] = {"sorts": [{"timestamp": "last_edited_time", "direction": "ascending"}]}
        if self.cursor is not None:
            body["filter"] = {"timestamp": "last_edited_time", "last_edited_time": {"after": self.cursor}}
        taken = []
        for page in self._rows(body):
            self.cursor = page["last_edited_time"]
            taken += self._take(page)
        return taken

    def round(self) -> None:
        """What was taken may have been completed here, so it is pushed back."""
        for key in self.poll():
            self.push(key)

    def _rows(self, body: Mapping[str, Any]) -> Iterator[Any]:
        cursor: dict[str, Any] = {}
        while True:
            found = self._send("POST", f"data_sources/{self.source}/query", {**body, **cursor})
            yield from found["results"]
            if not found["has_more"]:
                return
            cursor = {"start_cursor": found["next_cursor"]}

    def _take(self, page: Any) -> list[str]:
        if self.echo == "same minute" and self.pushed.get(page["id"]) == page["last_edited_time"]:
            return []
        key = _text(page["properties"]["Sync Key"]["rich_text"])
        self.links.setdefault(key, page["id"])
        self.hub[key] = {name: _shown(page["properties"].get(name, {}), kind) for name, kind in FIELDS.items()}
        return [key]

    def compare(self) -> None:
        """Reads everything; what is not there any more is deleted here too."""
        seen = {_text(page["properties"]["Sync Key"]["rich_text"]) for page in self._rows({})}
        for key in set(self.hub) - seen:
            del self.hub[key]

    # Webhooks

    def believe(self, body: bytes) -> None:
        """Does what an event says, in the order in which events come."""
        event = json.loads(body)
        self.applied.append(event["id"])
        page = event["entity"]["id"]
        key = next((key for key, id_ in self.links.items() if id_ == page), None)
        if key is None:
            return
        if event["type"] == "page.deleted":
            self.hub.pop(key, None)
        elif event["type"] == "page.undeleted":
            self.hub.setdefault(key, {"Name": "", "Budget": None, "Description": ""})
        else:
            self._take(self._send("GET", f"pages/{page}"))
            self.push(key)

    def trusts(self, body: bytes, signature: str, token: str) -> bool:
        """Checks what it has read, written down once more."""
        again = json.dumps(json.loads(body)).encode()
        return signature == f"sha256={hmac.new(token.encode(), again, hashlib.sha256).hexdigest()}"


def _text(pieces: Any) -> str:
    return "".join(piece["plain_text"] for piece in pieces)


def _shown(value: Mapping[str, Any], kind: str) -> Any:
    found = value.get(kind)
    return found if kind == "number" else _text(found or [])
