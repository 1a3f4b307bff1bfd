"""What waits for a person between two databases, and what the person says."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg

from tests.fix_linked import Linked
from tests.people import TELLER, put, value


def verb(both: Linked, *words: object, code: int = 0) -> Any:
    ended = both.site.placemat("conflicts", *map(str, words), "--json")
    assert ended.code == code, ended.err + ended.out
    return ended.json if ended.out else {"error": ended.err}


def apart(both: Linked, key: uuid.UUID, ours: dict[str, object], theirs: dict[str, object] | None) -> int:
    """Edit the same row on both sides at once, or delete it in the spoke (None); the conflict's number."""
    with both.held():
        put(both.hub, "storytellers", key, **ours)
        if theirs is None:
            both.spoke.execute("DELETE FROM storytellers WHERE id = %s", [key])
        else:
            put(both.spoke, "storytellers", key, **theirs)
    both.rest()
    return conflict(both, key)


def conflict(both: Linked, key: uuid.UUID) -> int:
    row = both.hub.execute("SELECT id FROM placemat.conflicts WHERE waits AND key = %s", [text(key)]).fetchone()
    assert row is not None, "nothing waits"
    return int(row[0])


def waits(both: Linked, key: uuid.UUID) -> bool:
    query = "SELECT FROM placemat.conflicts WHERE waits AND key = %s"
    return both.hub.execute(query, [text(key)]).fetchone() is not None


def text(key: uuid.UUID) -> str:
    return f'{{"id":"{key}"}}'


def on_both(both: Linked, column: str, key: uuid.UUID) -> tuple[Any, Any]:
    return value(both.hub, "storytellers", column, key), value(both.spoke, "storytellers", column, key)


def assert_settled(both: Linked, key: uuid.UUID, **values: object) -> None:
    both.rest()
    for column, expected in values.items():
        assert on_both(both, column, key) == (expected, expected)
    assert not waits(both, key)
    assert both.equal("storytellers", TELLER)


def entered(both: Linked, number: int) -> list[tuple[Any, ...]]:
    """What the audit log says of what people have done in a conflict."""
    query = """
    SELECT op, content::jsonb FROM placemat.audit_entries JOIN placemat.audit_values USING (sequence)
    WHERE kind = 'action' AND conflict = %s ORDER BY sequence
    """
    with psycopg.connect(both.site.state) as state:
        return state.execute(query, [str(number)]).fetchall()
