"""How verbs speak: data on standard output, sentences about it on standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from daemon.errors import OperatorError

Json = None | bool | int | float | Decimal | str | Sequence["Json"] | Mapping[str, "Json"]


def complain(error: OperatorError) -> None:
    """The two lines that end every failure."""
    print(f"Error: {error}", file=sys.stderr)
    print(f"Try: {error.try_}", file=sys.stderr, flush=True)


def say(line: str) -> None:
    """A word on how it goes, for a person."""
    print(line, file=sys.stderr, flush=True)


def local(time: datetime) -> str:
    """For a person, by the clock of this host."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def json_text(value: Json) -> str:
    """A JSON document on one line; a Decimal is a number with all its digits."""
    from msgspec.json import Encoder

    return Encoder(decimal_format="number").encode(value).decode()


def json_value(text: str) -> Any:
    """A JSON document; numbers have all their digits, as Decimals."""
    from daemon.exact_json import decode

    return decode(text)


def write_json(value: Json) -> None:
    """One JSON document on one line."""
    print(json_text(value), flush=True)


def write_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; those that hold only numbers stand to the right."""
    cells = [header, *rows]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header))]
    right = [bool(rows) and all(_is_number(row[at]) for row in rows) for at in range(len(header))]
    for row in cells:
        padded = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        print("  ".join(padded).rstrip(), flush=True)


def _is_number(cell: str) -> bool:
    return cell in ("", "-") or cell.replace(",", "").replace(".", "").isdigit()
