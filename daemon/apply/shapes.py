"""Whether a lane's tables fit the versions that its transactions bring, told before each first record, and whether the
source has them still. A table that only conditions need is looked at as those that are routed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connectors.contract import Place, Sink
from daemon.consume.versions import Versions
from schemas.envelope import TransactionEnd


class Shapes:
    """Of one lane of a target, since that was claimed. `topics` are its tables by topic."""

    def __init__(
        self, sink: Sink, versions: Versions, topics: Mapping[str, str], ask_for_table: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._sink = sink
        self._versions = versions
        self._topics = topics
        self._ask_for_table = ask_for_table
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
            if shape is not None:
                altered = self._sink.adapt(shape)
                if shape.keyless or shape.back or shape.key_back:
                    # Rows may have had one key, and one of them be left; or values that no event has told.
                    self._ask_for_table(table)
                if altered:
                    return table
            self._known[topic] = version
            del self._due[topic]
        return None

    def check_there(self, applied: Place) -> None:
        """Raises TableUnfit where a table is gone and all of it was applied, and what the sink and Kafka raise."""
        gone = self._versions.gone()
        for table in self._topics.values():
            if table in gone and gone[table] <= applied[1]:
                self._sink.gone(table)
