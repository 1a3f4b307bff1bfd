"""What has to be known of a record before it is decided what is asked for. Where many rows wait, many records are read
by one request.

A listing may lag behind, so it only confirms: a record that it shows as it was seen last needs no further look, and any
other is read by itself.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

from connectors.pushing import Due, Key
from connectors.service import Done, Exhausted, Found, NotDone, Read, Remote, Search, Service
from daemon.push.forms import Forms
from daemon.push.request import key_value

LOOK_SECONDS = 20.0
"""A look that is older at a write than this is made again."""
MANY = 4
"""So many are read together, fewer one by one right before they are written."""

Look = Read | Search | None
"""None: nothing has to be known."""


class Looks:
    """One worker's, for one turn after another. `both_ways` are the tables that go both ways."""

    def __init__(
        self, service: Service, forms: Forms, both_ways: Collection[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._service = service
        self._forms = forms
        self._both_ways = both_ways
        self._clock = clock
        self.begin([])

    def begin(self, dues: Iterable[Due]) -> None:
        """A turn begins, with these keys."""
        self._left = {due.lease.key: due for due in dues if self._compared(due) and due.seen is not None}
        self._listed: dict[Key, Remote] = {}
        self._asked: defaultdict[str, float] = defaultdict(lambda: float("-inf"))
        self._known: dict[Key, Look] = {}

    @property
    def ahead(self) -> bool:
        """Whether what was read together is some time ago: the mirror may know better by now."""
        return bool(self._listed)

    def prepare(self, group: Sequence[Due]) -> None:
        """These are looked at next. In the mirror's thread."""
        self._known = {}
        for table in {due.lease.key.table for due in group if due.lease.key in self._left}:
            failed = self._list(table)
            for due in group:
                if due.lease.key.table == table and due.lease.key in self._left:
                    look = failed or self._confirmed(due)
                    if look is not None:
                        self._known[due.lease.key] = look
        for due in group:
            self._left.pop(due.lease.key, None)

    def of(self, due: Due) -> Look:
        """In a thread of its own."""
        table, open_, linked = due.lease.key.table, due.intent, due.linked
        if open_ is not None and open_.remote_id is None:
            return self._service.find(table, key_value(due))
        if open_ is not None and open_.remote_id is not None:
            return self._service.read(table, open_.remote_id)
        if not self._compared(due) or linked.remote_id is None:
            return None
        return self._known.get(due.lease.key) or self._service.read(table, linked.remote_id)

    def _compared(self, due: Due) -> bool:
        """Whether what is asked for depends on what people have done there."""
        linked = due.linked
        return (
            due.lease.key.table in self._both_ways
            and due.intent is None
            and due.backlog is not None
            and linked.remote_id is not None
            and linked.alive
        )

    def _list(self, table: str) -> NotDone | Exhausted | None:
        """Read together what is left of a table, where that is much, and not done just now."""
        left = {key: due for key, due in self._left.items() if key.table == table}
        if len(left) < MANY or self._clock() - self._asked[table] <= LOOK_SECONDS:
            return None
        began = self._clock()
        keys = {str(due.linked.remote_id): key for key, due in left.items()}
        answer = self._service.several(table, {id_: key_value(left[key]) for id_, key in keys.items()})
        for key in left:
            self._listed.pop(key, None)
        if not isinstance(answer, Found):
            return answer
        self._asked[table] = began
        self._listed |= {keys[remote.id]: remote for remote in answer.remotes if remote.id in keys}
        return None

    def _confirmed(self, due: Due) -> Done | None:
        """The record, where it was read together with others not long ago, and is as it was seen last."""
        key, remote = due.lease.key, self._listed.get(due.lease.key)
        if remote is None or remote.gone or due.seen is None or remote.id != due.linked.remote_id:
            return None
        if self._clock() - self._asked[key.table] > LOOK_SECONDS:
            return None
        current = self._forms.current(key, remote)
        return Done(remote) if all(due.seen.get(name) == value for name, value in current.items()) else None
