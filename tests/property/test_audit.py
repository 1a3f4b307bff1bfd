"""Whatever is done to a chain is found where it was done; and nothing is told of a row that was not so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from daemon.audit import values
from daemon.audit.entry import GENESIS, Draft, Entry, Head, Values, chained
from daemon.audit.findings import AuditReport
from daemon.audit.values import Envelope, Hidden, Row, follow, recalled, tell
from daemon.audit.walk import Erasures, Walk
from schemas.outbox import APPLIED, DELETED, DROPPED, FILTERED, PARKED

Pair = tuple[Entry, Values | None]
NOBODY = Erasures({})
AT = datetime(2026, 6, 1, tzinfo=UTC)
TEXTS = st.text(max_size=20)


@st.composite
def chains(draw: st.DrawFn) -> list[Pair]:
    head, found = Head(0, GENESIS, AT), []
    for number in range(draw(st.integers(2, 9))):
        content = draw(st.none() | TEXTS.map(lambda text: orjson.dumps({"before": {}, "after": {"x": text}}).decode()))
        who, reason = draw(TEXTS), draw(st.none() | TEXTS)
        draft = Draft("event", "u", "applied", who, key=str(number), reason=reason, content=content)
        entry, kept = chained(draft, head, AT + timedelta(days=number))
        head = Head(entry.sequence, entry.hash, entry.entered_at)
        found.append((entry, kept))
    return found


def findings(pairs: list[Pair]) -> list[tuple[str, int | None]]:
    report = AuditReport()
    for _ in Walk(report, NOBODY, 1, GENESIS).along(pairs):
        pass
    return [(one.kind, one.sequence) for one in report.listed]


@given(chains())
def test_a_chain_as_it_was_written_is_clean(chain: list[Pair]) -> None:
    assert findings(chain) == []


@given(chains(), st.data())
def test_an_entry_that_is_altered_is_named(chain: list[Pair], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(chain) - 1))
    changes: dict[str, Any] = data.draw(
        st.sampled_from(
            [{"who": "\0"}, {"outcome": "x"}, {"key": "x"}, {"entered_at": AT - timedelta(days=1)}, {"offset": 3},
             {"details": '{"a":1}'}, {"values_hash": b"x"}, {"rule": ""}, {"previous": b"x"}, {"hash": b"x"}]
        )
    )  # fmt: skip
    entry = chain[at][0]._replace(**changes)
    found = findings([*chain[:at], (entry, chain[at][1]), *chain[at + 1 :]])
    assert found[0] == ("altered", entry.sequence)


@given(chains(), st.data())
def test_an_entry_that_is_altered_hash_and_all_is_named(chain: list[Pair], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(chain) - 2))
    entry = chain[at][0]._replace(who="\0")
    entry = entry._replace(hash=entry.digest())
    assert findings([*chain[:at], (entry, chain[at][1]), *chain[at + 1 :]]) == [("altered", entry.sequence)]


@given(chains(), st.data())
def test_entries_that_are_removed_are_named(chain: list[Pair], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(chain) - 2))
    count = data.draw(st.integers(1, len(chain) - 1 - at))
    assert findings([*chain[:at], *chain[at + count :]]) == [("removed", at + 1)]


@given(chains(), st.data())
def test_two_entries_that_change_places_are_named(chain: list[Pair], data: st.DataObject) -> None:
    one = data.draw(st.integers(0, len(chain) - 2))
    other = data.draw(st.integers(one + 1, len(chain) - 1))
    moved = list(chain)
    moved[one] = chain[other][0]._replace(sequence=one + 1), chain[other][1]
    moved[other] = chain[one][0]._replace(sequence=other + 1), chain[one][1]
    found = findings(moved)
    assert {sequence for _, sequence in found} >= {one + 1, other + 1}


@given(chains(), st.data())
def test_an_entry_that_is_inserted_is_named_though_the_others_make_room(chain: list[Pair], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(chain) - 2)) if len(chain) > 2 else 0
    if not at:
        return
    before = chain[at - 1][0]
    entry = before._replace(sequence=at + 1, who="\0", previous=before.hash, values_hash=None)
    entry = entry._replace(hash=entry.digest())
    later = [(one._replace(sequence=one.sequence + 1), kept) for one, kept in chain[at:]]
    found = findings([*chain[:at], (entry, None), *later])
    assert found[0] == ("inserted", at + 1)


@given(chains(), st.data())
def test_a_value_that_is_altered_or_gone_is_named(chain: list[Pair], data: st.DataObject) -> None:
    held = [at for at, (_, kept) in enumerate(chain) if kept is not None]
    if not held:
        return
    at = data.draw(st.sampled_from(held))
    entry, kept = chain[at]
    assert kept is not None
    for other, kind in ((kept._replace(content="{}"), "values_altered"), (None, "values_gone")):
        assert findings([*chain[:at], (entry, other), *chain[at + 1 :]]) == [(kind, entry.sequence)]


# What is told of rows


COLUMNS = ("a", "b", "long")
SMALL = st.integers(0, 2)


def raw(row: dict[str, int]) -> dict[str, bytes]:
    return {name: orjson.dumps(value) for name, value in row.items()}


@given(st.data())
def test_what_is_told_of_before_was_so_and_what_is_not_known_is_left_out(data: st.DataObject) -> None:
    """A row is written again and again, under any replica identity, in any outcome; entries are recalled at random."""
    hidden = Hidden(frozenset(data.draw(st.sets(st.sampled_from(["b"])))))
    truth: dict[str, int] | None = None
    earlier: Row | None = None
    entries: list[tuple[str, str, str | None]] = []
    for _ in range(data.draw(st.integers(1, 12))):
        event, after = _event(data, truth)
        outcome = data.draw(st.sampled_from([APPLIED, APPLIED, APPLIED, PARKED, FILTERED, DELETED, DROPPED]))
        told = tell(event, outcome, hidden, earlier)
        if told.content is not None:
            content = orjson.loads(told.content)
            assert all(truth is not None and truth[name] == value for name, value in content["before"].items())
            if content["after"] is not None:
                assert all(after is not None and after[name] == value for name, value in content["after"].items())
            assert not hidden.masked & {*content["before"], *(content["after"] or {})}
            if truth is not None and after is not None and event.op == "u":
                changed = {name for name in COLUMNS if truth[name] != after[name]} - hidden.masked
                assert changed <= set(told.fields) or outcome == DELETED
        earlier = follow(event, outcome, hidden, earlier)
        if outcome != DROPPED:
            truth = after
            entries.insert(0, (event.op, outcome, told.content))
        _assert_so(earlier, truth)
        back = recalled(entries[:5])
        _assert_so(back, truth)
        if data.draw(st.integers(0, 3)) == 0:
            earlier = back


def _assert_so(row: Row | None, truth: dict[str, int] | None) -> None:
    assert not row or (truth is not None and {**raw(truth), **row} == raw(truth))


def _event(data: st.DataObject, truth: dict[str, int] | None) -> tuple[Envelope, dict[str, int] | None]:
    """A change of the row, as capture would write it, and the row after it."""
    source = {"ts_ms": 0}
    row = {name: data.draw(SMALL) for name in COLUMNS}
    if truth is None:
        op = data.draw(st.sampled_from(["c", "r"]))
        return values.decode(orjson.dumps({"op": op, "source": source, "before": None, "after": row})), row
    full = data.draw(st.integers(0, 1)) == 1
    kind = data.draw(st.sampled_from(["u", "u", "u", "d", "r", "large"]))
    if kind == "d":
        before = truth if full else {}
        return values.decode(orjson.dumps({"op": "d", "source": source, "before": before, "after": None})), None
    if kind == "large":
        return values.decode(orjson.dumps({"op": "u", "source": source, "after": {}, "oversize": 9})), row
    if kind == "r":
        return values.decode(orjson.dumps({"op": "r", "source": source, "before": None, "after": row})), row
    unchanged = ["long"] if data.draw(st.integers(0, 1)) else []
    row |= {name: truth[name] for name in unchanged}
    sent = {name: value for name, value in row.items() if name not in unchanged}
    event = {"op": "u", "source": source, "before": truth if full else None, "after": sent, "unchanged": unchanged}
    return values.decode(orjson.dumps(event)), row
