"""Requests of two services that are not there yet, as their documentation has them: one signs and expects to be refused
what is not signed (as Xero), the other sends headers and no body (as Google)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

import orjson

from connectors.hooks import Delivery, Headers, Named, Unreadable


def signed(secret: str, body: bytes) -> Mapping[str, str]:
    return {"X-Xero-Signature": base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()}


class SignedHooks:
    """Events without ids, several in a body, or none: that is how it is tried out whether signatures are looked at."""

    def __init__(self, tables: Mapping[str, str]) -> None:
        self._tables = tables

    def verify(self, secret: str, headers: Headers, body: bytes) -> bool:
        given = headers.get("x-xero-signature", "")
        return hmac.compare_digest(signed(secret, body)["X-Xero-Signature"].encode(), given.encode())

    def handshake(self, headers: Headers, body: bytes) -> str | None:  # noqa: ARG002 people get it from the service
        return None

    def read(self, _headers: Headers, body: bytes) -> Delivery:
        try:
            events = orjson.loads(body)["events"]
        except (ValueError, KeyError):
            raise Unreadable from None
        named = {Named(self._tables.get(one["eventCategory"]), one["resourceId"]) for one in events}
        return Delivery(hashlib.sha256(body).hexdigest(), frozenset(named))


class HeaderHooks:
    """A channel's token, its number of the message, and nothing of what has changed."""

    def __init__(self, channels: Mapping[str, str]) -> None:
        self._channels = channels

    def verify(self, secret: str, headers: Headers, body: bytes) -> bool:
        return not body and hmac.compare_digest(secret.encode(), headers.get("x-goog-channel-token", "").encode())

    def handshake(self, headers: Headers, body: bytes) -> str | None:  # noqa: ARG002 it is given out by us
        return None

    def read(self, headers: Headers, _body: bytes) -> Delivery:
        channel, number = headers["x-goog-channel-id"], headers["x-goog-message-number"]
        changed = headers["x-goog-resource-state"] != "sync" and channel in self._channels
        return Delivery(f"{channel} {number}", tables=frozenset([self._channels[channel]] if changed else []))
