"""Whether a lane's tables fit the versions that its transactions bring, told before each first record, and whether the
source has them still."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connectors.contract import Place, Sink
from daemon.consume.versions import Versions
from daemon.errors import TableUnfit
from schemas.envelope import TransactionEnd


class Shapes:
    """Of one lane of `target`, since that was claimed. `topics` are its tables by topic."""

    def __init__(
        self, sink: Sink, target: str, versions: Versions, topics: Mapping[str, str],
        ask_for_table: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._sink = sink
        self._target = target
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
                if shape.keyless:
                    self._ask_for_table(table)  # rows may have had one key, and one of them be left
                if altered:
                    return table
            self._known[topic] = version
            del self._due[topic]
        return None

    def check_there(self, applied: Place) -> None:
        """Raises TableUnfit for a table that is gone and of which all was applied, and what Kafka raises."""
        gone = self._versions.gone()
        for table in self._topics.values():
            if table in gone and gone[table] <= applied[1]:
                raise TableUnfit(
                    table,
                    f"{table} is gone from the source: it was dropped, or has another name now. Its rows in target"
                    f" {self._target} stay as they are.",
                    f"Take it out of targets.{self._target}.tables; or, once the source has it again and changes it:"
                    f" placemat resume {self._target} {table}",
                )
