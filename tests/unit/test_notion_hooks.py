"""Requests of Notion: whose they are, and what they name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.hooks import Delivery, Named, Unreadable
from connectors.notion.hooks import LONGEST_HANDSHAKE, NotionHooks
from connectors.notion.simulator.webhooks import sign

SECRET = "secret_" + "k" * 40
SOURCE = "2f26ee68-df30-4251-aad4-8ddc420cba3d"
PAGE = "1b0f5c9e-0a6b-4c43-9c53-3d3f5b1f2a77"
HOOKS = NotionHooks({"public.projects": SOURCE.replace("-", "").upper()})
AT = "2026-03-02T09:00:10.000Z"


def event(**changes: Any) -> bytes:
    told = {
        "id": "e1", "timestamp": AT, "type": "page.properties_updated", "attempt_number": 1, "authors": [],
        "entity": {"id": PAGE, "type": "page"},
        "data": {"parent": {"id": "x", "type": "database", "data_source_id": SOURCE}, "updated_properties": ["title"]},
    }  # fmt: skip
    return json.dumps(told | changes).encode()


def delivery(*records: Named) -> Delivery:
    return Delivery("e1", frozenset(records), at=datetime(2026, 3, 2, 9, 0, 10, tzinfo=UTC))


def test_a_signature_is_of_these_bytes_and_of_no_others() -> None:
    body = event()
    assert HOOKS.verify(SECRET, {"x-notion-signature": sign(SECRET, body)}, body)
    again = json.dumps(json.loads(body), separators=(",", ":")).encode()
    assert not HOOKS.verify(SECRET, {"x-notion-signature": sign(SECRET, body)}, again), "written down once more"
    assert not HOOKS.verify(SECRET + "x", {"x-notion-signature": sign(SECRET, body)}, body)


@pytest.mark.parametrize("signature", ["", "sha256=", "sha256=00", "\xe4", "md5=1", sign(SECRET, event()).upper()])
def test_what_is_no_signature_is_none(signature: str) -> None:
    assert not HOOKS.verify(SECRET, {"x-notion-signature": signature}, event())
    assert not HOOKS.verify(SECRET, {}, event())


def test_a_page_of_ours_is_named_with_its_table() -> None:
    assert HOOKS.read({}, event()) == delivery(Named("public.projects", PAGE))


@pytest.mark.parametrize(
    "parent", [{"id": "x", "type": "page"}, {"id": "x", "type": "database", "data_source_id": "y"}]
)
def test_a_page_that_is_elsewhere_is_named_in_case_it_was_ours(parent: dict[str, str]) -> None:
    assert HOOKS.read({}, event(type="page.moved", data={"parent": parent})) == delivery(Named(None, PAGE))


@pytest.mark.parametrize(
    ("type_", "entity"),
    [
        ("page.locked", "page"),
        ("comment.created", "comment"),
        ("data_source.schema_updated", "data_source"),
        ("something.new", "thing"),
    ],
)
def test_an_event_that_says_nothing_of_a_page_names_nothing(type_: str, entity: str) -> None:
    assert HOOKS.read({}, event(type=type_, entity={"id": "z", "type": entity})) == delivery()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        event(id=""),
        event(id="x" * 201),
        event(id=7),
        event(timestamp="yesterday"),
        event(timestamp="2026-03-02T09:00:10"),
        event(entity={"id": "../users/me", "type": "page"}),
        event(entity=None),
        event(data={"parent": [1]}),
    ],
)
def test_what_is_not_in_the_documentation_is_told_as_such(body: bytes) -> None:
    with pytest.raises(Unreadable):
        HOOKS.read({}, body)


def test_a_token_is_handed_over_by_a_request_that_holds_nothing_else() -> None:
    handed = json.dumps({"verification_token": SECRET}).encode()
    assert HOOKS.handshake({}, handed) == SECRET
    assert HOOKS.handshake({"x-notion-signature": ""}, handed) is None


@pytest.mark.parametrize(
    "body",
    [
        event(),
        b"{}",
        b"[]",
        b"",
        b"\xff",
        b"[" * 1_999,
        json.dumps({"verification_token": SECRET, "id": "x"}).encode(),
        json.dumps({"verification_token": "short"}).encode(),
        json.dumps({"verification_token": "x y" * 10}).encode(),
        json.dumps({"verification_token": 7}).encode(),
        json.dumps({"verification_token": SECRET}).encode() + b" " * LONGEST_HANDSHAKE,
    ],
)
def test_no_other_request_hands_over_anything(body: bytes) -> None:
    assert HOOKS.handshake({}, body) is None
