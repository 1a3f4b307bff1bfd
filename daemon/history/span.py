"""Which records tell of the past: where a source's topics begin and end, and where in them a moment is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from connectors.contract import Partition
from daemon.errors import OperatorError
from daemon.history.events import decode
from daemon.history.shape import Shape, shape_of
from daemon.recover.locate import Locator, Place, place_of
from daemon.recover.reader import position_of
from daemon.recover.window import Commit, Moment
from schemas.envelope import SchemaChange
from schemas.position import era_of
from schemas.topics import SCHEMA_CHANGES_TOPIC, partition_of

At = Moment | Commit


@dataclass(frozen=True, slots=True)
class Bounds:
    """Commits of an era of the source, before a place (None: all). `started`: the topics know one of them, so that what
    was changed since stands there."""

    era: int
    before: Place | None
    started: bool

    def holds(self, place: Place) -> bool:
        """Whether a commit is one of them. Those of an era before tell nothing: every row was copied since."""
        return place >= (self.era, 0) and (self.before is None or place < self.before)

    def passed(self, place: Place) -> bool:
        """Whether a commit is later than all of them."""
        return self.before is not None and place >= self.before


@dataclass(frozen=True, slots=True)
class Oldest:
    """The oldest record that a partition still holds: offset, commit time in milliseconds since 1970, and place.

    Time and place are None where it holds none.
    """

    offset: int
    ts_ms: int | None
    place: Place | None


@dataclass(frozen=True, slots=True)
class Span:
    """Records to be read: from these offsets, and before these. `lost` are the partitions of which retention has taken
    records of the era that is asked about; `keys` those asked for, None for all."""

    starts: Mapping[Partition, int]
    ends: Mapping[Partition, int]
    lost: Mapping[Partition, Oldest]
    keys: frozenset[bytes] | None

    def covers(self, topic: str, bounds: Bounds) -> frozenset[int]:
        """The partitions of a topic that hold every change since that moment."""
        return frozenset(
            number for name, number in self.starts if name == topic and self._covers((name, number), bounds)
        )

    def uncovered(self, topic: str, bounds: Bounds) -> list[int]:
        """Those of its partitions that are read and do not."""
        return sorted({number for name, number in self.starts if name == topic} - self.covers(topic, bounds))

    def _covers(self, partition: Partition, bounds: Bounds) -> bool:
        oldest = self.lost.get(partition)
        if not bounds.started or (oldest is not None and oldest.place is None):
            return False
        place = None if oldest is None else oldest.place
        return place is None or bounds.before is None or place < bounds.before


class PastLocator(Locator):
    """Every method raises Unavailable when Kafka does not answer."""

    def bounds(self, at: At) -> Bounds:
        """Commits up to a moment; those of a time end before the first one that is later."""
        spine = (self._spine, 0)
        begin = self._offsets([spine], "earliest")[spine]
        if isinstance(at, Commit):
            before = self._era, at.lsn + 1
            first = next((end.place for end in self._ends(begin) if end.place >= (self._era, 0)), before)
            return Bounds(self._era, before, first < before)
        era: int | None = None
        for end in self._ends(max(begin, self._offset_at(at.ts_us) - 1)):
            if end.ts_us > at.ts_us:
                return Bounds(end.place[0] if era is None else era, end.place, era is not None)
            era = end.place[0]
        return Bounds(self._era if era is None else era, None, era is not None)

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
                yield partition, Oldest(begin, None, None)
                continue
            for message in self._read(partition, begin, begin + 1):
                position = position_of(message)
                if era is None or era_of(position.timeline) >= era:
                    place = place_of(position.timeline, position.commit_lsn)
                    yield partition, Oldest(begin, decode(message.value() or b"").source.ts_ms, place)
                break
