"""Whether a lane's tables fit the versions that its transactions bring, told before each first record."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.contract import Sink
from daemon.consume.versions import Versions
from schemas.envelope import TransactionEnd


class Shapes:
    """Of one lane, since its target was claimed. `topics` are its tables by topic."""

    def __init__(self, sink: Sink, versions: Versions, topics: Mapping[str, str]) -> None:
        self._sink = sink
        self._versions = versions
        self._topics = topics
        self._known: dict[str, int] = {}
        self._due: dict[str, int] = {}

    def known(self, end: TransactionEnd) -> bool:
        """Whether a transaction brings no version that is to be looked at first; `adapt` is for those that it does."""
        known, topics = self._known, self._topics
        self._due = {
            topic: version
            for topic, version in end.schemas.items()
            if topic in topics and version > known.get(topic, 0)
        }
        return not self._due

    def adapt(self) -> str | None:
        """Make tables fit; the first one that is not as it was, so that all begins anew.

        Raises TableUnfit for one that does not fit, and what the sink and Kafka raise.
        """
        while self._due:
            topic, version = next(iter(self._due.items()))
            table = self._topics[topic]
            shape = self._versions.upto(table, version)
            if shape is not None and self._sink.adapt(shape):
                return table
            self._known[topic] = version
            del self._due[topic]
        return None
