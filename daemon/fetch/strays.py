"""Records of a service that hold the key of another's row: which of them are ours to take away, and how that is done.

A service without unique keys may have two records of one row: an answer was lost and the search lagged, or somebody has
copied one. The record that the mirror names is the row. Of the others, one that we have made and nobody has touched
goes to the trash; all else is people's work, and theirs to decide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog

from connectors.fetching import Fetched, Standing, Stray
from connectors.pushing import Key
from connectors.service import Done, Exhausted, Gone, InTheTrash, Polled, Refused, Remote
from daemon.fetch.answers import NotAnswered
from daemon.observe import metrics
from daemon.push.request import SEND_SECONDS, Spent
from daemon.seams import AFTER_SWEEP_REQUESTED, seam

MOST_STRAYS = 20
LOOK_AGAIN_SECONDS = 60.0
COPIED = "people have made it"
EDITED = "we have made it, and it was edited since"

log = structlog.get_logger(__name__)
KeysTold = Callable[[str, Sequence[Remote]], dict[str, Key]]


def stray(remote: Remote, key: Key) -> Stray:
    """What is to become of a record that holds the key of another. Pure."""
    return Stray(key, remote.id, remote.ours and remote.untouched, EDITED if remote.ours else COPIED)


class Sweeper:
    """One worker's. `told` says by record the row whose key it holds. Raises as `Fetcher`."""

    def __init__(self, mirror: Fetched, service: Polled, target: str, told: KeysTold) -> None:
        self._mirror = mirror
        self._service = service
        self._target = target
        self._told = told

    def sweep(self) -> int:
        """Put what is ours into the trash; how many were looked at."""
        due = self._mirror.strays.due(MOST_STRAYS)
        for one in due:
            self._sweep(one)
        return len(due)

    def _sweep(self, one: Stray) -> None:
        strays, standing = self._mirror.strays, self._mirror.strays.standing(one.key)
        if standing.remote_id in (None, one.remote_id):
            strays.forget(one, read=True)  # it may be the row's own record by now
            return
        if not self._superfluous(one, standing):
            strays.postpone(one, LOOK_AGAIN_SECONDS)
            return
        remote = self._read(one.key.table, one.remote_id)
        if remote is None or remote.gone:
            if one.trashing:
                self._swept(one, standing, None)
            else:
                strays.forget(one, read=False)
        elif self._told(one.key.table, [remote]).get(one.remote_id) != one.key:
            strays.forget(one, read=True)
        elif not stray(remote, one.key).ours:
            strays.leave(one, stray(remote, one.key).why)
        else:
            self._trash(one, standing, remote)

    def _superfluous(self, one: Stray, standing: Standing) -> bool:
        """Whether another record is the row for sure, or there is to be none. While a request of the row is open, the
        record may be what that has made."""
        if standing.busy:
            return False
        if not standing.alive:
            return not standing.wanted
        assert standing.remote_id is not None, "what is alive is somewhere"
        owner = self._read(one.key.table, standing.remote_id)
        if owner is None or owner.gone:
            self._mirror.mark(one.key.table, [standing.remote_id])
            return False
        return True

    def _read(self, table: str, remote_id: str) -> Remote | None:
        found = self._service.read(table, remote_id)
        match found:
            case Done(remote, _):
                return remote
            case Exhausted(why, until):
                raise Spent(why, until)
            case _:
                raise NotAnswered(found.why, found.seconds)

    def _trash(self, one: Stray, standing: Standing, remote: Remote) -> None:
        self._mirror.strays.intend(one)
        answer = self._service.delete(
            one.key.table, one.remote_id, remote.version, time.monotonic() + SEND_SECONDS
        )  # fmt: skip
        seam(AFTER_SWEEP_REQUESTED)
        match answer:
            case Done(_, request):
                self._swept(one, standing, request)
            case Gone() | InTheTrash():
                self._swept(one, standing, None)
            case Refused(code, reason, _):
                self._mirror.strays.leave(one, f"it was to go to the trash, and the service refused ({code}): {reason}")
            case Exhausted(why, until):
                raise Spent(why, until)
            case _:  # looked at again before anything is sent
                raise NotAnswered(str(getattr(answer, "why", "")), getattr(answer, "seconds", None))

    def _swept(self, one: Stray, standing: Standing, request: str | None) -> None:
        kept = standing.remote_id if standing.alive else None
        self._mirror.strays.swept(one, kept, request)
        metrics.SWEPT_RECORDS.labels(self._target, "twice").inc()
        log.warning(
            "a record that we had made twice went to the trash", target=self._target, table=one.key.table,
            record=one.remote_id, kept=kept,
        )  # fmt: skip
