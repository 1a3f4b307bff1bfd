"""Erasing at the hub what is kept of one row beside it: values go, and that something was met and decided stays.

What a row that is there needs stays as long as the row: it says no more than the row does. So does what waits for a
person, who could not decide without it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import msgspec
import orjson
import psycopg
from psycopg import sql

from connectors.contract import Destination, TryAgain
from connectors.erasing import Held
from connectors.errors import OperatorError
from connectors.postgres.session import open_session, translated
from connectors.postgres.statements import read_catalogue
from connectors.postgres.steps import ArrayLiteral, ArrayLiteralDumper
from connectors.postgres.two_way.canonical import canonicals, key_text
from connectors.postgres.two_way.changes import Changes, Key
from connectors.postgres.two_way.hub import HubStore
from schemas.resolution import CandidateEntry, ConflictEntry, LinkEntry, RowEntry

LOOK_SECONDS = 0.05

_row = msgspec.json.Decoder(RowEntry).decode
_link = msgspec.json.Decoder(LinkEntry).decode
_conflict = msgspec.json.Decoder(ConflictEntry).decode

_OF_KEY = "table_name = %s AND key = %s"
_MET = f"{_OF_KEY} AND erased_at IS NULL AND num_nonnulls(base, ours, theirs) > 0"
_COUNT_MET = f"SELECT count(*) FROM placemat.conflict_log WHERE {_MET}"
_ERASE_MET = f"UPDATE placemat.conflict_log SET base = NULL, ours = NULL, theirs = NULL, erased_at = now() WHERE {_MET}"
_DECIDED = f"SELECT id, fields, before, over FROM placemat.decisions WHERE {_OF_KEY} AND erased_at IS NULL ORDER BY id"
_ERASE_DECIDED = "UPDATE placemat.decisions SET fields = %s, before = %s, over = %s, erased_at = now() WHERE id = %s"
_LIKE = "SELECT key FROM placemat.hub_rows WHERE table_name = %s LIMIT 1"
_WAITING = f"SELECT id FROM placemat.conflicts WHERE {_OF_KEY} AND waits"


def tombstone(state: str, *, gone: bool = False) -> str | None:
    """A row of `placemat.hub_rows` of which only its deletion is left. None: it is there, or holds nothing any more.

    `gone`: it is not there, and nobody has told that.
    """
    entry = _row(state)
    if (entry.alive and not gone) or not (entry.fields or entry.values):
        return None
    return _text(RowEntry(False, entry.rver, entry.lo, entry.hi, erased=True))


def without_values(waited: str) -> str:
    """What waited for a person: who, which fields, when."""
    entry = _conflict(waited)
    fields = {
        spoke: {name: CandidateEntry(None, one.lo, one.hi) for name, one in own.items()}
        for spoke, own in entry.fields.items()
    }
    return _text(ConflictEntry(entry.revision, fields, entry.deletions))


class HubErasure:
    """See `connectors.erasing.Erasing`. `destination` is that by which the hub's own stream is followed, `spokes` are
    those that it has by now."""

    def __init__(self, destination: Destination, hub: str, spokes: Collection[str], *, former: bool = False) -> None:
        """Connects. Raises psycopg.Error, and OperatorError where a table is missing."""
        self.hub = hub
        self.former = former
        self._spokes = frozenset(spokes)
        self._name = destination.name
        self._connection = open_session(destination.url, "placemat erase")
        self._connection.adapters.register_dumper(ArrayLiteral, ArrayLiteralDumper)
        catalogue = read_catalogue(self._connection, destination.name, destination.routes)
        self._tables = canonicals(self._connection, catalogue.tables, catalogue.tables, at_hub=True)
        self._changes = Changes(self._connection, self._tables)
        self._store = HubStore(self._connection, hub)
        self._connection.commit()
        self._key: Key = ("", "")
        self._gone = False
        """Of a table that nobody follows: what is kept says that the row is there, and it is not."""

    def close(self) -> None:
        self._connection.close()

    def key_like(self, table: str) -> str | None:
        with self._translated():
            row = self._connection.execute(_LIKE, [table]).fetchone()
            self._connection.commit()
            return row[0] if row else None

    def spokes_with(self, table: str, key: str) -> list[str]:
        with self._translated():
            query = f"SELECT spoke FROM placemat.links WHERE {_OF_KEY} ORDER BY spoke"
            rows = self._connection.execute(query.encode(), [table, self._text(table, key)]).fetchall()
            self._connection.commit()
            return [spoke for (spoke,) in rows]

    def look(self, table: str, key: str, seconds: float) -> Held:
        deadline = time.monotonic() + seconds
        with self._translated():
            self._key = table, self._text(table, key)
            while True:
                there = self._is_there()
                self._store.hold()
                state = self._store.read([self._key]).states.get(self._key)
                known = state is not None and _row(state).alive
                if there is None:
                    self._gone = known and not self._stands()
                if there is None or there == known:
                    return self._held(state, there=known and not self._gone)
                self._connection.rollback()
                if time.monotonic() > deadline:
                    raise TryAgain(f"the hub's own changes of {table} {key} are not all known yet")
                time.sleep(LOOK_SECONDS)

    def erase(self) -> None:
        with self._translated():
            self._connection.execute(_ERASE_MET.encode(), self._key)
            for number, fields, before, over in self._connection.execute(_DECIDED.encode(), self._key).fetchall():
                values = [_nulls(fields), _nulls(before), without_values(over), number]
                self._connection.execute(_ERASE_DECIDED, values)
            state = self._store.read([self._key]).states.get(self._key)
            if state is not None and (left := tombstone(state, gone=self._gone)) is not None:
                self._store.store_states({self._key: left})
            former = {spoke: link for spoke, link in self._links().items() if spoke not in self._spokes}
            emptied = {spoke: _text(msgspec.structs.replace(link, kept={})) for spoke, link in former.items()}
            self._store.store_links({self._key: emptied})

    def commit(self) -> None:
        with self._translated():
            self._connection.commit()

    def _held(self, state: str | None, *, there: bool) -> Held:
        links = self._links()
        waiting = self._connection.execute(_WAITING.encode(), self._key).fetchone()
        return Held(
            conflicts=self._count(_COUNT_MET),
            decisions=len(self._connection.execute(_DECIDED.encode(), self._key).fetchall()),
            deleted_rows=int(state is not None and tombstone(state, gone=self._gone) is not None),
            links=len(links.keys() - self._spokes),
            kept=sorted(links.keys() & self._spokes),
            there=there,
            waiting=waiting[0] if waiting is not None else None,
        )

    def _links(self) -> dict[str, LinkEntry]:
        """By spoke, those with values."""
        links = self._store.read([self._key]).links.get(self._key, {})
        return {spoke: link for spoke, text in links.items() if (link := _link(text)).kept}

    def _is_there(self) -> bool | None:
        """Whether the hub has the row; None: nobody follows its table, and what is kept of it does not move."""
        if self._key[0] not in self._tables:
            return None
        try:
            return bool(self._changes.present([self._key], locked=False))
        except psycopg.DataError:
            table, key = self._key
            sentence = f"{key} is no key of {table}: it has values of another type."
            raise OperatorError(sentence, "placemat audit show names entities and keys.", exit_code=2) from None

    def _stands(self) -> bool:
        """Whether the row is in a table that nobody follows; also where that cannot be told."""
        table, key = self._key
        columns: dict[str, object] = orjson.loads(key)
        wanted = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns)
        query = sql.SQL("SELECT FROM {} WHERE {}").format(sql.Identifier(*table.split(".", 1)), wanted)
        try:
            with self._connection.transaction():
                values = [str(value) for value in columns.values()]
                return self._connection.execute(query, values).fetchone() is not None
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return False
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedColumn, psycopg.DataError):
            return True

    def _text(self, table: str, key: str) -> str:
        """A record key as it names the row everywhere."""
        return key_text(key.encode(), self._tables[table].fields if table in self._tables else {})

    def _count(self, query: str) -> int:
        row = self._connection.execute(query.encode(), self._key).fetchone()
        assert row is not None, "a count returns a row"
        return int(row[0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What goes wrong within, as an error of the contract; nothing is half done."""
        with translated(self._name, "refuses what placemat keeps there", "Run: placemat init", self._abandon):
            try:
                yield
            except psycopg.errors.UndefinedColumn:
                raise OperatorError(f"Hub {self.hub} is not prepared for it.", "Run: placemat init") from None

    def _abandon(self) -> None:
        if not self._connection.closed:
            self._connection.rollback()


def _nulls(values: str) -> str:
    """Values by field, without the values."""
    return orjson.dumps(dict.fromkeys(orjson.loads(values))).decode()


def _text(entry: msgspec.Struct) -> str:
    return msgspec.json.encode(entry).decode()
