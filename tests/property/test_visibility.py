"""Transaction numbers of 32 bits mean the nearest of 64, also where they wrap around."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from daemon.capture.visibility import Snapshot

WRAP = 1 << 32
near_a_wrap = st.builds(lambda base, off: max(3, base * WRAP + off), st.integers(0, 3), st.integers(-1000, 1000))


@given(near_a_wrap | st.integers(3, 2**60), st.integers(-(2**31) + 1, 2**31 - 1) | st.integers(-50, 50))
@example(WRAP, -1)
@example(WRAP - 1, 5)
def test_the_streams_short_numbers_mean_the_nearest_transaction(xmax: int, distance: int) -> None:
    xid = xmax + distance
    if xid < 3:
        return
    snapshot = Snapshot(xmax, xmax, frozenset())
    assert snapshot.sees_short(xid % WRAP) == snapshot.sees(xid)


@given(near_a_wrap, st.integers(1, 50), st.data())
def test_a_transaction_in_progress_is_not_seen_by_its_short_number(xmin: int, width: int, data: st.DataObject) -> None:
    running = data.draw(st.frozensets(st.integers(xmin, xmin + width - 1)))
    snapshot = Snapshot.parse(f"{xmin}:{xmin + width}:{','.join(map(str, sorted(running)))}")
    for xid in range(xmin, xmin + width):
        assert snapshot.sees_short(xid % WRAP) == (xid not in running)
