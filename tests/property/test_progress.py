"""Whatever the order of acknowledgements, only a prefix of done transactions is confirmed."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from daemon.publish.progress import Progress, Ticket


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=8), st.randoms(use_true_random=False))
def test_only_a_prefix_of_done_transactions_is_confirmed(plan: list[tuple[int, bool]], random: Random) -> None:
    progress = Progress()
    tickets: list[Ticket] = []
    pending: list[Ticket] = []
    for place, (records, committed) in enumerate(plan):
        ticket = progress.begin()
        ticket.outstanding = records
        pending += [ticket] * records
        tickets.append(ticket)
        if committed or place < len(plan) - 1:
            progress.commit(ticket, (place + 1) * 10)
    random.shuffle(pending)
    for acknowledged in [*pending, None]:
        done = 0
        for place, one in enumerate(tickets):
            if not one.done:
                break
            done = (place + 1) * 10
        assert progress.confirmable == done
        progress.idle_at(done)
        assert progress.confirmable == done
        if acknowledged is not None:
            acknowledged.outstanding -= 1
