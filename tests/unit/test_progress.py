"""What may be confirmed: a prefix of finished transactions, nothing else."""

from __future__ import annotations

from daemon.publish.progress import Progress


def test_a_finished_transaction_waits_for_those_before_it() -> None:
    progress = Progress()
    first, second = progress.begin(), progress.begin()
    first.outstanding = 1
    progress.commit(first, 10)
    progress.commit(second, 20)
    assert progress.confirmable == 0
    first.outstanding = 0
    assert progress.confirmable == 20


def test_an_open_transaction_is_never_confirmed() -> None:
    progress = Progress()
    progress.begin()
    progress.idle_at(100)
    assert (progress.confirmable, progress.busy) == (0, True)


def test_an_idle_position_counts_only_while_nothing_is_on_its_way() -> None:
    progress = Progress()
    ticket = progress.begin()
    ticket.outstanding = 1
    progress.commit(ticket, 10)
    progress.idle_at(50)
    assert progress.confirmable == 0
    ticket.outstanding = 0
    progress.idle_at(50)
    assert progress.confirmable == 50


def test_what_is_confirmable_never_falls() -> None:
    progress = Progress()
    progress.idle_at(50)
    progress.commit(progress.begin(), 10)
    progress.idle_at(40)
    assert progress.confirmable == 50


def test_what_waits_for_acknowledgement_runs_in_order_and_once() -> None:
    progress = Progress()
    ran: list[int] = []
    tickets = [progress.begin() for _ in range(3)]
    for place, ticket in enumerate(tickets):
        ticket.outstanding = 1
        ticket.on_done = lambda place=place: ran.append(place)
        progress.commit(ticket, place + 1)
    tickets[1].outstanding = tickets[2].outstanding = 0
    progress.settle()
    assert ran == []
    tickets[0].outstanding = 0
    progress.settle()
    progress.settle()
    assert ran == [0, 1, 2]
