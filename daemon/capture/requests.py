"""Requests of targets for rows that they need whole, read from the source's requests topic."""

from __future__ import annotations

import structlog
from confluent_kafka import OFFSET_END, Consumer, TopicPartition
from pydantic import ValidationError

from daemon import broker
from daemon.config import Kafka
from schemas.envelope import RowRequest
from schemas.topics import requests_topic

log = structlog.get_logger(__name__)


class Requests:
    """What was asked since this capture began; targets ask again until they are answered."""

    def __init__(self, kafka: Kafka, source: str) -> None:
        self._consumer = Consumer(
            {
                **broker.options(kafka),
                "group.id": f"placemat.requests.{source}",
                "enable.auto.commit": False,
                "auto.offset.reset": "latest",
                "queued.max.messages.kbytes": 1024,
            },
            logger=broker.SILENT,
        )
        self._consumer.assign([TopicPartition(requests_topic(source), 0, OFFSET_END)])

    def poll(self) -> list[RowRequest]:
        """Requests that have come in; does not wait."""
        found = []
        for message in self._consumer.consume(num_messages=100, timeout=0):
            value = message.value()
            if message.error() is not None or value is None:
                continue
            try:
                found.append(RowRequest.model_validate_json(value))
            except ValidationError:
                log.warning("request is not understood", topic=message.topic(), offset=message.offset())
        return found

    def close(self) -> None:
        self._consumer.close()
