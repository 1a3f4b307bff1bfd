"""The resolver's shapes as they are stored and published (`schemas/resolution.py`), and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from daemon.resolve.conflict import NO_CONFLICT, Candidate, Deletion, OpenConflict
from daemon.resolve.interval import Interval
from daemon.resolve.records import Answer, Known, Mark
from daemon.resolve.state import (
    NO_LINK,
    NO_ROW,
    NO_SIDE,
    FieldState,
    Link,
    Pending,
    RowState,
    Settled,
    Side,
    Version,
)
from daemon.resolve.values import Digest, Row, Value
from schemas import resolution as wire
from schemas.position import Position

_row = msgspec.json.Decoder(wire.RowEntry)
_link = msgspec.json.Decoder(wire.LinkEntry)
_side = msgspec.json.Decoder(wire.SideEntry)
_conflict = msgspec.json.Decoder(wire.ConflictEntry)
_mark = msgspec.json.Decoder(wire.MarkEntry)
_answer = msgspec.json.Decoder(wire.AnswerEntry)
_version = msgspec.json.Decoder(wire.Version)


def encode(entry: msgspec.Struct) -> str:
    return msgspec.json.encode(entry).decode()


# What the hub keeps of its own rows


def write_state(state: RowState) -> str:
    commons = Counter(
        (one.ver, one.pos, one.time.lo, one.time.hi) for one in state.fields.values() if not one.hops
    ).most_common(1)
    common = commons[0][0] if commons else None
    fields: dict[str, bytes | wire.FieldEntry] = {}
    for name, one in state.fields.items():
        if not one.hops and (one.ver, one.pos, one.time.lo, one.time.hi) == common:
            fields[name] = one.digest
        else:
            fields[name] = wire.FieldEntry(one.digest, _out(one.ver), _out(one.pos), one.time.lo, one.time.hi, one.hops)
    shared = wire.Common(_out(common[0]), _out(common[1]), common[2], common[3]) if common else None
    return encode(
        wire.RowEntry(
            state.alive,
            _out(state.rver),
            state.time.lo,
            state.time.hi,
            shared,
            fields,
            texts(state.values),
            state.erased,
        )
    )


def read_state(text: str | None) -> RowState:
    if text is None:
        return NO_ROW
    entry = _row.decode(text)
    fields = {}
    shared = None
    if entry.common is not None:
        shared = _in(entry.common.ver), _in(entry.common.pos), Interval(entry.common.lo, entry.common.hi)
    for name, one in entry.fields.items():
        if isinstance(one, bytes):
            assert shared is not None, "a field without an entry of its own shares what is common"
            fields[name] = FieldState(Digest(one), *shared)
        else:
            fields[name] = FieldState(
                Digest(one.digest), _in(one.ver), _in(one.pos), Interval(one.lo, one.hi), one.hops
            )
    return RowState(entry.alive, _in(entry.rver), Interval(entry.lo, entry.hi), fields, entry.values, entry.erased)


# What the hub keeps of a spoke's row


def write_link(link: Link) -> str:
    common = _most(link.seen.values())
    shadow = link.shadow
    return encode(
        wire.LinkEntry(
            _place(link.at),
            _out(link.row_seen),
            dict(shadow) if shadow is not None else None,
            texts(link.kept),
            _out(common) if common is not None else None,
            {name: _out(one) for name, one in link.seen.items() if one != common or name not in (shadow or {})},
            [name for name in shadow or () if name not in link.seen] if common is not None else [],
            link.seq,
            link.read,
        )
    )


def read_link(text: str | None) -> Link:
    if text is None:
        return NO_LINK
    entry = _link.decode(text)
    seen: dict[str, Version] = {}
    if entry.common is not None:
        unseen = set(entry.unseen)
        seen = dict.fromkeys((name for name in entry.shadow or () if name not in unseen), _in(entry.common))
    seen |= {name: _in(one) for name, one in entry.seen.items()}
    shadow = None if entry.shadow is None else _digests(entry.shadow)
    return Link(Position(*entry.at), shadow, entry.kept, seen, _in(entry.row_seen), entry.seq, entry.read)


def write_conflict(conflict: OpenConflict) -> str:
    fields = {
        spoke: {
            name: wire.CandidateEntry(text(one.value), one.time.lo, one.time.hi, text(one.base))
            for name, one in own.items()
        }
        for spoke, own in conflict.fields.items()
    }
    deletions = {spoke: (one.time.lo, one.time.hi) for spoke, one in conflict.deletions.items()}
    return encode(wire.ConflictEntry(conflict.revision, fields, deletions))


def read_conflict(text: str | None) -> OpenConflict:
    if text is None:
        return NO_CONFLICT
    entry = _conflict.decode(text)
    fields = {
        spoke: {name: Candidate(one.value, Interval(one.lo, one.hi), one.base) for name, one in own.items()}
        for spoke, own in entry.fields.items()
    }
    deletions = {spoke: Deletion(Interval(*times)) for spoke, times in entry.deletions.items()}
    return OpenConflict(entry.revision, fields, deletions)


# What a spoke keeps of its own rows


def write_side(side: Side) -> str:
    common = _most(one.at for one in side.fields.values())
    fields: dict[str, bytes | wire.Settled] = {
        name: one.digest if one.at == common else wire.Settled(one.digest, _place(one.at))
        for name, one in side.fields.items()
    }
    shared = _place(common) if isinstance(common, Position) else None
    return encode(wire.SideEntry(side.alive, _place(side.rver), shared, fields))


def read_side(text: str | None) -> Side:
    if text is None:
        return NO_SIDE
    entry = _side.decode(text)
    fields = {}
    shared = None if entry.common is None else Position(*entry.common)
    for name, one in entry.fields.items():
        if isinstance(one, bytes):
            assert shared is not None, "a field without an entry of its own shares what is common"
            fields[name] = Settled(Digest(one), shared)
        else:
            fields[name] = Settled(Digest(one.digest), Position(*one.at))
    return Side(entry.alive, Position(*entry.rver), fields)


# What stands in the streams


def write_mark(table: str, key: str, mark: Mark, unsure: Sequence[str] = ()) -> str:
    sent: dict[str, bytes] = dict(mark.sent)
    agreed: dict[str, bytes] = dict(mark.agreed)
    return encode(wire.MarkEntry(table, key, _place(mark.at), sent, agreed, texts(mark.made), mark.row, list(unsure)))


def read_mark(content: bytes) -> tuple[Mark, frozenset[str]]:
    """The mark, and fields of which nobody can tell who changed them."""
    entry = _mark.decode(content)
    mark = Mark(Position(*entry.at), _digests(entry.sent), _digests(entry.agreed), entry.made, entry.row)
    return mark, frozenset(entry.unsure)


def write_answer(table: str, key: str, answer: Answer) -> str:
    known = {spoke: known_entry(one) for spoke, one in answer.known.items()}
    row = None if answer.row is None else texts(answer.row)
    return encode(wire.AnswerEntry(table, key, row, known, sorted(answer.renewed), answer.origin))


def read_answer(content: bytes) -> Answer:
    entry = _answer.decode(content)
    known = {spoke: read_known(one) for spoke, one in entry.known.items()}
    row = {} if entry.untold else entry.row
    return Answer(row, known, frozenset(entry.renewed), entry.origin)


def known_entry(known: Known) -> wire.KnownEntry:
    return wire.KnownEntry(known.dead, {name: sorted(digests) for name, digests in known.fields.items()})


def read_known(entry: wire.KnownEntry) -> Known:
    return Known(entry.dead, {name: frozenset(map(Digest, digests)) for name, digests in entry.fields.items()})


def read_version(text: str) -> Version:
    return _in(_version.decode(text))


def _out(version: Version) -> wire.Version:
    return version.mark if isinstance(version, Pending) else _place(version)


def _in(version: wire.Version) -> Version:
    return Pending(version) if isinstance(version, str) else Position(*version)


def _place(position: Position) -> wire.Place:
    return position.timeline, position.commit_lsn, position.ordinal


def _most(versions: Iterable[Version]) -> Version | None:
    found = Counter(versions).most_common(1)
    return found[0][0] if found else None


def _digests(digests: Mapping[str, bytes]) -> dict[str, Digest]:
    return {name: Digest(one) for name, one in digests.items()}


def texts(row: Row) -> wire.Texts:
    """A row of the database's own texts."""
    return {name: text(value) for name, value in row.items()}


def text(value: Value) -> str | None:
    assert value is None or isinstance(value, str), "values that are stored are the database's texts"
    return value
