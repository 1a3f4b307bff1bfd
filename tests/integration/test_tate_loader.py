from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from daemon.embedded.load import run_load
from daemon.embedded.tate import load_tate
from daemon.errors import OperatorError
from schemas.domain import install_primary

Database = psycopg.Connection[Any]
File = list[dict[str, str]]

ARTISTS: File = [
    {"id": "10", "name": 'Müller, "Max"', "gender": "", "dates": "date not known", "yearOfBirth": "1901", "url": "u"},
    {"id": "0", "name": "O’Keefe", "gender": "Female", "dates": "", "yearOfBirth": "", "url": "http://a"},
]
ARTWORKS: File = [
    {
        "id": "7", "accession_number": "T07801", "artist_id": "10", "title": "Still, Life\nwith “quotes”",
        "date_text": "date not known", "medium": "", "dimensions": "support: 1 x 2 mm\r\nframe: 3 x 4 mm",
        "credit_line": "Bequeathed 2001\n", "acquisition_year": "2001", "subjects": "bottle|cup / mug", "url": "w",
    },
    {
        "id": "8", "accession_number": "T07802", "artist_id": "404", "title": "Nobody’s", "date_text": "",
        "medium": "oil", "dimensions": "", "credit_line": "", "acquisition_year": "", "subjects": "", "url": "",
    },
    {
        "id": "9", "accession_number": "", "artist_id": "0", "title": "Untitled", "date_text": "c.1900",
        "medium": "Öl", "dimensions": "", "credit_line": "", "acquisition_year": "", "subjects": "", "url": "",
    },
]  # fmt: skip
MEDIA: File = [
    {"artwork_id": "7", "kind": "image", "caption": "© \\N, 2014\t☕", "file": "f1", "width": "512", "height": "0640"},
    {"artwork_id": "7", "kind": "image", "caption": "", "file": "f1", "width": "", "height": ""},
    {"artwork_id": "8", "kind": "image", "caption": "", "file": "f2", "width": "1", "height": "2"},
    {"artwork_id": "9", "kind": "thumbnail", "caption": "", "file": "f3", "width": "", "height": ""},
]


@pytest.fixture
def dsn(database_factory: Callable[[str], str]) -> str:
    return database_factory("tate")


@pytest.fixture
def primary(dsn: str) -> Iterator[Database]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        install_primary(conn)
        yield conn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, ARTISTS, ARTWORKS, MEDIA)
    return tmp_path


def write(folder: Path, artists: File, artworks: File, media: File) -> None:
    for name, rows in (("artists", artists), ("artworks", artworks), ("media", media)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def test_every_column_lands_and_empty_fields_stay_unknown(primary: Database, folder: Path) -> None:
    load_tate(primary, folder)
    tellers = primary.execute("SELECT legacy_id, name, metadata FROM storytellers ORDER BY legacy_id").fetchall()
    assert tellers == [
        ("0", "O’Keefe", {"gender": "Female", "url": "http://a"}),
        ("10", 'Müller, "Max"', {"dates": "date not known", "yearOfBirth": "1901", "url": "u"}),
    ]
    story = primary.execute(
        "SELECT title, themes, content, published_at, metadata FROM stories WHERE legacy_id = '7'"
    ).fetchone()
    assert story == (
        "Still, Life\nwith “quotes”",
        ["bottle", "cup / mug"],
        None,
        None,
        {
            "accession_number": "T07801",
            "date_text": "date not known",
            "dimensions": "support: 1 x 2 mm\r\nframe: 3 x 4 mm",
            "credit_line": "Bequeathed 2001\n",
            "acquisition_year": "2001",
            "url": "w",
        },
    )
    media = primary.execute(
        "SELECT story_media.kind, story_media.url, caption, width, height, story_media.metadata FROM story_media"
        " JOIN stories ON stories.id = story_id ORDER BY stories.legacy_id, width NULLS LAST"
    ).fetchall()
    assert media == [
        ("image", "f1", "© \\N, 2014\t☕", 512, None, {"height": "0640"}),
        ("image", "f1", None, None, None, {}),
        ("thumbnail", "f3", None, None, None, {}),
    ]


def test_rows_without_a_parent_are_reported_and_counted_not_loaded(primary: Database, folder: Path) -> None:
    report = load_tate(primary, folder)
    assert (report.artists.read, report.artists.loaded, report.artists.orphans) == (2, 2, 0)
    assert (report.artworks.read, report.artworks.loaded, report.artworks.orphans) == (3, 2, 1)
    assert report.artworks.first_orphans == ["artwork 8: no artist 404"]
    assert (report.media.read, report.media.loaded, report.media.orphans) == (4, 3, 1)
    assert report.media.first_orphans == ["media f2: no artwork 8"]


def test_the_same_files_give_the_same_keys(
    database_factory: Callable[[str], str], primary: Database, folder: Path
) -> None:
    keys = (
        "SELECT array_agg(id ORDER BY id) FROM (SELECT id FROM storytellers UNION SELECT id FROM story_media) AS all_"
    )
    load_tate(primary, folder)
    with psycopg.connect(database_factory("tate_again"), autocommit=True) as again:
        install_primary(again)
        load_tate(again, folder)
        assert again.execute(keys).fetchone() == primary.execute(keys).fetchone()


def test_thousands_of_rows_are_loaded_in_transactions_of_mixed_size_and_bear_a_load(
    primary: Database, dsn: str, tmp_path: Path
) -> None:
    artworks = [{"id": str(n), "artist_id": str(n % 90), "title": f"Work {n}", "subjects": "a|b"} for n in range(3_000)]
    artists = [{"id": str(n), "name": f"Artist {n}"} for n in range(90)]
    media = [{"artwork_id": str(n % 3_000), "kind": "image", "file": f"{n}.jpg"} for n in range(4_000)]
    write(tmp_path, artists, artworks, media)
    report = load_tate(primary, tmp_path)
    assert (report.artists.loaded, report.artworks.loaded, report.media.loaded) == (90, 3_000, 4_000)
    (transactions, largest) = primary.execute(
        "SELECT count(*), max(n) FROM (SELECT count(*) AS n FROM stories GROUP BY xmin::text) AS by_transaction"
    ).fetchone() or (0, 0)
    assert transactions > 5
    assert 100 < largest <= 1_000
    load = run_load(dsn, seed=3, changes=3_000)
    assert load.deleted > 100


def broken(folder: Path, name: str, text: bytes | None) -> None:
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(text)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("media.csv", None, r"There is no file .*media\.csv"),
        ("artworks.csv", b"id,title\n1,x\n", r"artworks\.csv has no column artist_id"),
        ("artists.csv", b"", r"artists\.csv has no column id"),
        ("artists.csv", b"id,name\n1,x,y\n", r"artists\.csv cannot be read at line 2: 3 fields where 2"),
        ("artists.csv", b"id,name\n1,\xff\xfe\n", r"artists\.csv (cannot be read|is not readable)"),
        ("artists.csv", b"id,name\n1,a\x00b\n", r"artists\.csv cannot be read at line 2: a zero byte"),
        ("artists.csv", b"id,name\n1,a\n1,b\n", r"artists\.csv has the id 1 twice"),
        ("artists.csv", b"id,name\n,a\n", r"artists\.csv has a row without an id"),
    ],
)
def test_files_that_cannot_be_loaded_are_named(
    primary: Database, folder: Path, name: str, text: bytes | None, sentence: str
) -> None:
    broken(folder, name, text)
    with pytest.raises(OperatorError, match=sentence):
        load_tate(primary, folder)


def test_a_folder_that_is_not_there_is_named(primary: Database, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"There is no folder .*nowhere"):
        load_tate(primary, tmp_path / "nowhere")


def test_a_second_load_is_refused(primary: Database, folder: Path) -> None:
    load_tate(primary, folder)
    with pytest.raises(OperatorError, match="in this database already"):
        load_tate(primary, folder)
