"""A message outside transactions holds the confirmed position back as a transaction does."""

from __future__ import annotations

import struct
from typing import Any, cast

from daemon.capture.assembler import Assembler, StreamFacts
from daemon.capture.visibility import Visibility
from daemon.publish.producer import Publisher
from daemon.publish.progress import Progress, Ticket
from daemon.state.spans import Span, Spans
from schemas.topics import messages_topic


class Unanswered:
    """Kafka has been given a record and has not answered yet."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []

    def send(self, ticket: Ticket, *_: object) -> None:
        ticket.outstanding += 1
        self.tickets.append(ticket)


def test_a_message_outside_transactions_is_confirmed_when_kafka_has_it_and_not_before() -> None:
    topic, progress, publisher = messages_topic("primary"), Progress(), Unanswered()
    facts: dict[str, Any] = {name: None for name in StreamFacts.__slots__}
    facts |= {"source": "primary", "database": "db", "timeline_of": lambda _: 1, "max_record_bytes": 1_000}
    facts |= {"partitions": {topic: 1}, "spans": Spans([Span(topic, (0, 0))])}
    assembler = Assembler(StreamFacts(**facts), cast("Publisher", publisher), progress, Visibility([]))
    assembler.handle(500, b"M\0" + struct.pack("!Q", 500) + b"app\0" + struct.pack("!I", 2) + b"hi", 1)
    progress.idle_at(900)
    assert progress.confirmable == 0
    publisher.tickets[0].outstanding -= 1
    assert progress.confirmable == 500
    progress.idle_at(900)
    assert progress.confirmable == 900
