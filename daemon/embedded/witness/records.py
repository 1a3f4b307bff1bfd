"""The topics against the journal, in the primary's own SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import Connection

from daemon.embedded.witness.report import EXAMPLES, CounterName, Tally

# A record that stands at a position again is a repeat; those of the initial copy may repeat.
SPLIT_REPEATS = """
CREATE TEMPORARY TABLE repeat AS
SELECT "table", partition, "offset", key, late FROM (
    SELECT *, row_number() OVER (PARTITION BY "table", position ORDER BY late, partition, "offset") AS nth
    FROM record WHERE op <> 'r'
) AS numbered WHERE nth > 1
"""
DROP_REPEATS = """
DELETE FROM record USING repeat
WHERE record."table" = repeat."table" AND record.partition = repeat.partition AND record."offset" = repeat."offset"
"""

# What each journal entry must have brought into the topics: a key change is a delete and a create, and a truncate
# stands in every partition. A record says 32 bits of the transaction id.
MATCH = """
CREATE TEMPORARY TABLE matched AS
WITH expected AS (
    SELECT "table", key, CASE WHEN old_key IS NOT NULL OR op = 'I' THEN 'c' WHEN op = 'U' THEN 'u' ELSE 'd' END AS op,
        xid & 4294967295 AS xid, count(*) AS n
    FROM witness.journal WHERE op IN ('I', 'U', 'D') GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT "table", old_key, 'd', xid & 4294967295, count(*)
    FROM witness.journal WHERE old_key IS NOT NULL GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT "table", '', 't', xid & 4294967295, count(*) * greatest(partitions.n, 1)
    FROM witness.journal
    JOIN unnest(%(tables)s::text[], %(partitions)s::bigint[]) AS partitions (name, n) ON name = "table"
    WHERE op = 'T' GROUP BY 1, 2, 3, 4, partitions.n
), wanted AS (
    SELECT "table", key, op, xid, sum(n) AS n FROM expected GROUP BY 1, 2, 3, 4
), found AS (
    SELECT "table", key, op, xid, count(*) AS n FROM record WHERE op IN ('c', 'u', 'd', 't') GROUP BY 1, 2, 3, 4
)
SELECT "table", key, op, coalesce(wanted.n, 0) AS wanted, coalesce(found.n, 0) AS found, xid
FROM wanted FULL JOIN found USING ("table", key, op, xid)
WHERE wanted.n IS DISTINCT FROM found.n
"""

# A record too many counts only where the witness saw the transaction: others were before its time.
DROP_UNWITNESSED = """
DELETE FROM matched WHERE wanted = 0
AND NOT EXISTS (SELECT FROM witness.journal WHERE op <> 'B' AND journal.xid & 4294967295 = matched.xid)
"""

KEY_SUMMARY = """
CREATE TEMPORARY TABLE key_summary AS
SELECT "table", key, sum(lost)::bigint AS lost, sum(reads)::bigint AS reads FROM (
    SELECT "table", key, greatest(wanted - found, 0) AS lost, 0 AS reads FROM matched
    UNION ALL
    SELECT "table", key, 0, count(*) FROM record WHERE op = 'r' GROUP BY 1, 2
) AS parts GROUP BY 1, 2
"""


RETURNED = """
SELECT "table", key, count(*) FROM witness.journal WHERE op <> 'B' AND role = %s GROUP BY 1, 2 ORDER BY 1, 2
"""


def compare_records(conn: Connection[Any], partitions: Mapping[str, int], tally: Tally) -> None:
    """Count lost and repeated records; leaves the temporary table `key_summary` (table, key, lost, reads)."""
    conn.execute("SET LOCAL work_mem = '64MB'")
    counts = conn.execute(
        "SELECT count(*) FILTER (WHERE op IN ('c', 'u', 'd', 't')), count(*) FILTER (WHERE op = 'r') FROM record"
    )
    tally.counts["topic_records"], tally.counts["snapshot_records"] = counts.fetchone() or (0, 0)
    (entries,) = conn.execute("SELECT count(*) FROM witness.journal WHERE op <> 'B'").fetchone() or (0,)
    tally.counts["journal_entries"] = entries

    conn.execute(SPLIT_REPEATS)
    conn.execute(DROP_REPEATS)
    add(conn, tally, "late_of_replaced_capture", "its record came again from a replaced capture", "repeat", "late::int")
    add(conn, tally, "duplicated", "its record stands at the same position again", "repeat", "(NOT late)::int")

    conn.execute(MATCH, {"tables": list(partitions), "partitions": list(partitions.values())})
    conn.execute(DROP_UNWITNESSED)
    add(conn, tally, "lost", "a change has no record in its topic", "matched", "greatest(wanted - found, 0)")
    add(conn, tally, "duplicated", "a change has more than one record", "matched", "greatest(found - wanted, 0)")
    conn.execute(KEY_SUMMARY)


def count_returned(conn: Connection[Any], own_role: str, tally: Tally) -> None:
    """Count changes of the primary that the daemon has made."""
    for table, key, count in conn.execute(RETURNED, [own_role]):
        tally.add("returned", table, key, "the daemon has changed it in the primary", int(count))


def add(conn: Connection[Any], tally: Tally, counter: CounterName, reason: str, source: str, amount: str) -> None:
    """Add a column's sum to a counter, and its first rows to the findings."""
    (total,) = conn.execute(f"SELECT coalesce(sum({amount}), 0)::bigint FROM {source}").fetchone() or (0,)
    rows = conn.execute(
        f'SELECT "table", key, {amount} FROM {source} WHERE {amount} > 0 ORDER BY 1, 2 LIMIT {EXAMPLES}'
    )
    for table, key, count in rows:
        tally.add(counter, table, key, reason, int(count))
        total -= count
    tally.counts[counter] += int(total)
