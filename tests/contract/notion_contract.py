"""Notion's own types, as JSON Schemas, held against what the simulator is asked and what it answers.

They are the vendor's and no part of this repository: `../shared/specs/notion`, or `notion` in the directory that
PLACEMAT_SPECS names. A clone without them skips what needs them; with CI or PLACEMAT_SPECS set that is a failure.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from connectors.notion.simulator import Exchange, NotionSimulator

REPOSITORY = Path(__file__).parents[2]

REQUESTS: Mapping[str, tuple[str, str | None]] = {
    "create_page": ("CreatePageParameters", None),
    "update_page": ("UpdatePageParameters", "page_id"),
    "query_data_source": ("QueryDataSourceParameters", "data_source_id"),
    "update_data_source": ("UpdateDataSourceParameters", "data_source_id"),
    "append_children": ("AppendBlockChildrenParameters", "block_id"),
}
"""The type of a request, and the name under which it holds the id that stands in the path."""
ANSWERS: Mapping[str, str] = {
    "create_page": "PageObjectResponse",
    "update_page": "PageObjectResponse",
    "get_page": "PageObjectResponse",
    "query_data_source": "QueryDataSourceResponse",
    "get_data_source": "GetDataSourceResponse",
    "update_data_source": "GetDataSourceResponse",
    "get_database": "GetDatabaseResponse",
    "oauth_token": "OauthTokenResponse",
}
USERS = frozenset(["get_me", "get_user"])
NO_TYPE = frozenset(["get_children", "append_children", "oauth_introspect", "oauth_revoke", "oauth_authorize"])
"""Whose answers we have no type of."""
EVENTS: Mapping[str, str] = {
    "page.deleted": "PageDeletedWebhookPayload",
    "page.properties_updated": "PagePropertiesUpdatedWebhookPayload",
}
PIECES: Mapping[str, str] = {
    "title": "RichTextItemResponse",
    "rich_text": "RichTextItemResponse",
    "relation": "RelationItemPropertyValueResponse",
    "people": "PartialUserObjectResponse",
}
CODES: Mapping[str, int] = {
    "invalid_json": 400,
    "invalid_request_url": 400,
    "invalid_request": 400,
    "invalid_grant": 400,
    "missing_version": 400,
    "validation_error": 400,
    "unauthorized": 401,
    "restricted_resource": 403,
    "object_not_found": 404,
    "conflict_error": 409,
    "row_limit_exceeded": 409,
    "rate_limited": 429,
    "internal_server_error": 500,
    "service_unavailable": 503,
    "gateway_timeout": 504,
    "service_overload": 529,
}
ERROR_FIELDS = frozenset(["object", "status", "code", "message", "request_id", "additional_data"])


class Contract:
    """What was checked, by type, and what did not hold. `attach` it before the first request."""

    def __init__(self, specs: Path) -> None:
        self._specs = specs
        self.checked: Counter[str] = Counter()
        self.failures: list[str] = []
        self._every_request = False

    def attach(self, simulator: NotionSimulator, *, every_request: bool = False) -> None:
        """`every_request`: also those that were refused for what they say, as none of ours may be."""
        self._every_request = every_request
        simulator.observe(self.exchange)
        simulator.webhooks.observe = self.event

    def exchange(self, exchange: Exchange) -> None:
        seen = exchange.seen
        if exchange.request is not None and (seen.done or self._every_request):
            self._request(exchange)
        if exchange.response is None:
            return
        if isinstance(exchange.response, dict) and exchange.response.get("object") == "error":
            self._error(exchange.response)
        elif seen.route in ANSWERS:
            self._hold(ANSWERS[seen.route], exchange.response)
        elif seen.route in USERS:
            self._hold("PageObjectResponse", exchange.response, "UserObjectResponse")
        elif seen.route == "get_property":
            self._property_item(exchange.response)
        elif seen.route not in NO_TYPE:
            self.failures.append(f"nobody said what {seen.route} answers")

    def event(self, event: object) -> None:
        assert isinstance(event, dict)
        type_ = EVENTS.get(str(event["type"]))
        if type_ is None:
            type_ = "PageDeletedWebhookPayload"
            event = {**event, "type": "page.deleted", "entity": {**event["entity"], "type": "page"}}
        self._hold(type_, event)

    def verify(self) -> None:
        assert not self.failures, "\n".join(self.failures[:5])

    def _request(self, exchange: Exchange) -> None:
        type_, id_ = REQUESTS.get(exchange.seen.route, (None, None))
        if type_ is None or not isinstance(exchange.request, dict):
            return
        more = {} if id_ is None else {id_: exchange.ids["id"]}
        self._hold(type_, exchange.request | more)

    def _property_item(self, item: object) -> None:
        assert isinstance(item, dict)
        if item["object"] == "list":
            kind = item["type"] == "property_item" and item["property_item"]["type"]
            for one in item["results"]:
                self._hold("PageObjectResponse", one[kind], PIECES[kind])
            return
        own = {name: value for name, value in item.items() if name != "object"}
        self._report("a page's property", _value().iter_errors(own))

    def _error(self, body: Mapping[str, Any]) -> None:
        self.checked["error"] += 1
        strange = set(body) - ERROR_FIELDS
        if strange or CODES.get(body["code"]) != body["status"] or not isinstance(body["message"], str):
            self.failures.append(f"no error of Notion's: {body}")

    def _hold(self, type_: str, body: object, definition: str | None = None) -> None:
        self._report(definition or type_, _validator(self._specs, type_, definition).iter_errors(body))

    def _report(self, what: str, errors: Any) -> None:
        self.checked[what] += 1
        for error in errors:
            best = jsonschema.exceptions.best_match([error]) or error
            self.failures.append(f"{what}: {best.json_path}: {best.message[:300]}")


@cache
def _schema(specs: Path, type_: str) -> Any:
    return json.loads((specs / f"{type_}.json").read_text())


@cache
def _validator(specs: Path, type_: str, definition: str | None) -> Any:
    schema = _schema(specs, type_)
    if definition is not None:
        schema = schema | {"$ref": f"#/definitions/{definition}"}
    return jsonschema.Draft7Validator(schema)


@cache
def _value() -> Any:
    """A property's value in a page object."""
    schema = _schema(directory(), "PageObjectResponse")
    value = schema["definitions"]["PageObjectResponse"]["properties"]["properties"]["additionalProperties"]
    return jsonschema.Draft7Validator({**value, "definitions": schema["definitions"]})


def directory() -> Path:
    named = os.environ.get("PLACEMAT_SPECS")
    return (Path(named) if named else REPOSITORY.parent / "shared" / "specs") / "notion"


def contract() -> Contract:
    """Skips, or fails where it is demanded, without the vendor's types."""
    found = directory()
    if not found.is_dir():
        reason = f"not run: Notion's types are not there ({found}); set PLACEMAT_SPECS"
        if os.environ.get("CI") or os.environ.get("PLACEMAT_SPECS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Contract(found)
