"""What the events of one key come to: an envelope with every column that is known, or nothing. Pure.

Unlike the sink's fold this one knows nothing of a target, and keeps envelopes: they outlive this process on disk.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Head(msgspec.Struct):
    """As much of an envelope as tells how to fold it."""

    op: str
    after: msgspec.Raw = msgspec.Raw()
    unchanged: list[str] | None = None

    @property
    def gone(self) -> bool:
        """Whether it says that the key has no row."""
        return bytes(self.after) in (b"", b"null")


class _Content(msgspec.Struct):
    after: dict[str, msgspec.Raw]
    op: Literal["u"] = "u"
    unchanged: list[str] = []
    json_null: list[str] = []
    json_text: list[str] = []
    oversize: int | None = None


class _Read(msgspec.Struct):
    after: dict[str, msgspec.Raw]
    unchanged: list[str] | None = None
    json_null: list[str] | None = None
    json_text: list[str] | None = None
    oversize: int | None = None


decode_head = msgspec.json.Decoder(Head).decode
_decode = msgspec.json.Decoder(_Read).decode
_encode = msgspec.json.Encoder().encode


def overlay(known: bytes | None, event: bytes) -> bytes:
    """A part of a row (an event with unchanged columns) laid over what is known of it; None where there is nothing."""
    if known is None:
        return event
    old, new = _decode(known), _decode(event)
    if old.oversize is not None:
        return event
    after = {**old.after, **new.after}
    unknown = {*(old.unchanged or ()), *(new.unchanged or ())} - after.keys()
    return _encode(
        _Content(
            after,
            op="u",
            unchanged=sorted(unknown),
            json_null=_kept(old.json_null, new.json_null, new),
            json_text=_kept(old.json_text, new.json_text, new),
        )
    )


def partial(content: bytes) -> bool:
    """Whether columns are missing from it."""
    return bool(decode_head(content).unchanged)


def _kept(old: list[str] | None, new: list[str] | None, event: _Read) -> list[str]:
    return [*(name for name in old or () if name not in event.after), *(new or ())]
