"""The file of a sealed month: one entry a line, as JSON, with its values beside it."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson

from daemon.audit.entry import COLUMNS, Entry, Values
from daemon.errors import OperatorError

_BINARY = frozenset({"values_hash", "previous", "hash"})
_TIMES = frozenset({"entered_at", "happened_at"})
_NUMBERS = frozenset({"sequence", "partition", "offset"})
_OPTIONAL = frozenset({
    "happened_at", "source", "target", "entity", "key", "position", "topic", "partition", "offset", "rule", "conflict",
    "reason", "values_hash",
})  # fmt: skip


def name_of(month: date) -> str:
    return f"audit-{month:%Y-%m}.jsonl"


def unfinished(file: Path) -> Path:
    """Where a file is written: it gets its name once the month is out of the database."""
    return file.with_name(f"{file.name}.part")


def write(file: Path, pairs: Iterable[tuple[Entry, Values | None]]) -> bytes:
    """Write entries, over what a death has left there; the file's hash. Raises OperatorError when that cannot be."""
    digest = hashlib.sha256()
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            for entry, values in pairs:
                line = _line(entry, values)
                digest.update(line)
                out.write(line)
            out.flush()
            os.fsync(out.fileno())
        _keep_names(file.parent)
    except OSError as error:
        raise OperatorError(f"{file} cannot be written: {error.strerror}.", "Correct audit.segments.") from None
    return digest.digest()


def finish(file: Path, digest: bytes) -> None:
    """Give a file that was written its name, if it has not got it yet. Raises OperatorError when that cannot be."""
    part = unfinished(file)
    try:
        if not file.exists() and part.exists() and hash_of(part) == digest:
            part.rename(file)
            _keep_names(file.parent)
    except OSError as error:
        raise OperatorError(
            f"{part} cannot be given its name: {error.strerror}.", f"Rename it to {file.name}: it is whole."
        ) from None


def hash_of(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def read(file: Path, on_garbage: Callable[[int], None]) -> Iterator[tuple[Entry, Values | None]]:
    """Its entries; the numbers of lines that are none go to `on_garbage`. Raises OSError."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                found = parse(line)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                on_garbage(number)
            else:
                yield found


def parse(line: bytes) -> tuple[Entry, Values | None]:
    """Pure. Raises ValueError, KeyError, TypeError, AttributeError or OverflowError where it is no entry."""
    said = orjson.loads(line)
    kept = said.get("values")
    entry = Entry(*(_value(name, said[name]) for name in COLUMNS))
    return entry, Values(base64.b64decode(kept["salt"]), _text(kept["content"])) if kept else None


def _keep_names(directory: Path) -> None:
    """After a loss of power, names of files are there only if their directory was written too."""
    found = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(found)
    finally:
        os.close(found)


def _line(entry: Entry, values: Values | None) -> bytes:
    said: dict[str, Any] = entry._asdict()
    said |= {name: bytes(said[name]).hex() for name in _BINARY if said[name] is not None}
    if values is not None:
        said["values"] = {"salt": base64.b64encode(values.salt).decode(), "content": values.content}
    return orjson.dumps(said) + b"\n"


def _value(name: str, found: Any) -> Any:
    if found is None and name in _OPTIONAL:
        return None
    if name in _NUMBERS:
        return _number(found)
    text = _text(found)
    if name in _BINARY:
        return bytes.fromhex(text)
    if name in _TIMES:
        return datetime.fromisoformat(text).astimezone(UTC)
    return date.fromisoformat(text) if name == "month" else text


def _number(found: Any) -> int:
    if type(found) is not int or abs(found) >= 2**62:
        raise ValueError("no number of ours")
    return found


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise TypeError("no text")
    return found
