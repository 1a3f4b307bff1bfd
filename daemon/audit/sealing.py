"""Old months of the audit log go into files, and out of the database.

The file is written while others append. The log's head is held for the end only, and what it takes to drop the month is
not waited for: whoever reads the log would hold up everybody who appends to it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg

from daemon.audit import chain, segment_files, segments, signing
from daemon.audit.entry import Draft, Entry, Values
from daemon.audit.erasing.erasures import erased
from daemon.audit.findings import AuditReport
from daemon.audit.heads import kept as heads
from daemon.audit.segments import Segment
from daemon.audit.signing import Signer
from daemon.audit.walk import Erasures, Walk
from daemon.errors import OperatorError

PATIENCE_MS = 300
"""Longest time for which the head is held while somebody reads the log."""

_MONTHS = """
SELECT month FROM placemat.audit_entries
WHERE month < least(%s, date_trunc('month', now() AT TIME ZONE 'UTC')::date) GROUP BY month ORDER BY month
"""
_ENTRIES = f"""
{chain.ENTRIES.replace("FROM", ", kept.salt, kept.content FROM")}
LEFT JOIN placemat.audit_values AS kept USING (sequence, month) WHERE entry.month = %s ORDER BY sequence
"""
_LAST = "SELECT max(sequence) FROM placemat.audit_entries WHERE month = %s"
_STORE = """
INSERT INTO placemat.audit_segments
    (month, first_sequence, last_sequence, previous, hash, sealed_at, file, file_hash, key_id, signature)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def months(connection: psycopg.Connection[Any], before: date) -> list[date]:
    """Months that lie wholly before a day, are over, and are not sealed, oldest first."""
    found = connection.execute(_MONTHS.encode(), [before.replace(day=1)]).fetchall()
    return [month for (month,) in found]


def months_before(today: date, count: int) -> date:
    """First day of the month so many months before."""
    months_ = today.year * 12 + today.month - 1 - count
    return date(months_ // 12, months_ % 12 + 1, 1)


def finish(connection: psycopg.Connection[Any], directory: Path) -> None:
    """Give files their names that a death has kept from them; ends the open transaction. Raises OperatorError when that
    cannot be."""
    found = segments.read(connection)
    connection.commit()
    for one in found:
        segment_files.finish(directory / one.file, one.file_hash)


def seal(
    connection: psycopg.Connection[Any], month: date, directory: Path, signer: Signer | None, by: str,
    reason: str | None,
) -> Segment:  # fmt: skip
    """Write a month to a file, enter that, and drop the month from the database; commits.

    Raises OperatorError when the month does not verify, the file cannot be written, or somebody else seals, erases or
    reads the log just now: then the month stays as it is.
    """
    with _alone(connection):
        finish(connection, directory)
        file = directory / segment_files.name_of(month)
        part = segment_files.unfinished(file)
        try:
            found, before, erasures = _write(connection, month, part)
            _check_free(file, found)
            if signer is not None:
                found = found._replace(key_id=signing.key_id(signer.public), signature=signer.sign(found.content))
            _commit(connection, found, before, erasures, signer, by, reason)
        except OperatorError:
            connection.rollback()
            part.unlink(missing_ok=True)
            raise
        finish(connection, directory)
        if file.exists():
            part.unlink(missing_ok=True)  # the same was there already
    return found


def _write(connection: psycopg.Connection[Any], month: date, file: Path) -> tuple[Segment, list[Segment], Erasures]:
    """The file, the months that were sealed before, and what was erased by then. Ends its transaction."""
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    report = AuditReport()
    before = _sealed(connection, report)
    erasures = erased(connection)
    walk = Walk(report, erasures, 0, before[-1].hash if before else None)
    first: list[Entry] = []

    def pairs() -> Iterator[tuple[Entry, Values | None]]:
        values: dict[int, Values | None] = {}
        for entry in walk.along(_entries(connection, month, walk, values)):
            first[:] = first or [entry]
            yield entry, values.pop(entry.sequence, None)

    digest = segment_files.write(file, pairs())
    connection.rollback()
    if report.findings:
        raise OperatorError(
            f"{month:%Y-%m} is not sealed: {report.listed[0].sentence}.", "placemat audit verify says more."
        )
    assert walk.last is not None, "a month of the log has entries"
    name = segment_files.name_of(month)
    previous = bytes(first[0].previous)
    return (
        Segment(month, first[0].sequence, walk.last.sequence, previous, walk.last.hash, name, digest),
        before,
        erasures,
    )


def _entries(
    connection: psycopg.Connection[Any], month: date, walk: Walk, kept: dict[int, Values | None]
) -> Iterator[tuple[Entry, Values | None]]:
    """Those of a month; the first one tells where the walk begins. Their values are `kept` for the file."""
    with connection.cursor("seal") as cursor:
        for *columns, salt, content in cursor.execute(_ENTRIES.encode(), [month]):
            entry, values = Entry(*columns), Values(salt, content) if salt is not None else None
            if not walk.expected:
                walk.expected = entry.sequence
                walk.previous = walk.previous if walk.previous is not None else bytes(entry.previous)
            kept[entry.sequence] = values
            yield entry, values


def _check_free(file: Path, found: Segment) -> None:
    if file.exists() and segment_files.hash_of(file) != found.file_hash:
        raise OperatorError(f"{file} is there already.", "Move it away; a sealed file is never written over.")


def _sealed(connection: psycopg.Connection[Any], report: AuditReport) -> list[Segment]:
    """Every earlier segment, as entries tell it: a row that was altered must not be told as if it were true."""
    rows, said = segments.read(connection), segments.told(segments.seals(connection))
    for row in rows:
        segments.check(row, said.get(row.month), {}, report)
    found = {row.month: row for row in rows}
    for month, one in said.items():
        # Earlier versions did not say which key has signed: from here on the chain does.
        kept = found[month].key_id if month in found and found[month].signature is not None else None
        found[month] = one._replace(key_id=one.key_id or kept)
    return sorted(found.values(), key=lambda one: one.first)


def _commit(
    connection: psycopg.Connection[Any], found: Segment, before: list[Segment], erasures: Erasures,
    signer: Signer | None, by: str, reason: str | None,
) -> None:  # fmt: skip
    head = chain.lock_head(connection)
    connection.execute(f"SET LOCAL lock_timeout = {PATIENCE_MS}".encode())
    try:
        connection.execute("LOCK TABLE placemat.audit_entries, placemat.audit_values IN ACCESS EXCLUSIVE MODE")
    except psycopg.errors.LockNotAvailable:
        raise OperatorError(
            f"{found.month:%Y-%m} is not sealed: somebody reads the audit log just now.",
            "Run this again when that is over; placemat audit export and verify read for long.",
        ) from None
    row = connection.execute(_LAST, [found.month]).fetchone()
    if row != (found.last,) or erased(connection) != erasures:
        raise OperatorError(
            f"{found.month:%Y-%m} is not sealed: the audit log was changed meanwhile, as by an erasure.",
            "Run this again.",
        )
    connection.execute(
        _STORE, [*found[:5], head.entered_at, found.file, found.file_hash, found.key_id, found.signature]
    )
    details = {**found.details, "earlier": [one.details for one in before]}
    head = chain.append(connection, [Draft("action", "seal", "done", by, reason=reason, details=details)], head)
    if signer is not None:
        heads.sign(connection, head, signer)
    for table in ("audit_entries", "audit_values"):
        connection.execute(f"DROP TABLE placemat.{table}_{found.month:%Y_%m}".encode())
    connection.commit()


@contextmanager
def _alone(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Nobody else seals meanwhile. Raises OperatorError when somebody does."""
    (number,) = struct.unpack("<q", sha256(b"placemat audit seal").digest()[:8])
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [number]).fetchone()
    connection.commit()
    if row != (True,):
        raise OperatorError("Another process is sealing the audit log.", "Run this again when it is done.")
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()
            connection.execute("SELECT pg_advisory_unlock(%s)", [number])
            connection.commit()
