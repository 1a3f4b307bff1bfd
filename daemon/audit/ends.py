"""How many messages of applications each transaction has: so it is known whether one is still to come."""

from __future__ import annotations

from collections.abc import Collection

from daemon.actors import Place
from daemon.audit.records import Records
from schemas.envelope import TransactionEnd
from schemas.topics import messages_topic, transactions_topic


class Ends:
    """Reads one source's transaction ends in the order of one lane, from the places that its outbox rows name."""

    def __init__(self, records: Records, source: str) -> None:
        self._records = records
        self._spine = transactions_topic(source), 0
        self._messages = messages_topic(source)
        self._begin()

    def _begin(self, at: int = 0) -> None:
        self._next = at
        self._passed: Place = (0, 0)
        """Through this one, counts may be forgotten."""
        self._through: Place = (0, 0)
        """The newest one that was read."""
        self._counts: dict[Place, int] = {}

    def messages(self, places: Collection[Place], ends_from: int) -> dict[Place, int | None]:
        """By transaction; None where Kafka has lost its end. `ends_from`: the first end that may be theirs.

        Raises KafkaUnavailable.
        """
        if not places:
            return {}
        first, last = min(places), max(places)
        if ends_from > self._next or first <= self._passed:
            self._begin(ends_from)
        while self._through < last and self._read():
            pass
        self._passed = max(self._passed, max((one for one in self._counts if one < first), default=self._passed))
        self._counts = {place: count for place, count in self._counts.items() if place > self._passed}
        return {place: self._counts.get(place, 0) if place <= self._through else None for place in places}

    def _read(self) -> bool:
        """One more; False when there is none."""
        self._records.seek({self._spine: (self._next, self._next + 1)})
        message = self._records.take(self._spine)
        self._next += 1
        if message is None:
            return self._next < self._records.end(self._spine)
        end = TransactionEnd.model_validate_json(message.value() or b"")
        place = end.timeline, end.commit_lsn
        self._through = max(self._through, place)
        if count := sum(end.counts.get(self._messages, {}).values()):
            self._counts[place] = count
        return True
