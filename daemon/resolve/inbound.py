"""A spoke's record at the hub: what it is, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from daemon.resolve import inbound_row
from daemon.resolve.agreement import closed, settled
from daemon.resolve.conflict import Candidate, Kind, OpenConflict
from daemon.resolve.decision import Decision, Drop, Hub, Wait
from daemon.resolve.interval import UNKNOWN, Interval
from daemon.resolve.records import SpokeRecord
from daemon.resolve.rules import Rules
from daemon.resolve.state import Link, Pending, contains, newer
from daemon.resolve.unobserved import unobserved
from daemon.resolve.values import Row, digest, digests
from daemon.resolve.verdict import Edit, Verdict, candidates, judge, judge_machine
from schemas.position import START


@dataclass(frozen=True, slots=True)
class Told:
    """A record sorted out: its fields by who changed them, and the link after it, without what is decided."""

    edits: Row
    machine: Row
    link: Link


def receive(spoke: str, record: SpokeRecord, hub: Hub, link: Link, rules: Rules) -> Drop | Wait | Decision:
    """Steps "inbound 1" to "inbound 8", without the write: `settle` follows it in the same transaction."""
    if record.at <= link.at or (record.mark is None and record.seq < link.seq):
        return _dropped(record, hub, link)
    if record.row is None and record.mark is None and record.read is not None and link.shadow is None:
        return _dropped(record, hub, link)
    if record.read is not None:
        record = replace(record, time=since(max(link.read, record.since), record.time.hi))
    told = sort_out(record, link, rules)
    if hub.late:
        hub = unobserved(hub, link, record.time)
    if _behind(record, hub, told):
        return Wait()
    found = _decided(spoke, record, replace(hub, conflict=settled(spoke, record, hub.conflict)), link, told, rules)
    return replace(found, conflicts=found.conflicts + closed(spoke, record, hub, found.conflict))


def _decided(spoke: str, record: SpokeRecord, hub: Hub, link: Link, told: Told, rules: Rules) -> Decision:
    if record.row is None:
        return inbound_row.delete(spoke, record, hub, told.link, rules)
    if hub.row is None:
        return _on_dead_row(spoke, record, hub, link, told, rules)
    return _on_row(spoke, record, hub, link, told, rules)


def reject(record: SpokeRecord, hub: Hub, link: Link, rules: Rules) -> Drop | Decision:
    """The hub's row stands as it is, whatever the record says, and the spoke is told so: somebody has decided that of
    what the hub could not take, or has not let through."""
    if record.at <= link.at:
        return Drop()
    return Decision("none", {}, {}, sort_out(record, link, rules).link, hub.conflict, answer=True)


def since(previous_read: int, latest: int) -> Interval:
    """When an edit was made that a read shows: after the read before, at the latest when the service says so."""
    return Interval(min(previous_read, latest), latest)


def _dropped(record: SpokeRecord, hub: Hub, link: Link) -> Drop | Decision:
    """Step "inbound 1": a report is answered all the same, with what is known."""
    if record.report is None:
        return Drop()
    return Decision("none", {}, {}, replace(link, at=max(link.at, record.at)), hub.conflict, answer=True)


def sort_out(record: SpokeRecord, link: Link, rules: Rules) -> Told:
    """Steps "inbound 3", "inbound 4" and the shadow of "inbound 6". A field that is not told has not changed."""
    row, mark = record.row, record.mark
    seen = dict(link.seen)
    row_seen = link.row_seen
    if mark is not None:
        # Ours may be older than what the spoke's own people did, and the hub has taken, before it came.
        seen |= {name: newer(seen.get(name, START), mark.at) for name in (*mark.sent, *mark.agreed)}
        # A row that we have made here holds what the hub had then; that both have deleted it before says nothing of it.
        row_seen = mark.at if mark.row and row is not None else newer(row_seen, mark.at)
    seq = max(link.seq, record.seq)
    read = link.read if record.read is None else record.read
    if row is None:
        return Told({}, {}, Link(record.at, None, {}, seen, row_seen, seq, read))
    if mark is not None:
        row = {**mark.made, **row}
    shadow = link.shadow or {}
    values = digests(row)
    changed = {name: row[name] for name, one in values.items() if one != shadow.get(name)}
    if link.shadow is not None:  # a column that is new there: empty, nobody has edited it
        changed = {name: value for name, value in changed.items() if value is not None or name in shadow}
    kept = {name: value for name, value in {**link.kept, **row}.items() if rules.keeps(name)}
    sent = {} if mark is None else mark.sent  # of a row that is too large to be told, that is all that is known
    after = Link(record.at, {**shadow, **sent, **values}, kept, seen, row_seen, seq, read)
    if mark is None:
        return Told(changed, {}, after)
    expected = {**shadow, **mark.sent, **mark.agreed}
    others = {name: row[name] for name, one in values.items() if one != expected.get(name)}
    unsure = {name: value for name, value in others.items() if name in record.unsure}
    return Told(unsure, {name: value for name, value in others.items() if name not in unsure}, after)


def _behind(record: SpokeRecord, hub: Hub, told: Told) -> bool:
    """Step "inbound 2". What is pending is no reason: its place is known to be behind all that is observed."""
    if record.mark is not None and record.mark.at > hub.observed:
        return True
    state, row = hub.state, hub.row
    if (row is not None) != state.alive:
        return True
    if row is not None:
        touched = row if record.row is None else {**told.edits, **told.machine}
        # A row that came from a side without that field, or was there before the column: somebody may have changed it.
        unobserved = isinstance(state.rver, Pending) or state.rver > hub.observed
        unknown = unobserved or hub.end == START or hub.observed < hub.end
        return any(
            name in row and (unknown if name not in state.fields else state.fields[name].digest != digest(row[name]))
            for name in touched
        )
    creates = record.row is not None and bool(told.edits)
    return creates and hub.observed < hub.end


def _on_row(spoke: str, record: SpokeRecord, hub: Hub, link: Link, told: Told, rules: Rules) -> Decision:
    """Steps "inbound 3" to "inbound 6" for a row that the hub has."""
    assert hub.row is not None
    kind: Kind = "insert_exists" if link.shadow is None else "update_origin_differs"
    verdicts = _edited(record, hub, link, told, rules, kind) | _machine(record, hub, link, told, rules)
    values = {name: one.value for name, one in verdicts.items() if one.writes}
    conflict = hub.conflict.with_row(spoke, candidates(verdicts, link))
    decided = any(verdicts[name].kind != "candidate" for name in told.edits)
    return Decision(
        "update" if values else "none",
        values,
        verdicts,
        told.link,
        conflict,
        tuple(one.conflict for one in verdicts.values() if one.conflict),
        answer=decided or _answers(spoke, record, told, conflict),
    )


def _on_dead_row(spoke: str, record: SpokeRecord, hub: Hub, link: Link, told: Told, rules: Rules) -> Decision:
    """Step "inbound 8", with the fields by "inbound 5"."""
    edits = {name: value for name, value in told.edits.items() if not rules.of(name).outward}
    if edits and inbound_row.of_erased_life(hub.state, link):
        return inbound_row.stays_erased(record, hub, told.link)
    if not edits:
        answer = _answers(spoke, record, told, hub.conflict) or bool(told.edits)
        return Decision("none", {}, {}, told.link, hub.conflict, answer=answer)
    if hub.conflict.of(spoke):
        return _more_candidates(spoke, record, hub, link, replace(told, edits=edits))
    verdicts = _edited(record, hub, link, told, rules, "update_deleted")
    return inbound_row.recreate(spoke, record, hub, told.link, verdicts, rules)


def _answers(spoke: str, record: SpokeRecord, told: Told, conflict: OpenConflict) -> bool:
    """Whether something is held there that does not wait for a person, or a trigger has changed what was not sent:
    where the hub's stands, the spoke has to be told."""
    if record.report is not None:
        return not record.report or bool(record.report - conflict.of(spoke).keys())
    return record.mark is not None and bool(told.machine.keys() - record.mark.sent.keys())


def _more_candidates(spoke: str, record: SpokeRecord, hub: Hub, link: Link, told: Told) -> Decision:
    """Step "manual": the hub has deleted a row of which fields wait; what the spoke changes now waits with them."""
    waiting = {name: Candidate(value, record.time, link.kept.get(name)) for name, value in told.edits.items()}
    return Decision("none", {}, {}, told.link, hub.conflict.with_row(spoke, waiting))


def _edited(record: SpokeRecord, hub: Hub, link: Link, told: Told, rules: Rules, kind: Kind) -> dict[str, Verdict]:
    state = hub.state
    ours_row = hub.row if hub.row is not None else state.values
    life_seen = contains(link.row_seen, state.rver)
    # Of a row that both sides have made apart, there was no life before: it is decided as any other edit.
    other_life = not life_seen and not (state.alive and link.at == START)
    verdicts = {}
    for name, value in told.edits.items():
        ours = state.fields.get(name)
        base = told.link if name in record.unsure else link
        seen = ours is None or base.has_seen(name, ours) or (not state.alive and life_seen)
        time = UNKNOWN if name in record.unsure else record.time
        before, before_value = (link.shadow or {}).get(name), link.kept.get(name)
        edit = Edit(name, value, time, ours, ours_row.get(name), before, before_value, seen, other_life, kind)
        verdicts[name] = judge(edit, rules)
    return verdicts


def _machine(record: SpokeRecord, hub: Hub, link: Link, told: Told, rules: Rules) -> dict[str, Verdict]:
    mark, row = record.mark, hub.row or {}
    if mark is None:
        return {}
    verdicts: dict[str, Verdict] = {}
    expected = {**(link.shadow or {}), **mark.sent}
    marked = mark.sent.keys() | mark.agreed.keys()
    for name, value in told.machine.items():
        ours = hub.state.fields.get(name)
        if ours is None or name not in row:
            continue
        seen = contains(mark.at, ours.ver) if name in marked else told.link.has_seen(name, ours)
        verdicts[name] = judge_machine(
            name, value, ours, row[name], seen=seen, sent=expected.get(name), outward=rules.of(name).outward,
        )  # fmt: skip
    return verdicts
