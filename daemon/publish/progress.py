"""What may be confirmed to the slot: pure.

Source of the rule: design of the delivery protocol, "Capture, per transaction", step 6. A transaction counts when
every one of its records, and the record of its end, has been acknowledged; it is confirmed when all before it count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Ticket:
    """One transaction on its way: how many of its records Kafka has not acknowledged yet."""

    __slots__ = ("closed", "end_lsn", "on_done", "outstanding")

    def __init__(self) -> None:
        self.outstanding = 0
        self.closed = False
        self.end_lsn = 0
        self.on_done: Callable[[], None] | None = None

    @property
    def done(self) -> bool:
        return self.closed and self.outstanding == 0


class Progress:
    """The transactions on their way, oldest first."""

    def __init__(self) -> None:
        self._open: deque[Ticket] = deque()
        self._confirmable = 0

    def begin(self) -> Ticket:
        ticket = Ticket()
        self._open.append(ticket)
        return ticket

    def commit(self, ticket: Ticket, end_lsn: int) -> None:
        """All records of the transaction, its end among them, have been handed over or were there already."""
        ticket.end_lsn = end_lsn
        ticket.closed = True

    def idle_at(self, lsn: int) -> None:
        """The server says that it has sent all up to `lsn`: true progress only while nothing is on its way."""
        self.settle()
        if not self._open:
            self._confirmable = max(self._confirmable, lsn)

    def settle(self) -> None:
        """Take off what is done, in order."""
        while self._open and self._open[0].done:
            ticket = self._open.popleft()
            self._confirmable = max(self._confirmable, ticket.end_lsn)
            if ticket.on_done is not None:
                ticket.on_done()

    @property
    def confirmable(self) -> int:
        """The end LSN up to which everything is safe; never falls."""
        self.settle()
        return self._confirmable

    @property
    def busy(self) -> bool:
        """Something is on its way."""
        return bool(self._open)
