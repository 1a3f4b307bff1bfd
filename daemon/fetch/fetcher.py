"""Reads anew what webhooks and others have named, and gives records that people have made their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from connectors.fetching import WHOLE_TABLE, Dirty, Fetched
from connectors.mirroring import Mirrored
from connectors.pushing import Key
from connectors.service import Done, Exhausted, Found, Gone, InTheTrash, NotDone, Polled, Refused, Remote
from daemon.fetch.answers import NotAnswered
from daemon.fetch.polling import Polling
from daemon.fetch.reading import LAG_US, When, value_of
from daemon.fetch.telling import Telling
from daemon.push.request import Spent

OWN_US = 300_000_000
"""What is told of a record so long after we have written to it may be that."""
MOST_DIRTY = 50
MANY = 4
"""So many that are known are read together, fewer one by one."""
IN_A_ROW = 3
"""So many records that cannot be read one after the other: it is the service."""
SHORTEST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Before one record that cannot be read is asked for again; in seconds."""
REFUSED_SECONDS, UNKNOWN_SECONDS = 3_600.0, 10.0
"""Before a record is given its key again."""

log = structlog.get_logger(__name__)


class Fetcher:
    """One worker's. Raises NotAnswered, `Spent`, and what mirror and service raise."""

    def __init__(self, mirror: Fetched, service: Polled, target: str, tables: Sequence[Mirrored]) -> None:
        self._mirror = mirror
        self._service = service
        self._target = target
        self._tables = {one.table: one for one in tables}
        self._telling = Telling(mirror, target, self._tables)
        self._polling = Polling(mirror, service, self._tables, self._telling)

    def look_through(self) -> bool:
        """See `Polling`."""
        return self._polling.look_through()

    def poll(self) -> None:
        """See `Polling`."""
        self._polling.poll()

    def told(self, table: str, remotes: Sequence[Remote]) -> dict[str, Key]:
        """By record, the row whose key it holds."""
        return self._telling.told(table, remotes)

    def read_dirty(self) -> int:
        """Read anew what somebody has named; how many there were. One record that cannot be read holds up no other."""
        dirty = self._mirror.dirty(MOST_DIRTY)
        done = self._read_together(dirty) if len(dirty) >= MANY else set()
        failed = 0
        for one in dirty:
            if one in done:
                continue
            try:
                self._read(one)
                failed = 0
            except NotAnswered as error:
                age = (self._mirror.now() - one.since) / 1_000_000
                self._mirror.postpone([one], min(max(age / 2, SHORTEST_PAUSE), LONGEST_PAUSE))
                failed += 1
                if error.seconds is not None or failed == IN_A_ROW:
                    raise
        return len(dirty)

    def _read_together(self, dirty: Sequence[Dirty]) -> set[Dirty]:
        """Many that the service has told of, and that we have written to not long ago: it is mostly that. They are
        looked at together, once a query is sure to show what was told, and those that it shows as they were seen last
        are read. Any other is read by itself."""
        done: set[Dirty] = set()
        for table in {one.table for one in dirty if one.table in self._tables}:
            began = self._mirror.now()
            some = {one.remote_id: one for one in dirty if one.table == table and one.told}
            ours = {
                id_: one.key
                for id_, one in self._mirror.records(table, some).items()
                if one.key is not None and began - one.written_at < OWN_US
            }
            if len(ours) < MANY:
                continue
            young = [some[id_] for id_ in ours if began - some[id_].since < LAG_US]
            self._mirror.postpone(young, LAG_US / 1_000_000)
            ripe = {id_: value_of(key) for id_, key in ours.items() if some[id_] not in young}
            done |= {*young, *self._confirmed(table, ripe, some, When(began, 0, listed=True))}
        return done

    def _confirmed(
        self, table: str, keys: Mapping[str, str], dirty: Mapping[str, Dirty], when: When
    ) -> list[Dirty]:  # fmt: skip
        """Those of these records that are as they were seen last."""
        answer = self._service.several(table, keys) if len(keys) >= MANY else Found([])
        if not isinstance(answer, Found):
            raise _unanswered(answer)
        told, _ = self._telling.readings(table, answer.remotes, when)
        readings = [one for one in told if self._tables[table].seen and one.seen is None and not one.gone]
        same = [dirty[one.remote_id] for one in readings]
        if same:
            self._mirror.store(readings, {}, same)
        return same

    def claim(self) -> int:
        """Give records that people have made their keys; of how many that has come to something."""
        done = 0
        for key, remote_id in self._mirror.unkeyed(MOST_DIRTY):
            found = self._service.claim(key.table, remote_id, value_of(key))
            match found:
                case Done():
                    self._mirror.keyed(key)
                case Gone() | InTheTrash():
                    self._mirror.mark(key.table, [remote_id])
                case Exhausted(why, until):
                    raise Spent(why, until)
                case NotDone(why, seconds):
                    self._mirror.keyless(key, UNKNOWN_SECONDS)
                    raise NotAnswered(why, seconds)
                case Refused(code):
                    log.warning(
                        "a record cannot be given its key", target=self._target, table=key.table, record=remote_id,
                        code=code,
                    )  # fmt: skip
                    self._mirror.keyless(key, REFUSED_SECONDS)
                    continue
                case _:  # a look tells whether it was done
                    self._mirror.keyless(key, UNKNOWN_SECONDS)
                    continue
            done += 1
        return done

    def _read(self, dirty: Dirty) -> None:
        began = self._mirror.now()
        if dirty.table not in self._tables:
            self._mirror.store([], {}, [dirty])
            return
        if dirty.remote_id == WHOLE_TABLE:
            self._polling.poll_table(dirty.table)
            self._mirror.store([], {}, [dirty])
            return
        found = self._service.read(dirty.table, dirty.remote_id)
        match found:
            case Done(None, _):
                self._mirror.store(self._telling.gone(dirty, began), {}, [dirty])
            case Done(remote, _) if remote is not None:
                readings, strays = self._telling.readings(dirty.table, [remote], When(began, 0))
                self._mirror.store(readings, {}, [dirty], strays)
            case _:
                raise _unanswered(found)


def _unanswered(found: object) -> Exception:
    if isinstance(found, Exhausted):
        return Spent(found.why, found.until)
    return NotAnswered(str(getattr(found, "why", "")), getattr(found, "seconds", None))
