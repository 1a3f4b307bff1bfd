"""Requests to Notion, one function each; what comes of them is an `Outcome`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.http.answer import Effect
from connectors.http.client import HttpClient
from connectors.http.outcome import Answered, Outcome
from connectors.http.request import Request
from connectors.notion.mapping import Property

VERSION = "2026-03-11"
PAGE_SIZE = 100


class NotionClient:
    """From any thread. Raises as `HttpClient.send` does."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    def await_room(self) -> None:
        """See `HttpClient.await_room`."""
        self._http.await_room()

    def data_source(self, id_: str) -> Outcome:
        return self._http.send(Request("GET", "/v1/data_sources/{source}", "reads", {"source": id_}))

    def query(self, id_: str, body: Mapping[str, Any], properties: Sequence[str] = ()) -> Outcome:
        """Pages of a data source; `properties` are those that are asked for, none: all."""
        return self._http.send(
            Request(
                "POST", "/v1/data_sources/{source}/query", "reads", {"source": id_},
                query=[("filter_properties", one) for one in properties], body={"page_size": PAGE_SIZE, **body},
            )
        )  # fmt: skip

    def me(self) -> Outcome:
        """Whose token it is (Notion: authorization)."""
        return self._http.send(Request("GET", "/v1/users/me", "reads"))

    def page(self, id_: str) -> Outcome:
        return self._http.send(Request("GET", "/v1/pages/{page}", "reads", {"page": id_}))

    def create(self, source: str, properties: Mapping[str, Any], latest: float | None = None) -> Outcome:
        parent = {"type": "data_source_id", "data_source_id": source}
        return self._http.send(
            Request("POST", "/v1/pages", "creates", body={"parent": parent, "properties": properties}, latest=latest)
        )

    def update(
        self, id_: str, body: Mapping[str, Any], latest: float | None = None, *, deletes: bool = False
    ) -> Outcome:
        effect: Effect = "deletes" if deletes else "changes"
        return self._http.send(Request("PATCH", "/v1/pages/{page}", effect, {"page": id_}, body=body, latest=latest))

    def items(self, page: str, property_id: str, cursor: str | None) -> Outcome:
        """Items of one property of a page, which shows no more than the first of them (Notion: property items)."""
        query = [("page_size", str(PAGE_SIZE)), *([("start_cursor", cursor)] if cursor else [])]
        places = {"page": page, "property": property_id}
        return self._http.send(Request("GET", "/v1/pages/{page}/properties/{property}", "reads", places, query=query))


def schema(answer: Answered) -> list[Property]:
    """Of a data source's answer."""
    return [_property(name, one) for name, one in answer.body["properties"].items()]


def _property(name: str, one: Mapping[str, Any]) -> Property:
    type_ = str(one["type"])
    about = one.get(type_) or {}
    return Property(
        str(one["id"]), name, type_, tuple(str(option["name"]) for option in about.get("options", ())),
        about.get("data_source_id") if type_ == "relation" else None,
    )  # fmt: skip


def item_values(answer: Answered, type_: str) -> Iterator[Any]:
    """What a page of items holds, as the property itself would have it."""
    for one in answer.body["results"]:
        yield one[type_]
