"""Asks a source for rows that a target needs whole, again and again until they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.contract import Wanted
from daemon import broker
from daemon.broker import KafkaUnavailable
from daemon.config.kafka import Kafka
from schemas.envelope import RowRequest, TableRequest
from schemas.topics import requests_topic

AGAIN_SECONDS = 10.0
FLUSH_SECONDS = 6.0
TOGETHER_MS = 5
"""What is asked for at once arrives at once: the capture copies parents first, among what it finds together."""


class RowRequests:
    """One target's requests. What Kafka does not take now is asked again later: nothing waits for it."""

    def __init__(self, kafka: Kafka, target: str, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._kafka = kafka
        self._target = target
        self._topic = requests_topic(source)
        self._clock = clock
        self._asked: dict[Wanted, float] = {}
        self._producer: Producer | None = None

    def ask(self, wanted: Sequence[Wanted]) -> None:
        """Ask for those rows that were not asked for within the last 10 seconds."""
        now = self._clock()
        still = set(wanted)
        self._asked = {one: at for one, at in self._asked.items() if one in still}
        for one in wanted:
            if now - self._asked.get(one, float("-inf")) >= AGAIN_SECONDS:
                self._asked[one] = now
                self._send(one)

    def ask_for_tables(self, *tables: str) -> None:
        """Ask for every row of these tables, once. Raises KafkaUnavailable when Kafka does not take that."""
        told: list[KafkaError | None] = []
        try:
            for table in tables:
                schema, name = table.split(".", 1)
                request = TableRequest(target=self._target, schema=schema, table=name)  # type: ignore[call-arg]
                self._open().produce(
                    self._topic, request.model_dump_json(by_alias=True).encode(), b"", 0,
                    on_delivery=lambda error, _: told.append(error),
                )  # fmt: skip
            if tables:
                self._open().flush(FLUSH_SECONDS)
        except (BufferError, KafkaException) as error:
            raise KafkaUnavailable("kafka does not take a request") from error
        if told != [None] * len(tables):
            raise KafkaUnavailable("kafka does not take a request")

    def close(self) -> None:
        if self._producer is not None:
            self._producer.flush(1)

    def _send(self, one: Wanted) -> None:
        producer = self._open()
        schema, table = one.table.split(".", 1)
        request = RowRequest(target=self._target, schema=schema, table=table, key=orjson.loads(one.key))  # type: ignore[call-arg]
        try:
            producer.produce(self._topic, request.model_dump_json(by_alias=True).encode(), one.key, 0)
        except (BufferError, KafkaException):
            self._asked.pop(one, None)
        producer.poll(0)

    def _open(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(
                {**broker.options(self._kafka), "message.timeout.ms": 5_000, "linger.ms": TOGETHER_MS},
                logger=broker.SILENT,
            )
        return self._producer
