"""What waits for a service is folded as it comes, and comes to the same as all of it at once."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from daemon.resolve import outbound, wire
from daemon.resolve.backlog import Backlog, MirrorResolver, read_backlog, write_backlog
from daemon.resolve.interval import UNKNOWN
from daemon.resolve.records import HUB, Answer, HubRecord, Known
from daemon.resolve.values import Digest, digest
from schemas.position import Position
from schemas.resolution import Origin, RowChange

SPOKE, OTHER = "notion", "ledger"
names = st.sampled_from(["a", "b", "c"])
texts = st.sampled_from([None, '"x"', '"y"', "1"])
whole = st.fixed_dictionaries({name: texts for name in ("a", "b", "c")})
digests = st.frozensets(st.sampled_from([Digest(b"12345678"), Digest(b"87654321"), digest('"x"')]))
knowns = st.dictionaries(
    st.sampled_from([SPOKE, OTHER]), st.builds(Known, st.booleans(), st.dictionaries(names, digests))
)
makers = st.sampled_from([HUB, SPOKE, OTHER])


@st.composite
def streams(draw: st.DrawFn) -> list[HubRecord]:
    """Records of one key, of several transactions; what makes a row tells all of it."""
    found: list[HubRecord] = []
    there = False
    for commit in range(draw(st.integers(1, 4))):
        for ordinal in range(draw(st.integers(1, 3))):
            row = draw(st.none() | (st.dictionaries(names, texts) if there else whole))
            there = row is not None
            record = HubRecord(
                Position(1, 10 * (commit + 1), ordinal + 1), row, UNKNOWN,
                created_by=draw(st.frozensets(makers, max_size=1)), known=draw(knowns),
                renewed=draw(st.frozensets(names)), origin=draw(makers), copied=draw(st.booleans()),
            )  # fmt: skip
            found.append(record)
    return found


def stored(record: HubRecord) -> HubRecord:
    """As it comes back from the mirror."""
    found = read_backlog(write_backlog(SPOKE, Backlog(record), alive=True), SPOKE)
    assert found is not None
    return found.record


@given(streams(), st.integers(0, 8))
def test_what_was_folded_and_kept_is_folded_further(records: list[HubRecord], at: int) -> None:
    cut = min(at, len(records) - 1)
    whole = outbound.fold(SPOKE, records)
    first = [stored(outbound.fold(SPOKE, records[:cut]))] if cut else []
    folded = outbound.fold(SPOKE, [*first, *records[cut:]])
    for one in (whole, folded):
        assert stored(one) == replace(one, known={SPOKE: one.known[SPOKE]} if SPOKE in one.known else {})
    assert stored(folded) == stored(whole)


def change(record: HubRecord) -> RowChange:
    """The record as it stands in the hub's stream."""
    if record.known:
        answer = Answer(record.row, record.known, record.renewed, record.origin)
        return RowChange(record.at, "n", {}, {}, None, note=wire.write_answer("public.t", "1", answer).encode())
    op = "d" if record.row is None else "c" if record.created_by else "u"
    origin = b"" if record.origin == HUB else msgspec.json.encode(Origin(record.origin, "hub", "m"))
    row = None if record.row is None else wire.texts(record.row)
    return RowChange(record.at, op, row, {}, None, origin)


@given(streams(), st.lists(st.integers(1, 4)))
def test_the_mirror_has_the_hubs_row_and_keeps_all_that_was_said_of_it(
    records: list[HubRecord], sizes: list[int]
) -> None:
    resolver = MirrorResolver(SPOKE)
    row: dict[str, str | None] | None = None
    side: str | None = None
    expected: dict[str, str | None] | None = None
    at = 0
    for size in [*sizes, len(records)]:
        some = records[at : at + size]
        at += len(some)
        if not some:
            break
        planned = resolver.plan("public.t", [change(one) for one in some], side, row)
        assert (planned.action == "create") <= (row is None)
        assert (planned.action in ("update", "delete")) <= (row is not None)
        row = None if planned.action == "delete" else {**(row or {}), **planned.values} if planned.values else row
        side, mark = resolver.settle("public.t", "1", planned, row)
        assert mark is None
        for one in some:
            expected = None if one.row is None else {**(expected or {}), **wire.texts(one.row)}
        assert row == expected
        assert side is not None
        assert side.startswith('{"alive":true') == (row is not None)
    kept = read_backlog(side, SPOKE)
    seen = [outbound.fold(SPOKE, [one]) for one in records[:at]]
    assert kept is not None
    assert kept.record.at == seen[-1].at
    told = {name for one in seen for name in (one.known[SPOKE].fields if SPOKE in one.known else ())}
    assert {name for name in (kept.record.known[SPOKE].fields if kept.record.known else ())} == told
