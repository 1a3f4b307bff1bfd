"""Real data: an art collection as CSV (artists, artworks, media) becomes storytellers, stories and story_media.

Every column lands somewhere: in a column of its own where the domain has one, else in `metadata` under its own name.
An empty field becomes NULL, or is absent from `metadata`; nothing is made up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid5

from psycopg import Connection
from psycopg.types.json import Jsonb

from daemon.embedded.sample import copy_rows
from daemon.embedded.sample_rows import Row, Rows
from daemon.embedded.tate_files import CsvRow, check_files, read_rows
from daemon.errors import OperatorError

NAMESPACE = UUID("8f4d1a52-6c0e-5b7f-9a35-2d6be1c07e94")
"""Keys are UUIDv5 in this namespace, so that the same file gives the same keys everywhere."""
WORKSPACE = uuid5(NAMESPACE, "workspace")
WORKSPACE_SLUG = "tate"
ORPHANS_NAMED = 5
LARGEST_TRANSACTION = 1_000


@dataclass(slots=True)
class KindReport:
    """What became of the rows of one file."""

    read: int = 0
    loaded: int = 0
    orphans: int = 0
    first_orphans: list[str] = field(default_factory=list)
    """What the first few rows without a parent are called, and which parent is missing."""

    def add_orphan(self, description: str) -> None:
        self.orphans += 1
        if len(self.first_orphans) < ORPHANS_NAMED:
            self.first_orphans.append(description)


@dataclass(frozen=True, slots=True)
class TateReport:
    artists: KindReport = field(default_factory=KindReport)
    artworks: KindReport = field(default_factory=KindReport)
    media: KindReport = field(default_factory=KindReport)


def load_tate(conn: Connection[Any], folder: Path) -> TateReport:
    """Load the folder's three files into the primary, as its owner, in transactions of mixed size.

    The connection must have no transaction open. Raises OperatorError for a missing file or column, for a row that
    cannot be read, for an id that is there twice, and when the collection is in the database already.
    """
    check_files(folder)
    add_workspace(conn)
    report, artists, artworks = TateReport(), set[str](), set[str]()
    load = Loader(conn, Random(NAMESPACE.int))
    load("storytellers", report.artists, tellers(folder / "artists.csv", report.artists, artists))
    load("stories", report.artworks, stories(folder / "artworks.csv", report.artworks, artists, artworks))
    load("story_media", report.media, media(folder / "media.csv", report.media, artworks))
    return report


def add_workspace(conn: Connection[Any]) -> None:
    with conn.transaction():
        added = conn.execute(
            "INSERT INTO workspaces (id, name, slug) VALUES (%s, 'Tate collection', %s) ON CONFLICT DO NOTHING",
            (WORKSPACE, WORKSPACE_SLUG),
        )
    if added.rowcount == 0:
        raise OperatorError(
            f"The workspace {WORKSPACE_SLUG} is in this database already.", "Load the files into an empty primary."
        )


@dataclass(frozen=True, slots=True)
class Loader:
    conn: Connection[Any]
    rng: Random

    def __call__(self, table: str, report: KindReport, rows: Iterable[Row]) -> None:
        """Copy the rows in transactions of 1 to 1,000 of them, small ones as often as large ones."""
        remaining = iter(rows)
        while batch := list(islice(remaining, round(LARGEST_TRANSACTION ** self.rng.random()))):
            with self.conn.transaction():
                copy_rows(self.conn, Rows(table, batch))
            report.loaded += len(batch)


def tellers(path: Path, report: KindReport, artists: set[str]) -> Iterator[Row]:
    for row in read_rows(path):
        report.read += 1
        legacy_id = unique_id(path, row, artists)
        yield {
            "id": uuid5(NAMESPACE, f"artist:{legacy_id}"),
            "workspace_id": WORKSPACE,
            "name": row.pop("name"),
            "legacy_id": legacy_id,
            "metadata": rest(row),
        }


def stories(path: Path, report: KindReport, artists: set[str], artworks: set[str]) -> Iterator[Row]:
    for row in read_rows(path):
        report.read += 1
        artist = row.pop("artist_id")
        if artist not in artists:
            report.add_orphan(f"artwork {row['id']}: no artist {artist or '(empty)'}")
            continue
        legacy_id = unique_id(path, row, artworks)
        subjects = row.pop("subjects", "")
        yield {
            "id": uuid5(NAMESPACE, f"artwork:{legacy_id}"),
            "workspace_id": WORKSPACE,
            "storyteller_id": uuid5(NAMESPACE, f"artist:{artist}"),
            "title": row.pop("title"),
            "slug": f"artwork-{legacy_id}",
            "themes": subjects.split("|") if subjects else [],
            "legacy_id": legacy_id,
            "metadata": rest(row),
        }


def media(path: Path, report: KindReport, artworks: set[str]) -> Iterator[Row]:
    seen = Counter[UUID]()
    for row in read_rows(path):
        report.read += 1
        artwork, kind, file = row.pop("artwork_id"), row.pop("kind"), row.pop("file")
        if artwork not in artworks:
            report.add_orphan(f"media {file}: no artwork {artwork or '(empty)'}")
            continue
        named = uuid5(NAMESPACE, f"media:{artwork}:{kind}:{file}")
        seen[named] += 1
        yield {
            "id": named if seen[named] == 1 else uuid5(named, str(seen[named])),
            "workspace_id": WORKSPACE,
            "story_id": uuid5(NAMESPACE, f"artwork:{artwork}"),
            "kind": kind,
            "url": file,
            "caption": row.pop("caption", "") or None,
            "width": whole_number(row, "width"),
            "height": whole_number(row, "height"),
            "metadata": rest(row),
        }


def unique_id(path: Path, row: CsvRow, seen: set[str]) -> str:
    legacy_id = row.pop("id")
    if not legacy_id:
        raise OperatorError(f"The file {path} has a row without an id.", "Give every row an id of its own.")
    if legacy_id in seen:
        raise OperatorError(f"The file {path} has the id {legacy_id} twice.", "Give every row an id of its own.")
    seen.add(legacy_id)
    return legacy_id


def whole_number(row: CsvRow, column: str) -> int | None:
    """The column's number, taken from the row; what is not a plain number of pixels stays there, as it is written."""
    text = row.get(column, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10 and text == str(int(text))):
        return None
    del row[column]
    return int(text)


def rest(row: CsvRow) -> Jsonb:
    """What has no column of its own, under the file's names."""
    return Jsonb({column: value for column, value in row.items() if value != ""})
