"""Which rows differ because a person has yet to decide: conflicts that wait at the hub with something of this spoke."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql

from daemon.config.settings import Settings
from daemon.reconcile.record_key import matching
from daemon.reconcile.report import Waits
from daemon.reconcile.rows import Key
from daemon.reconcile.shape import Column
from daemon.reconcile.side import Side, opened

_INSTALLED = sql.SQL("SELECT to_regclass('placemat.conflicts') IS NOT NULL")
_WAITING = """
SELECT asked.place, open.id, ARRAY(SELECT jsonb_object_keys(open.state::jsonb #> ARRAY['fields', %s]) ORDER BY 1)
FROM placemat.conflicts AS open
JOIN unnest({asked}) WITH ORDINALITY AS asked ({names}, place) ON {match}
WHERE open.waits AND open.table_name = %s
  AND (open.state::jsonb -> 'fields' ? %s OR open.state::jsonb -> 'deletions' ? %s)
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The conflicts of one spoke: `hub` is where they are kept, `tables` are those that go both ways."""

    hub: Side
    spoke: str
    tables: Collection[str]

    def of(self, table: str, key: Sequence[Column], keys: Sequence[Key]) -> dict[Key, Waits]:
        """By key, those that wait; `table` and the columns of `key` are the hub's."""
        if not keys or table not in self.tables or self.hub.rows(_INSTALLED) == [(False,)]:
            return {}
        asked = matching("open", key)
        query = sql.SQL(_WAITING).format(asked=asked.arrays, names=asked.names, match=asked.match)
        texts = [list(some) for some in zip(*keys, strict=True)]
        rows = self.hub.rows(query, [self.spoke, *texts, table, self.spoke, self.spoke])
        return {keys[place - 1]: Waits(conflict, tuple(fields)) for place, conflict, fields in rows}


@contextmanager
def conflicts_of(settings: Settings, target: str) -> Iterator[Waiting | None]:
    """What waits for a person of a target that goes both ways; it is kept where its changes are brought to. Raises
    OperatorError when that cannot be reached."""
    role = settings.role(target)
    if role is None:
        yield None
        return
    brings = settings.brings(role.hub)
    both = frozenset(table for table, route in settings.targets[target].tables.items() if route.both_ways)
    with opened("target", brings, settings.targets[brings].url.get_secret_value()) as hub:
        yield Waiting(hub, role.spoke, both)
