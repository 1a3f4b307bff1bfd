"""Who is behind the two sides of a conflict, as far as the streams tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from connectors.conflicts import Logged
from daemon import broker
from daemon.actors import UNKNOWN, Actors, Commit, actor
from daemon.broker import KafkaUnavailable
from daemon.config.settings import Settings
from daemon.resolve.ruling import Case
from schemas.position import Position
from schemas.topics import POSITION_HEADER

READ_SECONDS = 5.0


class Who:
    """At one hub. Nothing is raised where Kafka does not answer: then nobody knows."""

    def __init__(self, settings: Settings, hub: str) -> None:
        self._settings = settings
        self._hub = hub
        self._known: dict[tuple[str, int, int], str] = {}
        """Of records that were read, by their place."""
        self._away = False
        """Kafka did not answer: it is not asked again."""

    def at_hub(self, table: str, case: Case, fields: Iterable[str]) -> dict[str, str]:
        """Who has changed these fields last, by field."""
        states = case.hub.state.fields
        wanted = [name for name in fields if name in states]
        places = {name: one for name in wanted if isinstance(one := states[name].ver, Position)}
        commits = [
            Commit((one.timeline, one.commit_lsn), max(0, states[name].time.hi) // 1_000)
            for name, one in places.items()
        ]
        named = self._named(self._hub, commits)
        newest = max((one.pos for one in states.values() if isinstance(one.pos, Position)), default=None)
        row = {name: orjson.loads(text) if text is not None else None for name, text in (case.row or {}).items()}
        found = dict.fromkeys(wanted, UNKNOWN)
        for name, place in places.items():
            # The column tells of the row's last change, and of no other.
            column = self._column(table) if newest is not None and place[:2] == newest[:2] else None
            found[name] = actor(named.get((place.timeline, place.commit_lsn), ()), place.ordinal, "u", row, column)
        return found

    def deleted(self, case: Case) -> str:
        """Who has deleted the hub's row."""
        place = case.hub.state.rver
        if not isinstance(place, Position):
            return UNKNOWN
        named = self._named(self._hub, [Commit(place[:2], max(0, case.hub.state.time.hi) // 1_000)])
        return actor(named.get(place[:2], ()), place.ordinal, "d")

    def at_spoke(self, spoke: str, logged: Sequence[Logged], field: str | None) -> str:
        """Who has made the edit, or the deletion (None), that waits: the last one that was met."""
        met = [one for one in logged if one.spoke == spoke and one.field == field and one.resolution == "manual"]
        if field is None:
            met = [one for one in met if one.theirs is None]
        if not met:
            return UNKNOWN
        place = met[-1].topic, met[-1].partition, met[-1].offset
        if place not in self._known:
            self._known[place] = self._of_record(spoke, met[-1].table_name, place)
        return self._known[place]

    def _of_record(self, spoke: str, table: str, at: tuple[str, int, int]) -> str:
        message = self._record(*at)
        if message is None or message.value() is None:
            return UNKNOWN
        position = Position.from_header(dict(message.headers() or ())[POSITION_HEADER])  # type: ignore[arg-type]
        event = orjson.loads(message.value() or b"{}")
        place = position.timeline, position.commit_lsn
        named = self._named(spoke, [Commit(place, int(event["source"]["ts_ms"]))])
        column = self._column(table, spoke)
        return actor(named.get(place, ()), position.ordinal, str(event["op"]), event.get("after"), column)

    def _column(self, table: str, spoke: str | None = None) -> str | None:
        """A route's `actor`; at a spoke by its name there."""
        names = [spoke] if spoke is not None else self._settings.spokes(self._hub)
        for name in names:
            route = self._settings.targets[name].tables.get(table) if name in self._settings.targets else None
            if route is not None and route.actor is not None:
                return route.columns.get(route.actor, route.actor) if spoke is not None else route.actor
        return None

    def _named(self, source: str, commits: Sequence[Commit]) -> Mapping[tuple[int, int], Any]:
        if self._away:
            return {}
        actors = Actors(self._settings.kafka, source)
        try:
            return actors.find(commits)
        except KafkaUnavailable:
            self._away = True
            return {}
        finally:
            actors.close()

    def _record(self, topic: str, partition: int, offset: int) -> Message | None:
        if self._away:
            return None
        kafka = self._settings.kafka
        consumer = Consumer(
            {
                **broker.options(kafka),
                "group.id": "placemat.conflicts",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 10,
                "queued.max.messages.kbytes": 1_024,
                **broker.fetch_sizes(kafka, kafka.max_record_bytes + broker.RECORD_OVERHEAD_BYTES),
            },
            logger=broker.SILENT,
        )
        try:
            broker.meet_topics(consumer)
            consumer.assign([TopicPartition(topic, partition, offset)])
            message = consumer.poll(READ_SECONDS)
        except KafkaException:
            self._away = True
            return None
        finally:
            consumer.close()
        return message if message is not None and message.error() is None and message.offset() == offset else None
