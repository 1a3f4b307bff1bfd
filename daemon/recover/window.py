"""From when, and until when: the forms in which a person says it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from daemon.errors import OperatorError
from schemas.position import parse_lsn

FORMS = "beginning, a time with its zone (2026-03-01T09:00+10:00), an LSN (0/1A2B3C), or offset:PARTITION:OFFSET"


@dataclass(frozen=True, slots=True)
class Beginning:
    """All that the topics hold."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Commits from (or up to) a time, in microseconds since 1970."""

    ts_us: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Commits from (or up to) this one."""

    lsn: int


@dataclass(frozen=True, slots=True)
class Record:
    """The commit of one record of the only table, and of its partition alone what follows."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class OneKey:
    """The whole history of one key of the only table."""

    text: str


Start = Beginning | Moment | Commit | Record | OneKey
End = Moment | Commit | Record


def parse_start(text: str) -> Start:
    """Raises OperatorError (exit code 2)."""
    return Beginning() if text == "beginning" else _parse("--from", text)


def parse_end(text: str) -> End:
    """Raises OperatorError (exit code 2)."""
    return _parse("--until", text)


def parse_moment(option: str, text: str) -> Moment | Commit:
    """A time or a commit; a record is none. Raises OperatorError (exit code 2)."""
    found = _parse(option, text)
    if isinstance(found, Record):
        raise OperatorError(
            f"{option} {text} is no moment.",
            "Write a time with its zone (2026-03-01T09:00+10:00) or an LSN (0/1A2B3C).",
            exit_code=2,
        )
    return found


def _parse(option: str, text: str) -> End:
    if match := re.fullmatch(r"offset:(\d+):(\d+)", text):
        return Record(int(match[1]), int(match[2]))
    if re.fullmatch(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}", text):
        return Commit(parse_lsn(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise OperatorError(f"{option} {text} is not understood.", f"Write {FORMS}.", exit_code=2) from None
    if moment.tzinfo is None:
        raise OperatorError(
            f"{option} {text} does not say in which time zone.", "Add it: Z, or +10:00 for Brisbane.", exit_code=2
        )
    return Moment(int(moment.timestamp() * 1_000_000))
