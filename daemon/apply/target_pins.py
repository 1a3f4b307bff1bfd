"""The topics that a target's stored offsets belong to, compared with those that Kafka has."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.contract import Pin, Sink
from daemon import pins
from daemon.config.settings import Settings
from daemon.errors import Unavailable
from daemon.pins import Pinned, Pins
from schemas.topics import messages_topic, table_topic, transactions_topic


class TargetPins:
    """Those of one target."""

    def __init__(self, settings: Settings, name: str, sink: Sink) -> None:
        target = settings.targets[name]
        self._kafka = settings.kafka
        self._name = name
        self._sink = sink
        tables = (table_topic(target.source, *table.split(".", 1)) for table in target.needed)
        self._topics = {transactions_topic(target.source), *tables}
        if settings.role(name) is not None:
            self._topics.add(messages_topic(target.source))

    def check(self) -> None:
        """Without the lane, from any thread. Raises Gap when Kafka is not what the target began with, and Unavailable
        when it or the target does not answer."""
        kept = self._sink.pinned()
        if any(name in self._topics for name in kept):
            self._compared(kept, "").check()

    def look(self) -> None:
        """As `check`, but who does not answer now is looked at another time."""
        try:
            self.check()
        except Unavailable:
            return

    def pin(self) -> Pins:
        """Once the target is claimed; a missing topic is told by who reads it. Raises what the sink and Kafka do."""
        cluster_id, present = pins.look(self._kafka, self._topics)
        found = {name: Pin(cluster_id, one.topic_id, one.partitions) for name, one in present.items()}
        return self._compared(self._sink.pin(found), cluster_id)

    def _compared(self, kept: Mapping[str, Pin], cluster_id: str) -> Pins:
        """`cluster_id` is for where nothing is kept."""
        wanted = {name: pin for name, pin in kept.items() if name in self._topics}
        began_with = next((pin.cluster_id for pin in wanted.values()), cluster_id)
        topics = {name: Pinned(pin.topic_id, pin.partitions) for name, pin in wanted.items()}
        return Pins(self._kafka, f"target {self._name}", began_with, topics)
