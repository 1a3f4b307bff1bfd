"""Months of the audit log that were sealed: their entries stand in a file, their hashes in the log."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psycopg

from daemon.audit import chain, signing
from daemon.audit.entry import COLUMNS, Draft, Entry, Values
from daemon.audit.findings import AuditReport
from daemon.audit.signing import Signer, Verifier
from daemon.audit.walk import Erasures, Walk
from daemon.errors import OperatorError

_READ = """
SELECT month, first_sequence, last_sequence, previous, hash, file, file_hash, key_id, signature
FROM placemat.audit_segments ORDER BY first_sequence
"""
_MONTHS = """
SELECT month FROM placemat.audit_entries
WHERE month < least(%s, date_trunc('month', now() AT TIME ZONE 'UTC')::date) GROUP BY month ORDER BY month
"""
_ENTRIES = f"""
{chain.ENTRIES.replace("FROM", ", kept.salt, kept.content FROM")}
LEFT JOIN placemat.audit_values AS kept USING (sequence, month) WHERE entry.month = %s ORDER BY sequence
"""
_STORE = """
INSERT INTO placemat.audit_segments
    (month, first_sequence, last_sequence, previous, hash, sealed_at, file, file_hash, key_id, signature)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_ERASED = """
SELECT entity, key, max(sequence) FROM placemat.audit_entries WHERE kind = 'action' AND op = 'erase' GROUP BY 1, 2
"""
_BINARY = frozenset({"values_hash", "previous", "hash"})
_TIMES = frozenset({"entered_at", "happened_at"})


class Segment(NamedTuple):
    """A sealed month: numbers of its first and last entry, the hash before them, and that of the last."""

    month: date
    first: int
    last: int
    previous: bytes
    hash: bytes
    file: str
    file_hash: bytes
    key_id: str | None = None
    signature: bytes | None = None

    @property
    def content(self) -> dict[str, Any]:
        """What is signed."""
        return signing.segment(self.month.isoformat(), self.first, self.last, self.previous, self.hash, self.file_hash)


def read(connection: psycopg.Connection[Any]) -> list[Segment]:
    """Every sealed month, in order."""
    return [Segment(*row) for row in connection.execute(_READ.encode()).fetchall()]


def told(details: Mapping[str, Any]) -> Segment:
    """A segment as the entry that seals it names it."""
    previous, hash_, file_hash = (bytes.fromhex(details[name]) for name in ("previous", "hash", "file_hash"))
    month = date.fromisoformat(details["month"])
    return Segment(month, details["first"], details["last"], previous, hash_, details["file"], file_hash)


def months(connection: psycopg.Connection[Any], before: date) -> list[date]:
    """Months that lie wholly before a day, are over, and are not sealed, oldest first."""
    found = connection.execute(_MONTHS.encode(), [before.replace(day=1)]).fetchall()
    return [month for (month,) in found]


def months_before(today: date, count: int) -> date:
    """First day of the month so many months before."""
    months_ = today.year * 12 + today.month - 1 - count
    return date(months_ // 12, months_ % 12 + 1, 1)


def seal(
    connection: psycopg.Connection[Any], month: date, directory: Path, signer: Signer | None, by: str,
    reason: str | None,
) -> Segment:  # fmt: skip
    """Write a month to a file, enter that, and drop the month from the database; commits.

    Raises OperatorError when the month does not verify, or the file cannot be written.
    """
    head = chain.lock_head(connection)
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    sealed = read(connection)
    report = AuditReport()
    rows = [row for row in connection.execute(_ERASED.encode()).fetchall()]
    erasures = Erasures({(entity, key): sequence for entity, key, sequence in rows})
    previous = sealed[-1].hash if sealed else None
    file = directory / f"audit-{month:%Y-%m}.jsonl"
    walk = Walk(report, erasures, 0, previous)
    first, digest = _write(file, connection, month, walk)
    if report.findings:
        file.unlink()
        raise OperatorError(
            f"{month:%Y-%m} is not sealed: {report.listed[0].sentence}.", "placemat audit verify says more."
        )
    assert walk.last is not None, "a month of the log has entries"
    found = Segment(month, first.sequence, walk.last.sequence, bytes(first.previous), walk.last.hash, file.name, digest)
    if signer is not None:
        found = found._replace(key_id=signing.key_id(signer.public), signature=signer.sign(found.content))
    connection.execute(
        _STORE, [*found[:5], head.entered_at, found.file, found.file_hash, found.key_id, found.signature]
    )
    draft = Draft("action", "seal", "done", by, reason=reason, details={**found.content, "file": found.file})
    chain.append(connection, [draft], head)
    for table in ("audit_entries", "audit_values"):
        connection.execute(f"DROP TABLE placemat.{table}_{month:%Y_%m}".encode())
    connection.commit()
    return found


def check(segment: Segment, keys: Mapping[str, Verifier], files: Path | None, report: AuditReport) -> None:
    """Its signature, and its file, where that is at hand."""
    name = f"the sealed segment {segment.month:%Y-%m} (entries {segment.first} to {segment.last})"
    if keys and segment.signature is not None:
        key = keys.get(segment.key_id or "")
        if key is None or not key.holds(segment.content, segment.signature):
            report.find("signature", segment.first, f"{name} is not signed by a key that is known")
    elif keys:
        report.unproven.append(f"{name} was sealed without a key")
    if files is None:
        return
    file = files / segment.file
    if not file.is_file():
        report.find("segment_gone", segment.first, f"the file of {name} is not there: {file}")
        return
    with file.open("rb") as content:
        if hashlib.file_digest(content, "sha256").digest() == segment.file_hash:
            return
    # Values may have been taken out of it since; the rest has to be as it was.
    found = AuditReport()
    walk = Walk(found, Erasures.of_all(), segment.first, segment.previous)
    try:
        for _ in walk.along(_read(file)):
            pass
    except (ValueError, KeyError, TypeError):
        report.find("segment_altered", segment.first, f"the file of {name} cannot be read: {file}")
        return
    for one in found.listed:
        report.find(one.kind, one.sequence, f"in {file.name}: {one.sentence}")
    if walk.expected != segment.last + 1 or walk.previous != segment.hash:
        report.find("segment_altered", segment.first, f"the file of {name} is not what was sealed: {file}")


def _write(file: Path, connection: psycopg.Connection[Any], month: date, walk: Walk) -> tuple[Entry, bytes]:
    """Every entry of a month, checked on the way; the first of them, and the file's hash."""
    digest = hashlib.sha256()
    first: Entry | None = None
    kept: dict[int, Values | None] = {}

    def pairs() -> Iterator[tuple[Entry, Values | None]]:
        nonlocal first
        with connection.cursor("seal") as cursor:
            for *columns, salt, content in cursor.execute(_ENTRIES.encode(), [month]):
                entry, values = Entry(*columns), Values(salt, content) if salt is not None else None
                if first is None:
                    first = entry
                    walk.expected = entry.sequence
                    walk.previous = walk.previous if walk.previous is not None else bytes(entry.previous)
                kept[entry.sequence] = values
                yield entry, values

    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            for entry in walk.along(pairs()):
                line = _line(entry, kept.pop(entry.sequence, None))
                digest.update(line)
                out.write(line)
            out.flush()
            os.fsync(out.fileno())
    except FileExistsError:
        raise OperatorError(f"{file} is there already.", "Move it away; a sealed file is never written over.") from None
    except OSError as error:
        raise OperatorError(f"{file} cannot be written: {error.strerror}.", "Correct audit.segments.") from None
    assert first is not None, "a month of the log has entries"
    return first, digest.digest()


def _line(entry: Entry, values: Values | None) -> bytes:
    said: dict[str, Any] = entry._asdict()
    said |= {name: bytes(said[name]).hex() for name in _BINARY if said[name] is not None}
    if values is not None:
        said["values"] = {"salt": base64.b64encode(values.salt).decode(), "content": values.content}
    return orjson.dumps(said) + b"\n"


def _read(file: Path) -> Iterator[tuple[Entry, Values | None]]:
    with file.open("rb") as lines:
        for line in lines:
            said = orjson.loads(line)
            kept = said.get("values")
            columns = [_value(name, said[name]) for name in COLUMNS]
            yield Entry(*columns), Values(base64.b64decode(kept["salt"]), kept["content"]) if kept else None


def _value(name: str, text: Any) -> Any:
    if text is None:
        return None
    if name in _BINARY:
        return bytes.fromhex(text)
    if name in _TIMES:
        return datetime.fromisoformat(text)
    return date.fromisoformat(text) if name == "month" else text
