"""Requests of targets for rows and tables that they need whole, read from the source's requests topic."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import structlog
from confluent_kafka import Consumer, TopicPartition

from daemon import broker
from daemon.config.kafka import Kafka
from schemas.envelope import RowRequest, TableRequest
from schemas.topics import requests_topic

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What has come in; `next_offset` is None when nothing has."""

    rows: list[RowRequest]
    tables: list[TableRequest]
    next_offset: int | None


class Requests:
    """From an offset of the requests topic on. Targets ask again for rows; for tables they ask once."""

    def __init__(self, kafka: Kafka, source: str, offset: int) -> None:
        self._consumer = Consumer(
            {
                **broker.options(kafka),
                "group.id": f"placemat.requests.{source}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",  # retention may have passed the stored offset
                "queued.max.messages.kbytes": 1024,
            },
            logger=broker.SILENT,
        )
        self._consumer.assign([TopicPartition(requests_topic(source), 0, offset)])

    def poll(self) -> Asked:
        """Requests that have come in; does not wait."""
        asked = Asked([], [], None)
        for message in self._consumer.consume(num_messages=100, timeout=0):
            value, offset = message.value(), message.offset()
            if message.error() is not None or offset is None:
                continue
            asked = replace(asked, next_offset=offset + 1)
            try:
                _sort_in(asked, value or b"")
            except ValueError:
                log.warning("request is not understood", topic=message.topic(), offset=offset)
        return asked

    def close(self) -> None:
        self._consumer.close()


def _sort_in(asked: Asked, value: bytes) -> None:
    """A request with a key is one for a row."""
    request = json.loads(value)  # keeps every digit of a number
    if isinstance(request, dict) and "key" in request:
        asked.rows.append(RowRequest.model_validate(request))
    else:
        asked.tables.append(TableRequest.model_validate(request))
