"""Announcements on a topic of few records: each is acknowledged before anything that rests on it is sent."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from daemon import broker
from daemon.config.kafka import Kafka
from daemon.errors import OperatorError, Unavailable

WAIT_SECONDS = 0.05


class Announcer:
    """`waiting` is called again and again until Kafka has answered: it may raise to give up."""

    def __init__(self, kafka: Kafka, topic: str, waiting: Callable[[], None]) -> None:
        self._topic = topic
        self._waiting = waiting
        self._answered = False
        self._failure: KafkaError | None = None
        self._producer = Producer(
            {
                **broker.options(kafka),
                "acks": "all",
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "linger.ms": 0,
                "allow.auto.create.topics": False,
            },
            logger=broker.SILENT,
        )

    def announce(self, key: bytes, value: bytes) -> None:
        """Publish one record and wait for its acknowledgement.

        Raises OperatorError when the topic is missing, and Unavailable when Kafka refuses the record.
        """
        self._answered, self._failure = False, None
        try:
            self._producer.produce(self._topic, value, key, 0, on_delivery=self._delivered)
        except KafkaException as error:
            raise self._failed(error.args[0]) from error
        while not self._answered:
            if not self._producer.poll(WAIT_SECONDS):
                self._waiting()
        if self._failure is not None:
            raise self._failed(self._failure)

    def close(self) -> None:
        self._producer.purge()
        self._producer.poll(0)
        self._producer.close()

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        self._answered, self._failure = True, error

    def _failed(self, error: KafkaError) -> Exception:
        if error.code() in (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION):
            return OperatorError(f"Kafka has no topic {self._topic}.", "Run: placemat init")
        return Unavailable(f"Kafka refused a record: {error.str()}")
