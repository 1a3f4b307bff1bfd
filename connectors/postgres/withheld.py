"""Events that wait in the target without what their route does not show there: masked, or left out. Pure."""

from __future__ import annotations

import msgspec

from connectors.contract import Routing
from connectors.postgres.rows import decode_change
from connectors.route.masks import Drop, masking

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NULL = msgspec.Raw(b"null")


def withholds(routing: Routing) -> bool:
    """Whether a route has columns whose clear values must not wait in the target."""
    return bool(routing.masks or routing.exclude or routing.only is not None)


def withhold(value: bytes, routing: Routing) -> bytes:
    """The envelope as it may be kept: clear values gone, masked ones named in `withheld`, no row of before."""
    envelope = _fields(value)
    after = decode_change(value).after
    if after is None or "withheld" in envelope:
        return value if after is not None else msgspec.json.encode({**envelope, "before": _NULL})
    kept = _fields(bytes(envelope["after"]))
    masked = []
    for name, mask in routing.masks.items():
        if name in kept and not isinstance(mask, Drop):
            kept[name] = msgspec.Raw(masking(mask)(bytes(kept[name])))
            masked.append(name)
    gone = [name for name in kept if _hides(routing, name) and name not in masked]
    for name in gone:
        del kept[name]
    for marks in ("json_null", "json_text"):
        if marks in envelope:
            left = [name for name in msgspec.json.decode(envelope[marks]) if not _hides(routing, name)]
            envelope[marks] = msgspec.Raw(msgspec.json.encode(left))
    return msgspec.json.encode({**envelope, "before": None, "after": kept, "withheld": [*masked, *gone]})


def _hides(routing: Routing, name: str) -> bool:
    return name in routing.masks or routing.withholds(name)
