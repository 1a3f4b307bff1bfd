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
    """A sealed month: numbers of its first and last entry, the hash before them, and that of the last.

    As the entry that seals it tells it: `sealed_by` is that one's number, `tells_key` whether it says if there was a
    key.
    """

    month: date
    first: int
    last: int
    previous: bytes
    hash: bytes
    file: str
    file_hash: bytes
    key_id: str | None = None
    signature: bytes | None = None
    sealed_by: int | None = None
    tells_key: bool = False

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
    """Every sealed month, as entries tell it: its own before later ones, and its key if any of them names one."""
    said: dict[date, Segment] = {}
    for seal in reversed([*found]):
        for one in (*seal.earlier, seal.segment):
            later = said.get(one.month)
            said[one.month] = one._replace(key_id=one.key_id or (later.key_id if later is not None else None))
    return said


def check(row: Segment, said: Segment | None, keys: Mapping[str, Verifier], report: AuditReport) -> None:
    """A segment's row against what an entry says of it, and its signature."""
    if said is not None and (row.content, row.file) != (said.content, said.file):
        report.find("segment_altered", said.first, f"the row of {said.name} was altered: an entry tells it otherwise")
    elif row.signature is None and was_signed(row, said):
        report.find("signature", row.first, f"the signature of {row.name} was taken off")
    elif keys and row.signature is not None:
        key = keys.get(row.key_id or "")
        if key is None or not key.holds(row.content, row.signature):
            report.find("signature", row.first, f"{row.name} is not signed by a key that is known")


def was_signed(row: Segment, said: Segment | None) -> bool:
    """Whether somebody says that it had a signature: the entry that seals it, a later one, or the rest of its row."""
    return row.key_id is not None or (said is not None and said.key_id is not None)


def check_unsigned(one: Segment, first_signed: int | None, report: AuditReport) -> None:
    """A segment without a signature, of which nobody says that it had one. `first_signed`: from there on the log was.

    Entries of earlier versions do not say whether they sealed with a key: where the log was signed by then, they did.
    """
    sealed_by = one.sealed_by or one.last
    if one.tells_key:
        report.unproven.append(f"{one.name} was sealed without a key: what vouches for it is entry {one.sealed_by}")
    elif first_signed is not None and first_signed <= sealed_by:
        sentence = f"{one.name} has no signature, and the log was signed from entry {first_signed} on: it was taken off"
        report.find("signature", one.first, sentence)
    else:
        report.unproven.append(f"{one.name} was sealed before the log was signed, or nobody says when")


def check_file(segment: Segment, files: Path, report: AuditReport) -> None:
    """Whether its file is there, and is as it was sealed, but for values that were taken out since."""
    file = files / segment.file
    if not file.is_file():
        file = segment_files.unfinished(file)
    if not file.is_file():
        report.find("segment_gone", segment.first, f"the file of {segment.name} is not there: {files / segment.file}")
        return
    found = AuditReport()
    walk = Walk(found, Erasures.of_all(), segment.first, segment.previous)

    def garbage(line: int) -> None:
        number = segment.first + line - 1
        report.find("foreign", number, f"line {line} of {file} is no entry, where entry {number} was")

    try:
        if segment_files.hash_of(file) == segment.file_hash:
            return
        for _ in walk.along(segment_files.read(file, garbage)):
            pass
    except OSError as error:
        report.find(
            "segment_gone", segment.first, f"the file of {segment.name} cannot be read ({error.strerror}): {file}"
        )
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
            segment = _told(details)._replace(sealed_by=sequence, tells_key="key_id" in details)
            yield Seal(sequence, segment, earlier)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # it was altered, and the walk along the chain names it


def _told(details: Mapping[str, Any]) -> Segment:
    previous, hash_, file_hash = (bytes.fromhex(details[name]) for name in ("previous", "hash", "file_hash"))
    month = date.fromisoformat(details["month"])
    first, last, file, key_id = details["first"], details["last"], details["file"], details.get("key_id")
    if type(first) is not int or type(last) is not int or not isinstance(file, str):
        raise ValueError("no segment is told like that")
    return Segment(month, first, last, previous, hash_, file, file_hash, key_id)
