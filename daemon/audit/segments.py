"""Months of the audit log that were sealed: their entries stand in a file, their hashes in the log.

The row of a segment is not what is trusted: the entries that seal months tell each of them, within the chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psycopg

from daemon.audit import segment_files, signing
from daemon.audit.findings import AuditReport
from daemon.audit.signing import Verifier
from daemon.audit.walk import Erasures, Walk

_READ = """
SELECT month, first_sequence, last_sequence, previous, hash, file, file_hash, key_id, signature
FROM placemat.audit_segments ORDER BY first_sequence
"""
_SEALS = """
SELECT sequence, details FROM placemat.audit_entries WHERE kind = 'action' AND op = 'seal' ORDER BY sequence
"""


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

    @property
    def details(self) -> dict[str, Any]:
        """As the entry that seals it names it."""
        return {**self.content, "file": self.file, "key_id": self.key_id}

    @property
    def name(self) -> str:
        return f"the sealed segment {self.month:%Y-%m} (entries {self.first} to {self.last})"


class Seal(NamedTuple):
    """An entry that seals a month. `earlier` are those that were sealed before: those entries may be in files."""

    sequence: int
    segment: Segment
    earlier: tuple[Segment, ...]


def read(connection: psycopg.Connection[Any]) -> list[Segment]:
    """Every sealed month, in order."""
    return [Segment(*row) for row in connection.execute(_READ.encode()).fetchall()]


def seals(connection: psycopg.Connection[Any]) -> list[Seal]:
    """Those that are in the database: the newest always is."""
    return list(_seals(connection.execute(_SEALS).fetchall()))


def told(found: Iterable[Seal]) -> dict[date, Segment]:
    """Every sealed month, as entries tell it."""
    return {one.month: one for seal in reversed([*found]) for one in (*seal.earlier, seal.segment)}


def check(row: Segment, said: Segment | None, keys: Mapping[str, Verifier], report: AuditReport) -> None:
    """A segment's row against what an entry says of it, and its signature."""
    if said is not None and (row.content, row.file) != (said.content, said.file):
        report.find("segment_altered", said.first, f"the row of {said.name} was altered: an entry tells it otherwise")
    elif row.signature is None and said is not None and said.key_id is not None:
        report.find("signature", row.first, f"the signature of {row.name} was taken off")
    elif keys and row.signature is not None:
        key = keys.get(row.key_id or "")
        if key is None or not key.holds(row.content, row.signature):
            report.find("signature", row.first, f"{row.name} is not signed by a key that is known")
    elif keys and said is None:
        report.unproven.append(f"{row.name} was sealed without a key, and no entry that is here tells of it")


def check_file(segment: Segment, files: Path, report: AuditReport) -> None:
    """Whether its file is there, and is as it was sealed, but for values that were taken out since."""
    file = files / segment.file
    if not file.is_file():
        file = segment_files.unfinished(file)
    if not file.is_file():
        report.find("segment_gone", segment.first, f"the file of {segment.name} is not there: {files / segment.file}")
        return
    if segment_files.hash_of(file) == segment.file_hash:
        return
    found = AuditReport()
    walk = Walk(found, Erasures.of_all(), segment.first, segment.previous)
    try:
        for _ in walk.along(segment_files.read(file)):
            pass
    except (ValueError, KeyError, TypeError):
        report.find("segment_altered", segment.first, f"the file of {segment.name} cannot be read: {file}")
        return
    for one in found.listed:
        report.find(one.kind, one.sequence, f"in {file.name}: {one.sentence}")
    if walk.expected != segment.last + 1 or walk.previous != segment.hash:
        report.find("segment_altered", segment.first, f"the file of {segment.name} is not what was sealed: {file}")


def _seals(rows: Iterable[tuple[int, str]]) -> Iterator[Seal]:
    for sequence, text in rows:
        try:
            details = orjson.loads(text)
            earlier = tuple(_told(one) for one in details.get("earlier", ()))
            yield Seal(sequence, _told(details), earlier)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # it was altered, and the walk along the chain names it


def _told(details: Mapping[str, Any]) -> Segment:
    previous, hash_, file_hash = (bytes.fromhex(details[name]) for name in ("previous", "hash", "file_hash"))
    month = date.fromisoformat(details["month"])
    file, key_id = details["file"], details.get("key_id")
    return Segment(month, details["first"], details["last"], previous, hash_, file, file_hash, key_id)
