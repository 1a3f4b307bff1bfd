"""Which records tell of the past: where a source's topics begin and end, and where in them a moment is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from connectors.contract import Partition
from daemon.errors import OperatorError
from daemon.history.events import decode
from daemon.history.shape import Shape, shape_of
from daemon.recover.locate import Locator, Place
from daemon.recover.reader import position_of
from daemon.recover.window import Commit, Moment
from schemas.envelope import SchemaChange
from schemas.position import era_of
from schemas.topics import SCHEMA_CHANGES_TOPIC, partition_of

At = Moment | Commit


@dataclass(frozen=True, slots=True)
class Bounds:
    """Commits of an era of the source, before a place (None: all)."""

    era: int
    before: Place | None

    def holds(self, place: Place) -> bool:
        """Whether a commit is one of them. Those of an era before tell nothing: every row was copied since."""
        return place >= (self.era, 0) and (self.before is None or place < self.before)

    def passed(self, place: Place) -> bool:
        """Whether a commit is later than all of them."""
        return self.before is not None and place >= self.before


@dataclass(frozen=True, slots=True)
class Oldest:
    """The oldest record that a partition still holds: offset, and commit time in milliseconds since 1970.

    `ts_ms` is None where it holds none.
    """

    offset: int
    ts_ms: int | None


@dataclass(frozen=True, slots=True)
class Span:
    """Records to be read: from these offsets, and before these. `lost` are the partitions of which retention has taken
    records of the era that is asked about; `keys` those asked for, None for all."""

    starts: Mapping[Partition, int]
    ends: Mapping[Partition, int]
    lost: Mapping[Partition, Oldest]
    keys: frozenset[bytes] | None


class PastLocator(Locator):
    """Every method raises Unavailable when Kafka does not answer."""

    def bounds(self, at: At) -> Bounds:
        """Commits up to a moment; those of a time end before the first one that is later."""
        if isinstance(at, Commit):
            return Bounds(self._era, (self._era, at.lsn + 1))
        spine = (self._spine, 0)
        begin = self._offsets([spine], "earliest")[spine]
        era: int | None = None
        for end in self._ends(max(begin, self._offset_at(at.ts_us) - 1)):
            if end.ts_us > at.ts_us:
                return Bounds(end.place[0] if era is None else era, end.place)
            era = end.place[0]
        return Bounds(self._era if era is None else era, None)

    def span(self, topics: Collection[str], era: int | None, texts: Sequence[str] = ()) -> Span:
        """All that the topics hold, of these keys as a person writes them; `era` None: of every era.

        Raises OperatorError (exit code 2) when keys are named, and several topics are.
        """
        if texts and len(topics) != 1:
            raise OperatorError("A key goes with exactly one table.", "Name one table with --key.", exit_code=2)
        partitions = self._partitions(topics)
        keys = frozenset(self._key(partitions, text) for text in texts) if texts else None
        if keys is not None:
            partitions = sorted({partitions[partition_of(key, len(partitions))] for key in keys})
        begins, ends = self._offsets(partitions, "earliest"), self._offsets(partitions, "latest")
        lost = dict(self._lost(begins, ends, era))
        return Span(begins, ends, lost, keys)

    def of_keys(self, topic: str, keys: Collection[bytes]) -> Span:
        """As `span`, of all eras and of record keys as they stand in the topic."""
        partitions = self._partitions([topic])
        partitions = sorted({partitions[partition_of(key, len(partitions))] for key in keys})
        return Span(self._offsets(partitions, "earliest"), self._offsets(partitions, "latest"), {}, frozenset(keys))

    def shapes(self, source: str, tables: Collection[str], bounds: Bounds) -> dict[str, Shape]:
        """The columns of these tables then, as far as versions were announced."""
        changes = (SchemaChange.model_validate_json(value) for value in self._announced())
        found: defaultdict[str, list[SchemaChange]] = defaultdict(list)
        for change in changes:
            if change.source == source and change.name in tables:
                found[change.name].append(change)
        lsn = bounds.before[1] if bounds.before is not None and bounds.before[0] == bounds.era else None
        shapes = {table: shape_of(versions, lsn) for table, versions in found.items()}
        return {table: shape for table, shape in shapes.items() if shape is not None}

    def _announced(self) -> Iterator[bytes]:
        place = (SCHEMA_CHANGES_TOPIC, 0)
        for partition in self._partitions([SCHEMA_CHANGES_TOPIC]):
            begin, end = (self._offsets([partition], where)[place] for where in ("earliest", "latest"))
            yield from (message.value() or b"" for message in self._read(partition, begin, end))

    def _lost(
        self, begins: Mapping[Partition, int], ends: Mapping[Partition, int], era: int | None
    ) -> Iterator[tuple[Partition, Oldest]]:
        for partition, begin in begins.items():
            if not begin:
                continue
            if begin >= ends[partition]:
                yield partition, Oldest(begin, None)
                continue
            for message in self._read(partition, begin, begin + 1):
                position = position_of(message)
                if era is None or era_of(position.timeline) >= era:
                    yield partition, Oldest(begin, decode(message.value() or b"").source.ts_ms)
                break
