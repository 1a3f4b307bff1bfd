"""The publication, at the start of a capture and while it runs: whatever it leaves out is missing without a word.

From PostgreSQL 18 on the server even streams without a publication that is gone: nothing, and no error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from daemon.capture.slot import Server
from daemon.errors import GAP_ADVICE, Gap

LOOKS = 5
OPERATIONS = ("insert", "update", "delete", "truncate")
_ADVICE = f"Run placemat init, which publishes it again or says who can. {GAP_ADVICE}"
_COPIED_ADVICE = (
    "Run placemat init, which publishes it or says who can; then start the capture again: it copies the table whole."
)

_LOOK = """
SELECT p.oid::bigint, to_jsonb(p), (SELECT jsonb_object_agg(wanted, jsonb_build_object(
    'relation', c.oid::bigint,
    'readable', has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'),
    'membership', r.oid::bigint,
    'published', t.tablename IS NOT NULL,
    'filter', to_jsonb(t) ->> 'rowfilter',
    'hidden', (SELECT min(attname) FROM pg_attribute
               WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
               AND NOT to_jsonb(t) -> 'attnames' ? attname::text)))
    FROM unnest(%s::text[]) AS wanted
    LEFT JOIN pg_namespace n ON n.nspname = split_part(wanted, '.', 1)
    LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = substr(wanted, strpos(wanted, '.') + 1)
    LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname AND t.schemaname = n.nspname AND t.tablename = c.relname
    LEFT JOIN pg_publication_rel r ON r.prrelid = c.oid AND r.prpubid = p.oid)
FROM pg_publication p WHERE pubname = %s
"""


@dataclass(frozen=True, slots=True)
class Published:
    """`identities`: what the catalogue numbers anew when it is made anew; a table has (relation, membership).

    `made_anew` are tables that were dropped since the last look, and others of their names are published: all that a
    copy does not bring of those are deletes of rows that nobody was told of.
    """

    publication: int
    identities: Mapping[str, tuple[int, int | None]]
    unreadable: tuple[str, ...]
    made_anew: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"publication": self.publication, "tables": {name: list(pair) for name, pair in self.identities.items()}}


def check(reader: Server, source: str, name: str, tables: Sequence[str], before: Mapping[str, Any] | None) -> Published:
    """The publication as it is. `before` is `as_json` of the last look, of whichever capture.

    Raises Gap when it is gone, leaves out a table, rows, columns or operations, or did since the last look. A table
    that was dropped is no gap: nothing more happens in it. Nor is one that is made anew and published.
    """
    what, wanted = f"Publication {name} of source {source}", [list(tables), name]
    try:
        return _judged(_look(reader, wanted), what, tables, before)
    except Gap:
        # The catalogue's functions are ahead of a query's snapshot: a look while it changes sees both, and cannot say
        # what happened; the next one can.
        _judged(_look(reader, wanted), what, tables, before)
        raise


def _judged(
    row: tuple[Any, ...] | None, what: str, tables: Sequence[str], before: Mapping[str, Any] | None
) -> Published:
    if row is None:
        raise Gap(f"{what} is missing: changes since that happened are lost.", "publication_changed", _ADVICE)
    oid, flags, found = row
    facts: dict[str, dict[str, Any]] = {
        table: one for table, one in (found or {}).items() if one["relation"] is not None
    }
    known = before or {"publication": oid, "tables": {}}
    made_anew = tuple(_made_anew(facts, known["tables"]))
    for table in made_anew:
        if not facts[table]["published"]:
            raise Gap(
                f"{what} leaves out {table}, which was dropped and made anew.", "publication_changed", _COPIED_ADVICE
            )
    for fault in (*_left_out(flags, facts), *_not_the_same(oid, facts, known)):
        raise Gap(f"{what} {fault}: changes since that happened are lost.", "publication_changed", _ADVICE)
    earlier = {table: (pair[0], pair[1]) for table, pair in known["tables"].items() if table in tables}
    now = {table: (one["relation"], one["membership"]) for table, one in facts.items()}
    unreadable = tuple(sorted(table for table, one in facts.items() if not one["readable"]))
    return Published(oid, {**earlier, **now}, unreadable, made_anew)


def _look(reader: Server, values: Sequence[Any]) -> tuple[Any, ...] | None:
    """The server opens by number what it has listed: a table that is dropped at that moment is an error of the look."""
    for _ in range(LOOKS - 1):
        with suppress(psycopg.errors.InternalError_):
            return reader.query(_LOOK, values)
    return reader.query(_LOOK, values)


def _left_out(flags: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for operation in OPERATIONS:
        if not flags[f"pub{operation}"]:
            yield f"leaves out {operation}s"
    for table, one in sorted(facts.items()):
        if not one["published"]:
            yield f"leaves out {table}"
        elif one["filter"] is not None:
            yield f"leaves out rows of {table}"
        elif one["hidden"] is not None:
            yield f"leaves out column {one['hidden']} of {table}"


def _made_anew(facts: Mapping[str, Mapping[str, Any]], known: Mapping[str, Any]) -> Iterator[str]:
    for table, (relation, _) in sorted(known.items()):
        if table in facts and facts[table]["relation"] != relation:
            yield table


def _not_the_same(oid: int, facts: Mapping[str, Mapping[str, Any]], known: Mapping[str, Any]) -> Iterator[str]:
    if known["publication"] != oid:
        yield "was dropped and made anew"
    for table, (relation, membership) in sorted(known["tables"].items()):
        now = facts.get(table)
        if now is not None and now["relation"] == relation and now["membership"] != membership:
            yield f"had left out {table} for a while"
