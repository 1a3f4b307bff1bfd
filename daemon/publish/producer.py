"""Records on their way to Kafka: what is there is skipped, what fails ends the capture, what is full waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from daemon import broker, seams
from daemon.config.kafka import Kafka
from daemon.errors import Unavailable
from daemon.observe import metrics
from daemon.publish.progress import Ticket
from daemon.publish.tails import Acked, Slot
from schemas.position import Position
from schemas.topics import EPOCH_HEADER, POSITION_HEADER

FULL_POLL_SECONDS = 0.05
CLOSE_SECONDS = 5.0


class _Sent(NamedTuple):
    ticket: Ticket
    position: Position


class _End(NamedTuple):
    """A transaction's end that has not left yet. A snapshot's leaves after its rows are acknowledged."""

    ticket: Ticket
    position: Position
    value: bytes
    after_records: bool


class Publisher:
    """One producer's life. Any delivery error is its end: the next capture starts from the topics' tails.

    Callbacks run inside `send`, `end` and `poll`, in the caller's thread. `waiting` is called again and again while
    the queue is full: it may raise to give up.
    """

    def __init__(
        self,
        kafka: Kafka,
        source: str,
        epoch: int,
        tails: Mapping[Slot, Position],
        transactions: str,
        queue_bytes: int,
        waiting: Callable[[], None],
    ) -> None:
        self._tails = tails
        self._transactions = transactions
        self._waiting = waiting
        self._epoch = str(epoch).encode()
        self._flying: dict[Slot, deque[_Sent]] = {slot: deque() for slot in tails}
        self._ends: deque[_End] = deque()
        self._acked: dict[Slot, Acked] = {}
        self._newest: dict[Slot, int] = {}
        self._failure: KafkaError | None = None
        self._records = metrics.CAPTURED_RECORDS.labels(source)
        self._bytes = metrics.CAPTURED_BYTES.labels(source)
        self._skipped = metrics.SKIPPED_RECORDS.labels(source)
        self._done = metrics.CAPTURED_TRANSACTIONS.labels(source)
        largest = kafka.max_record_bytes + broker.RECORD_OVERHEAD_BYTES
        self._producer = Producer(
            {
                **broker.options(kafka),
                "acks": "all",
                "enable.idempotence": True,
                "message.timeout.ms": 0,  # a time-out would drop records and go on with later ones
                "linger.ms": 2,
                "compression.type": "lz4",
                "batch.size": 262_144,
                "message.max.bytes": largest,
                "queue.buffering.max.kbytes": 1 + max(queue_bytes, largest) // 1024,  # else the largest waits for ever
                "queue.buffering.max.messages": 100_000,
                "retry.backoff.max.ms": 1000,
                "reconnect.backoff.max.ms": 1000,
                "socket.keepalive.enable": True,
            },
            logger=broker.SILENT,
        )

    def send(self, ticket: Ticket, slot: Slot, position: Position, key: bytes, value: bytes) -> None:
        """Hand a record over, unless its partition has it already.

        Raises Unavailable when Kafka has refused a record for good.
        """
        if position <= self._tails[slot]:
            self._skipped.inc()
            return
        ticket.outstanding += 1
        self._flying[slot].append(_Sent(ticket, position))
        self._produce(slot, position, key, value)

    def end(self, ticket: Ticket, position: Position, value: bytes, *, after_records: bool) -> None:
        """Queue a transaction's end; ends leave strictly in the order in which they were queued."""
        if position <= self._tails[(self._transactions, 0)]:
            self._skipped.inc()
            return
        ticket.outstanding += 1
        self._ends.append(_End(ticket, position, value, after_records))
        self._release()

    def poll(self) -> None:
        """Take what Kafka has answered. Raises Unavailable when it has refused a record for good."""
        self._producer.poll(0)
        self._check()
        self._release()

    @property
    def waiting_ends(self) -> bool:
        """Ends wait for acknowledgements: poll again soon."""
        return bool(self._ends)

    def take_acked(self) -> dict[Slot, Acked]:
        """The newest acknowledged record of each partition that has moved since the last call."""
        acked, self._acked = self._acked, {}
        return acked

    def newest(self) -> dict[Slot, int]:
        """Offset of the newest acknowledged record of each partition that this producer wrote to; for any thread."""
        return self._newest.copy()

    def drain(self) -> None:
        """Wait a little for what is on its way; what is not acknowledged then is sent again by the next capture."""
        self._producer.flush(CLOSE_SECONDS)

    def close(self) -> None:
        """Throw away what is still queued."""
        self._producer.purge()
        self._producer.poll(0)
        self._producer.close()

    def _release(self) -> None:
        while self._ends:
            head = self._ends[0]
            if head.after_records and head.ticket.outstanding > 1:  # itself is the one
                return
            self._ends.popleft()
            slot = (self._transactions, 0)
            self._flying[slot].append(_Sent(head.ticket, head.position))
            self._produce(slot, head.position, b"", head.value)

    def _produce(self, slot: Slot, position: Position, key: bytes, value: bytes) -> None:
        topic, partition = slot
        headers: list[tuple[str, str | bytes | None]] = [
            (POSITION_HEADER, position.to_header()),
            (EPOCH_HEADER, self._epoch),
        ]
        while True:
            try:
                self._producer.produce(
                    topic, value, key, partition=partition, headers=headers, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(FULL_POLL_SECONDS)
                self._check()
                self._waiting()
            except KafkaException as error:
                raise Unavailable(f"Kafka refuses a record: {error.args[0]}") from error
            else:
                seams.seam(seams.AFTER_PRODUCE)
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        slot = (str(message.topic()), int(message.partition() or 0))
        if error is not None or self._failure is not None:
            self._failure = self._failure or error
            return
        sent = self._flying[slot].popleft()
        sent.ticket.outstanding -= 1
        offset = int(message.offset() or 0)
        self._acked[slot] = Acked(offset, sent.position)
        self._newest[slot] = offset
        self._records.inc()
        self._bytes.inc(len(message))
        if slot[0] == self._transactions:
            self._done.inc()
        seams.seam(seams.AFTER_ACK)

    def _check(self) -> None:
        if self._failure is not None:
            raise Unavailable(f"Kafka refused a record: {self._failure.str()}")
