"""The three CSV files of an art collection: found, checked and read row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from daemon.errors import OperatorError

REQUIRED_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "artists.csv": ("id", "name"),
    "artworks.csv": ("id", "artist_id", "title"),
    "media.csv": ("artwork_id", "kind", "file"),
}
TRY = "Name a folder that holds artists.csv, artworks.csv and media.csv in UTF-8, each with a line of column names."

CsvRow = dict[str, str]


def check_files(folder: Path) -> None:
    """Raise OperatorError unless all three files are there and have the columns that rows hang on."""
    if not folder.is_dir():
        raise OperatorError(f"There is no folder {folder}.", TRY)
    for name, required in REQUIRED_COLUMNS.items():
        with open_file(folder / name) as file:
            try:
                present = next(csv.reader(file), [])
            except (csv.Error, UnicodeDecodeError) as error:
                raise OperatorError(f"The file {folder / name} is not readable as CSV: {error}.", TRY) from error
        missing = [column for column in required if column not in present]
        if missing:
            raise OperatorError(f"The file {folder / name} has no column {missing[0]}.", TRY)


def read_rows(path: Path) -> Iterator[CsvRow]:
    """The rows of one file by column name, as text, in the file's order.

    Raises OperatorError at a row with more or fewer fields than there are columns, and at text that is not UTF-8 or
    that PostgreSQL cannot hold (a zero byte).
    """
    with open_file(path) as file:
        reader = csv.reader(file, strict=True)
        try:
            columns = next(reader)
            for values in reader:
                if not values:
                    continue
                if len(values) != len(columns):
                    raise unreadable(path, reader.line_num, f"{len(values)} fields where {len(columns)} are expected")
                if any("\0" in value for value in values):
                    raise unreadable(path, reader.line_num, "a zero byte")
                yield dict(zip(columns, values, strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise unreadable(path, reader.line_num, str(error)) from error


def unreadable(path: Path, line: int, reason: str) -> OperatorError:
    return OperatorError(f"The file {path} cannot be read at line {line}: {reason}.", TRY)


def open_file(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except FileNotFoundError as error:
        raise OperatorError(f"There is no file {path}.", TRY) from error
    except OSError as error:
        raise OperatorError(f"The file {path} cannot be opened: {error.strerror}.", TRY) from error
