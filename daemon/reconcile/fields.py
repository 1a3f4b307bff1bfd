"""Which fields of two versions of a row differ, as PostgreSQL compares values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from daemon.reconcile.report import Values
from daemon.reconcile.rows import Fields, Key
from daemon.reconcile.shape import Column
from daemon.reconcile.side import Side

Pair = tuple[str, str]

# Records compare by the equality that belongs to a type's order: `=` alone compares boxes and circles by area.
_SAME = """
SELECT ROW({a})::record = ROW({b})::record
FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS pair (a, b, place) ORDER BY pair.place
"""


def differing_fields(
    source: Side, columns: Sequence[Column], ours: Mapping[Key, Fields], theirs: Mapping[Key, Fields]
) -> dict[Key, dict[str, Values]]:
    """Both texts of every field that differs, by key, for the keys that both sides have; empty where rows are equal.

    `columns` are the source's, in the order of the texts. Texts that differ are equal when PostgreSQL says that
    their values are: 1.0 and 1.00.
    """
    both = [key for key in ours if key in theirs]
    found: dict[Key, dict[str, Values]] = {key: {} for key in both}
    for at, column in enumerate(columns):
        texts = {key: Values(ours[key].texts[at], theirs[key].texts[at]) for key in both}
        unlike = {key: values for key, values in texts.items() if values.source != values.target}
        pairs = {key: (a, b) for key, (a, b) in unlike.items() if a is not None and b is not None}
        same = dict(zip(pairs, equal(source, column, list(pairs.values())), strict=True))
        for key, values in unlike.items():
            if not same.get(key):
                found[key][column.name] = values
    return found


def equal(side: Side, column: Column, pairs: Sequence[Pair]) -> list[bool]:
    """Whether each two texts are the same value of a column; never, for a type without equality, such as json."""
    if not pairs:
        return []
    query = sql.SQL(_SAME).format(a=column.cast(sql.SQL("pair.a")), b=column.cast(sql.SQL("pair.b")))
    try:
        rows = side.rows(query, [list(texts) for texts in zip(*pairs, strict=True)])
    except psycopg.errors.UndefinedFunction:
        return [False] * len(pairs)
    except psycopg.DataError:
        # One text of the target is no value of the source's type: halve until it stands alone.
        if len(pairs) == 1:
            return [False]
        half = len(pairs) // 2
        return equal(side, column, pairs[:half]) + equal(side, column, pairs[half:])
    return [bool(same) for (same,) in rows]
