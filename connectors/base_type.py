"""What stands under a domain in PostgreSQL's catalogue, whoever reads it: a source, a target, or one that compares."""

from __future__ import annotations


def base_type(oid: str, typmod: str = "-1") -> str:
    """A subquery of one row (oid, typmod, typcategory, typelem): the type under a domain, over however many domains,
    with the length that the innermost gives it; of any other type, itself.

    `oid` and `typmod` are expressions of SQL, such as `a.atttypid` and `a.atttypmod`.
    """
    return f"""(
    WITH RECURSIVE below (oid, typmod) AS (
        SELECT {oid}, {typmod}
        UNION ALL SELECT typbasetype, typtypmod FROM below JOIN pg_type USING (oid) WHERE typtype = 'd')
    SELECT oid, typmod, typcategory, typelem FROM below JOIN pg_type USING (oid) WHERE typtype <> 'd')"""
