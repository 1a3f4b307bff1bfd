"""Signed heads that stand in the topic twice: somebody without the key has written them there again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.audit.heads.eras import Era
from daemon.audit.heads.topic import HeadsTopic, Published

LATE = timedelta(minutes=1)
"""A signed head that is so much older than a near one before it may have been written again: that is looked for."""
NEAR = 1_000
"""A head is compared with so many before it, or up to twice as many: so what one wrong clock has said is forgotten."""


@dataclass(slots=True)
class _Late:
    offset: int
    era: Era


class Repeats:
    """One verification's."""

    def __init__(self, topic: HeadsTopic) -> None:
        self._topic = topic
        self.late: dict[bytes, _Late] = {}
        """By signature, heads that may be there twice."""
        self._count = 0
        self._newest_at: datetime | None = None
        self._before_at: datetime | None = None
        """The same of those that came before the latest ones."""

    def note(self, one: Published, era: Era) -> None:
        """A head that a known key has signed, in the order of the topic."""
        if self._count % NEAR == 0:
            self._before_at, self._newest_at = self._newest_at, None
        self._count += 1
        near = [at for at in (self._before_at, self._newest_at) if at is not None]
        if near and one.signature is not None and one.at < max(near) - LATE:
            self.late[one.signature] = _Late(one.offset, era)
        self._newest_at = max(self._newest_at or one.at, one.at)

    def look(self) -> None:
        """Of those that came late: which stand there before, too. Raises KafkaUnavailable."""
        if not self.late:
            return
        until = max(one.offset for one in self.late.values())
        for page in self._topic.read():
            for one in page:
                if isinstance(one, Published) and one.signature is not None:
                    self._compare(one, one.signature)
            if not self.late or page[-1].offset >= until:
                return

    def _compare(self, one: Published, signature: bytes) -> None:
        late = self.late.get(signature)
        if late is None or one.offset >= late.offset:
            return
        del self.late[signature]
        again = self._topic.place(late.offset)
        sentence = f"the head in Kafka at {again} is the one at offset {one.offset}, written there again"
        late.era.records.find("repeated", one.sequence, sentence)
