"""Both sides' changes put together, for the rule `merge`."""

from __future__ import annotations

import msgspec

from daemon.resolve.values import Digest, Value, digest

_decode = msgspec.json.Decoder(str | list[msgspec.Raw] | None).decode


class CannotMerge(Exception):
    """The values are neither sets nor text that was only appended to."""


def merged(base: Value, ours: Value, theirs: Value) -> Value:
    """Step "inbound 5", `merge`: ours + (theirs - base) - (base - theirs).

    Lists are sets, in ours' order, with theirs' new elements behind; text has theirs' new end behind ours. None is
    empty. Raises CannotMerge.
    """
    if all(isinstance(value, list | None) for value in (base, ours, theirs)):
        return _sets(_elements(base), _elements(ours), _elements(theirs))
    if all(isinstance(value, str | None) for value in (base, ours, theirs)):
        before, end = str(base or ""), str(theirs or "")
        if end.startswith(before):
            return str(ours or "") + end[len(before) :]
    raise CannotMerge


def _elements(value: Value) -> dict[Digest, Value]:
    return {digest(one): one for one in value} if isinstance(value, list) else {}


def _sets(base: dict[Digest, Value], ours: dict[Digest, Value], theirs: dict[Digest, Value]) -> list[Value]:
    kept = [one for key, one in ours.items() if key in theirs or key not in base]
    return kept + [one for key, one in theirs.items() if key not in base and key not in ours]


def merged_texts(base: Value, ours: Value, theirs: Value) -> Value:
    """`merged` for PostgreSQL's JSON texts, whose elements stay as they are. Raises CannotMerge."""
    found = merged(_parsed(base), _parsed(ours), _parsed(theirs))
    if isinstance(found, list):
        return f"[{', '.join(map(str, found))}]"
    return msgspec.json.encode(found).decode()


def _parsed(text: Value) -> Value:
    if text is None:
        return None
    try:
        found = _decode(str(text))
    except msgspec.ValidationError:
        raise CannotMerge from None
    return [bytes(one).decode() for one in found] if isinstance(found, list) else found
