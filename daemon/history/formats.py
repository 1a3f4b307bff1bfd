"""Rows as lines: JSON, CSV, or columns for a person. Rows are read as often as a format needs, and never kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from daemon.history.events import JSON_NULL
from daemon.history.rebuild import Rebuilt, row_json
from daemon.history.states import Known

Format = Literal["json", "csv", "table"]
WIDEST = 40
"""Characters of a value that are shown to a person."""
UNKNOWN = "placemat_unknown"
"""Column of a CSV, or of a rebuilt table, with the names of those whose value is not told."""
_QUOTED = frozenset('",\r\n')


def lines(rebuilt: Rebuilt, format_: Format) -> Iterator[str]:
    """The rows, one a line; without the ends of lines."""
    match format_:
        case "json":
            return (msgspec.json.encode(row_json(row)).decode() for row in _rows(rebuilt))
        case "csv":
            return _csv(rebuilt)
        case "table":
            return _table(rebuilt)


def _rows(rebuilt: Rebuilt) -> Iterator[Known]:
    return (row for chunk in rebuilt.known() for row in chunk)


def _csv(rebuilt: Rebuilt) -> Iterator[str]:
    """As PostgreSQL's COPY has it: NULL is nothing, an empty text is quoted."""
    named = rebuilt.gaps.partial > 0
    yield ",".join(map(_csv_cell, (*rebuilt.columns, *([UNKNOWN] if named else []))))
    for row in _rows(rebuilt):
        cells = [_csv_value(row.values.get(name)) for name in rebuilt.columns]
        yield ",".join([*cells, *([_csv_cell(" ".join(row.unknown)) if row.unknown else ""] if named else [])])


def _csv_value(raw: msgspec.Raw | None) -> str:
    return "" if raw is None or bytes(raw) == b"null" else _csv_cell(_text(raw))


def _csv_cell(text: str) -> str:
    if text and not _QUOTED.intersection(text) and text != "\\.":
        return text
    return '"' + text.replace('"', '""') + '"'


def _table(rebuilt: Rebuilt) -> Iterator[str]:
    columns = rebuilt.columns
    widths = [len(name) for name in columns]
    for row in _rows(rebuilt):
        widths = [max(width, len(cell)) for width, cell in zip(widths, _cells(row, columns), strict=True)]
    yield _fitted(columns, widths)
    for row in _rows(rebuilt):
        yield _fitted(_cells(row, columns), widths)


def _fitted(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _cells(row: Known, columns: Sequence[str]) -> list[str]:
    return [_shown(row.values.get(name)) for name in columns]


def _shown(raw: msgspec.Raw | None) -> str:
    if raw is None:
        return "?"
    if bytes(raw) == b"null":
        return "NULL"
    text = " ".join(_text(raw).split())
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _text(raw: msgspec.Raw) -> str:
    """A string itself; JSON of everything else."""
    value = bytes(raw)
    if value == bytes(JSON_NULL):
        return "null"
    return str(msgspec.json.decode(value)) if value[:1] == b'"' else value.decode()
