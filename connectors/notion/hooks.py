"""Requests by which Notion tells that pages have changed (`connectors.hooks.Hooks`; Notion: webhooks)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from connectors.hooks import LONGEST_ID, Delivery, Headers, Named, Unreadable

SIGNATURE = "x-notion-signature"
LONGEST_HANDSHAKE = 2_000
_TOKEN = re.compile(r"[!-~]{16,500}")
_UNCHANGED = {"page.locked", "page.unlocked"}
"""Kinds of events that say nothing of a page's properties, nor of where it is."""


class _Parent(msgspec.Struct):
    data_source_id: str | None = None


class _About(msgspec.Struct):
    parent: _Parent | None = None


class _Entity(msgspec.Struct):
    id: str
    type: str


class _Event(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)]
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    type: str
    entity: _Entity
    data: _About | None = None


_event = msgspec.json.Decoder(_Event).decode


class NotionHooks:
    """See `connectors.hooks.Hooks`. `data_sources` are ids of those from which anything comes back, by table."""

    def __init__(self, data_sources: Mapping[str, str]) -> None:
        self._tables = {_bare(id_): table for table, id_ in data_sources.items()}

    def verify(self, secret: str, headers: Headers, body: bytes) -> bool:
        expected = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
        return hmac.compare_digest(expected.encode(), headers.get(SIGNATURE, "").encode("utf-8", "replace"))

    def handshake(self, headers: Headers, body: bytes) -> str | None:
        if SIGNATURE in headers or len(body) > LONGEST_HANDSHAKE:
            return None
        try:
            found = msgspec.json.decode(body, type=dict[str, str])
        except (msgspec.DecodeError, RecursionError):
            return None
        token = found.get("verification_token", "")
        return token if found.keys() == {"verification_token"} and _TOKEN.fullmatch(token) else None

    def read(self, _headers: Headers, body: bytes) -> Delivery:
        try:
            event = _event(body)
        except (msgspec.DecodeError, RecursionError):
            raise Unreadable from None  # its own message may hold what came
        if event.entity.type != "page" or not event.type.startswith("page.") or event.type in _UNCHANGED:
            return Delivery(event.id, at=event.timestamp)
        parent = None if event.data is None or event.data.parent is None else event.data.parent.data_source_id
        table = None if parent is None else self._tables.get(_bare(parent))
        return Delivery(event.id, frozenset({Named(table, _page(event.entity.id))}), at=event.timestamp)


def _page(id_: str) -> str:
    """As the API writes it. Raises Unreadable where it is none."""
    try:
        return str(UUID(id_))
    except ValueError:
        raise Unreadable from None


def _bare(id_: str) -> str:
    return id_.replace("-", "").lower()
