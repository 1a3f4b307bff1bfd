"""A PostgreSQL database that is linked with another one that is full already; see `connectors.linking`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property

import orjson
from psycopg import sql

from connectors.contract import Destination
from connectors.errors import OperatorError
from connectors.linking import Key, Known, Linkable, Reference, Told
from connectors.postgres import literals
from connectors.postgres.parked import AMBIGUOUS
from connectors.postgres.rows import decode_key
from connectors.postgres.session import open_session, translated
from connectors.postgres.shape import read_table
from connectors.postgres.statements import read_catalogue
from connectors.postgres.steps import ArrayLiteral, ArrayLiteralDumper
from connectors.postgres.two_way.canonical import Canonical, canonicals
from connectors.postgres.two_way.changes import Changes
from connectors.postgres.two_way.hub import HubStore
from connectors.postgres.two_way.key_texts import as_recorded
from schemas.resolution import Fields

PAGE_ROWS = 2_000
_NO_TIME = "NULL::bigint"
_HELD = "SELECT key FROM placemat.parked WHERE source = %s AND table_name = %s AND sqlstate = %s"
_HOLD = """
INSERT INTO placemat.parked (source, table_name, key, kind, sqlstate, reason)
SELECT %s, %s, v.key, 'refused', %s, v.reason FROM unnest(%s::text[], %s::text[]) AS v (key, reason)
ON CONFLICT (source, table_name, key) DO NOTHING
"""
_RELEASE = """
UPDATE placemat.parked SET request = %s, requested_by = current_user
WHERE source = %s AND table_name = %s AND sqlstate = %s AND key = ANY (%s)
"""


class PostgresLinkSide:
    """Either side. `times` are columns of this database that say when a row was changed, by the hub's table."""

    def __init__(self, destination: Destination, times: Mapping[str, str]) -> None:
        both = destination.both_ways
        assert both is not None, "its tables go both ways"
        self._destination = destination
        self._both = both
        self._times = times
        self._at_hub = both.outward is None
        with translated(destination.name, "refuses to be read", "Run: placemat init", lambda: None):
            self.connection = open_session(destination.url, f"placemat link {destination.name}")
            self.connection.autocommit = True
            self.connection.adapters.register_dumper(ArrayLiteral, ArrayLiteralDumper)

    @cached_property
    def canonicals(self) -> dict[str, Canonical]:
        """By the hub's table, parents first."""
        target = self._destination
        with self.translated():
            catalogue = read_catalogue(self.connection, target.name, target.routes)
            for missing in sorted(catalogue.missing & self._both.tables):
                raise OperatorError(
                    f"Target {target.name} has no table {target.routes[missing].table or missing}.",
                    f"Create it there, or take it out of targets.{target.name}.tables.",
                )
            found = canonicals(self.connection, catalogue.tables, self._both.tables, at_hub=self._at_hub)
        return {one.hub: one for one in sorted(found.values(), key=lambda one: one.table.rank)}

    @cached_property
    def _linkable(self) -> dict[str, Linkable]:
        names = {one.table.name: one.hub for one in self.canonicals.values()}
        found = {}
        for hub, table in self.canonicals.items():
            with self.translated():
                shape = read_table(self.connection, self.relation(hub))
            own = {
                column.name: table.fields[name] for name, column in table.table.columns.items() if name in table.fields
            }
            assert shape is not None, "it was there a moment ago"
            key = tuple(sorted(own[name] for name in shape.primary_key if name in own))
            found[hub] = Linkable(hub, key, frozenset(own.values()))
        return {
            hub: Linkable(hub, one.key, one.fields, tuple(self._references(self.canonicals[hub], names, found)))
            for hub, one in found.items()
        }

    def _references(
        self, table: Canonical, names: Mapping[str, str], tables: Mapping[str, Linkable]
    ) -> Iterator[Reference]:
        """Those whose fields all go, and that refer to a key."""
        for one in table.table.foreign_keys:
            if one.parent not in names or not all(column in table.fields for column in one.columns):
                continue
            parent = tables[names[one.parent]]
            above = self.canonicals[parent.table]
            own = {column.name: above.fields.get(name, "") for name, column in above.table.columns.items()}
            at = {own[there]: table.fields[here] for here, there in zip(one.columns, one.referenced, strict=True)}
            if set(at) == set(parent.key):
                yield Reference(tuple(at[name] for name in parent.key), parent.table)

    # What `connectors.linking.LinkSide` asks for

    def tables(self) -> Sequence[Linkable]:
        return list(self._linkable.values())

    def rows(self, table: str) -> Iterator[Sequence[Told]]:
        canonical = self.canonicals[table]
        with self.translated(), self.connection.transaction():
            self.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            with self.connection.cursor(name="placemat_link") as cursor:
                cursor.execute(canonical.all(self.time(table, "t")).encode(), [])
                while page := cursor.fetchmany(PAGE_ROWS):
                    yield [Told(canonical.row(texts), ts_us) for *texts, ts_us in page]

    def read(self, table: str, keys: Sequence[Key]) -> Mapping[Key, Fields]:
        canonical = self.canonicals[table]
        by_text = {self.text(table, key): key for key in keys}
        name = canonical.table.name
        with self.translated(), self.connection.transaction():
            found = Changes(self.connection, {name: canonical}).present([(name, one) for one in by_text], locked=False)
        return {by_text[text]: row for (_, text), row in found.items()}

    def held(self, table: str) -> Collection[Key]:
        values = [self._destination.source, self.canonicals[table].table.name, AMBIGUOUS]
        with self.translated():
            keys = [key.encode() for (key,) in self.connection.execute(_HELD, values)]
            return self._keys(table, keys)

    def hold(self, table: str, reasons: Mapping[Key, str]) -> None:
        name = self.canonicals[table].table.name
        keys = [self._record_key(table, key) for key in reasons]
        with self.translated():
            self.connection.execute(_HOLD, [self._destination.source, name, AMBIGUOUS, keys, list(reasons.values())])

    def release(self, table: str, keys: Collection[Key], *, gone: bool) -> None:
        name = self.canonicals[table].table.name
        wanted = [self._record_key(table, key) for key in keys]
        with self.translated():
            values = ["discard" if gone else "redrive", self._destination.source, name, AMBIGUOUS, wanted]
            self.connection.execute(_RELEASE, values)

    def close(self) -> None:
        self.connection.close()

    # At the hub

    def conform(self, table: str, rows: Sequence[Fields]) -> list[Fields]:
        canonical = self.canonicals[table]
        given = [canonical.raws(row) for row in rows]
        if not given:
            return []
        names = tuple(dict.fromkeys(name for one in given for name in one))
        found: list[Fields] = [{}] * len(rows)
        documents = ArrayLiteral(literals.array(canonical.document(one) for one in given))
        with self.translated():
            for number, *texts in self.connection.execute(canonical.documents(names).encode(), [documents]):
                row = canonical.row(texts, names)
                found[number - 1] = {field: text for field, text in row.items() if field in rows[number - 1]}
        return found

    def known(self, table: str, keys: Sequence[Key]) -> Mapping[Key, Known]:
        texts = {(table, self.text(table, key)): key for key in keys}
        with self.translated(), self.connection.transaction():
            known = HubStore(self.connection, self._both.hub).read(list(texts))
        spoke = self._destination.source
        return {
            key: Known(known.states.get(name), spoke in known.links.get(name, {}))
            for name, key in texts.items()
            if name in known.states or name in known.links
        }

    # Names and texts

    def relation(self, table: str) -> str:
        """`schema.table` in this database."""
        canonical = self.canonicals[table]
        return canonical.table.routing.table or canonical.table.name

    def time(self, table: str, alias: str) -> str:
        """When a row was changed, in SQL: as it is told of rows that are copied."""
        wanted = self._times.get(table)
        columns = [one for one in self.canonicals[table].table.columns.values() if one.name == wanted]
        if not columns or columns[0].type != "timestamp with time zone":
            return _NO_TIME
        quoted = sql.Identifier(columns[0].name).as_string().replace("%", "%%")
        return f"(extract(epoch FROM {alias}.{quoted}) * 1000000)::bigint"

    def text(self, table: str, key: Key) -> str:
        """The name of a row everywhere, by its key in canonical form."""
        canonical = self.canonicals[table]
        types = {name: canonical.table.columns[canonical.columns[name]].type for name in self._linkable[table].key}
        pairs = ((name, as_recorded(type_, text)) for (name, type_), text in zip(types.items(), key, strict=True))
        return "{" + ",".join(f"{orjson.dumps(name).decode()}:{text}" for name, text in pairs) + "}"

    def _record_key(self, table: str, key: Key) -> str:
        return self.canonicals[table].record_key(self.text(table, key)).decode()

    def _keys(self, table: str, record_keys: Sequence[bytes]) -> list[Key]:
        """In canonical form."""
        canonical = self.canonicals[table]
        changes = Changes(self.connection, {canonical.table.name: canonical})
        rows = changes.canonical(canonical.table.name, [decode_key(one) for one in record_keys])
        return [tuple(str(row[name]) for name in self._linkable[table].key) for row in rows]

    def translated(self) -> AbstractContextManager[None]:
        """What goes wrong within, as `connectors.linking` has it; whatever was open is rolled back by then."""
        name = self._destination.name
        advice = "Put right there what the sentence names, and run the same again."
        return translated(name, "refuses what placemat link does", advice, lambda: None)
