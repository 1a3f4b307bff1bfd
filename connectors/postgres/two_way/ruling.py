"""At the hub, for a person: rows are read with all that is known of them, and what is decided is written.

One transaction: the row is locked, what is kept of it is held, it is decided over what they were shown, written, read
back, kept and told. So it flows to the spokes as any change does.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
import psycopg
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from connectors.conflicts import Deciding, Done, Key, Known, Order, Ruled
from connectors.contract import Destination, TryAgain
from connectors.errors import OperatorError
from connectors.postgres import literals
from connectors.postgres.failures import Refused
from connectors.postgres.session import open_session, translated
from connectors.postgres.statements import read_catalogue
from connectors.postgres.steps import ArrayLiteral
from connectors.postgres.table_writes import TableWrites
from connectors.postgres.two_way.canonical import canonicals
from connectors.postgres.two_way.changes import Changes
from connectors.postgres.two_way.hub import HubStore
from connectors.postgres.two_way.outward import net_of, tell
from schemas.position import START
from schemas.resolution import ANSWERS_PREFIX, ORIGIN_PREFIX, AtHub, Fields, Origin

ACTOR_PREFIX = "placemat.actor"
ATTEMPTS = 5
_BEGIN = "SELECT pg_logical_emit_message(true, %s, %s), pg_logical_emit_message(true, %s, %s)"
_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_DECIDED = """
INSERT INTO placemat.decisions
    (conflict_id, decided_by, reason, table_name, key, action, keeps_row, fields, before, over, version)
SELECT id, %s, %s, table_name, key, %s, %s, %s, %s, %s, %s FROM placemat.conflicts WHERE table_name = %s AND key = %s
"""
_UNDONE = """
UPDATE placemat.decisions SET undone_at = now(), undone_by = %s, undone_reason = %s
WHERE id = %s AND undone_at IS NULL AND erased_at IS NULL
"""


class HubRulings:
    """See `connectors.conflicts.Rulings`. `destination` is that by which the hub's own stream is followed."""

    def __init__(self, destination: Destination, hub: str) -> None:
        """Connects. Raises psycopg.Error, and OperatorError where a table is missing."""
        self._destination = destination
        self._hub = hub
        self.connection = open_session(destination.url, "placemat conflicts")
        self.connection.autocommit = True
        catalogue = read_catalogue(self.connection, destination.name, destination.routes)
        self._tables = canonicals(self.connection, catalogue.tables, catalogue.tables, at_hub=True)
        for name, table in self._tables.items():
            catalogue.tables[name].two_way = table
        self._changes = Changes(self.connection, self._tables)
        self._store = HubStore(self.connection, hub)
        self._writes = TableWrites(self.connection, destination.name, catalogue)

    def close(self) -> None:
        self.connection.close()

    def fields(self, table: str) -> list[str]:
        return list(self._tables[table].columns) if table in self._tables else []

    def rows(self, keys: Sequence[Key]) -> dict[Key, Fields]:
        with self._translated():
            return self._changes.present([key for key in keys if key[0] in self._tables], locked=False)

    def known(self, key: Key) -> Known:
        with self._translated(), self.connection.transaction():
            self.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            row = self._changes.present([key], locked=False).get(key) if key[0] in self._tables else None
            return self._known(key, row)

    def canonical(self, table: str, values: Mapping[str, str]) -> Fields:
        found: dict[str, str | None] = {}
        for name, text in values.items():
            found |= self._canonical(table, name, text)
        return found

    def as_here(self, table: str, row: Fields) -> Fields:
        if table not in self._tables:
            return row
        with self._translated():
            try:
                [found] = self._changes.canonical(table, [self._tables[table].raws(row)])
            except psycopg.DataError:
                return row
        return found

    def rule(self, order: Order, deciding: Deciding) -> Done | None:
        attempts = Retrying(
            retry=retry_if_exception_type(TryAgain), stop=stop_after_attempt(ATTEMPTS), reraise=True,
            wait=wait_random_exponential(0.05, max=1),
        )  # fmt: skip
        try:
            return attempts(self._rule, order, deciding)
        except Refused as error:
            raise OperatorError(
                f"The hub refuses what was decided: {error.reason}.",
                "Put right what refuses it, or decide otherwise; placemat conflicts show shows what waits.",
            ) from None

    def _rule(self, order: Order, deciding: Deciding) -> Done | None:
        done: Done | None = None
        with self._translated(), self.connection.transaction():
            done = self._ruled(order, deciding)
            if done is None or order.dry_run:
                raise psycopg.Rollback
        return done

    def _ruled(self, order: Order, deciding: Deciding) -> Done | None:
        (table, text), mark = order.key, secrets.token_hex(8)
        origin = msgspec.json.encode(Origin("", self._destination.name, mark)).decode()
        self.connection.execute(_BEGIN, [ORIGIN_PREFIX, origin, ACTOR_PREFIX, order.by])
        row = self._changes.present([order.key], locked=True).get(order.key)
        self._store.hold()
        known = self._known(order.key, row)
        (now,) = self.connection.execute(_NOW).fetchone() or (0,)
        ruled = deciding.decide(known.at, now)
        if ruled is None:
            return None
        if (net := net_of(self._tables[table], ruled)) is not None:
            self._writes.write_nets({table: {self._tables[table].record_key(text): net}})
        stored = self._changes.present([order.key], locked=False).get(order.key)
        kept = deciding.settle(table, text, ruled, known.links, stored, mark)
        self._note(order, ruled, known, mark)
        self._store.store("", {order.key: kept})
        tell(self.connection, ANSWERS_PREFIX, [kept.answer] if kept.answer is not None else [])
        return Done(ruled, stored)

    def _note(self, order: Order, ruled: Ruled, known: Known, mark: str) -> None:
        if order.undoes is not None:
            if self.connection.execute(_UNDONE, [order.by, order.reason, order.undoes]).rowcount != 1:
                raise TryAgain("somebody else has taken it back at this moment, or erased it")
            return
        fields, before = (json.dumps(dict(one), ensure_ascii=False) for one in (ruled.fields, ruled.before))
        self.connection.execute(
            _DECIDED,
            [order.by, order.reason, ruled.action, ruled.keeps_row, fields, before, known.at.conflict,
             json.dumps(mark), *order.key],
        )  # fmt: skip

    def _known(self, key: Key, row: Fields | None) -> Known:
        observed = self._store.observed()
        kept = self._store.read([key])
        links = kept.links.get(key, {})
        return Known(AtHub(row, kept.states.get(key), None, kept.conflicts.get(key), observed, START), links)

    def _canonical(self, table: str, name: str, text: str) -> dict[str, str | None]:
        known = self._tables[table]
        column = known.columns[name]
        given = known.table.columns[column]
        is_json = given.element is literals.json or (given.type.endswith("[]") and text.lstrip().startswith("["))
        try:
            json.loads(text if is_json else "0")
        except ValueError:
            raise _no_value(table, name, given.type) from None
        document = text if is_json else json.dumps(text)
        values = ArrayLiteral(literals.array([known.document(known.raws({name: document}))]))
        try:
            row = self.connection.execute(known.documents([column]).encode(), [values]).fetchone()
        except psycopg.DataError:
            raise _no_value(table, name, given.type) from None
        assert row is not None, "there is a row for every document"
        return dict(known.row(row[1:], [column]))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What goes wrong within, as an error of the contract."""
        name = self._destination.name
        with translated(name, "refuses what placemat keeps there", "Run: placemat init", lambda: None):
            yield


def _no_value(table: str, name: str, type_: str) -> OperatorError:
    return OperatorError(
        f"The value for {name} of {table} is none of type {type_}.",
        "Give it as PostgreSQL reads it, JSON and lists as JSON; --null FIELD for no value.",
        exit_code=2,
    )
