"""Sealed months of the audit log: what is done to their rows and files is found, and sealing holds nobody up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from daemon.audit import chain, sealing, segment_files
from daemon.audit.entry import Entry, Head, Values, chained
from daemon.audit.erasing.erasable import Beside
from daemon.audit.erasing.erase import erase
from daemon.audit.search import Search, find
from daemon.config.settings import Settings
from daemon.errors import OperatorError
from tests.fix_audit_log import ENTITY, JULY, Log, log_of_june, seal, the_finding


def test_a_sealed_month_is_verified_by_its_hashes_and_its_file(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    assert not log.rows("SELECT 1 FROM placemat.audit_entries WHERE sequence < 5")
    for options in ({}, {"files": files}):
        report = log.verify(**options)
        assert (report.clean, report.segments, report.first, report.last) == (True, 1, 5, 10), report.render()


def test_a_sealed_segment_that_was_dropped_is_named(sealed: tuple[Log, Path]) -> None:
    log, _ = sealed
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_segments")
    kind, sequence, sentence = the_finding(log.verify())
    assert (kind, sequence) == ("segment_gone", 1)
    assert "2026-06 (entries 1 to 4)" in sentence


def test_a_segments_file_that_is_gone_or_altered_is_named(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    (file,) = files.iterdir()
    content = file.read_bytes()
    file.write_bytes(content.replace(b'"who":"ada"', b'"who":"bob"', 1))
    kind, sequence, sentence = the_finding(log.verify(files=files))
    assert (kind, sequence) == ("altered", 1)
    assert file.name in sentence
    file.write_bytes(content.splitlines(keepends=True)[0])
    assert the_finding(log.verify(files=files))[0] == "segment_altered"
    file.unlink()
    assert the_finding(log.verify(files=files))[0] == "segment_gone"


def test_values_may_be_taken_out_of_a_segments_file(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    (file,) = files.iterdir()
    lines = file.read_text().splitlines(keepends=True)
    cut = lines[1].index(',"values":')
    file.write_text("".join([lines[0], lines[1][:cut] + "}\n", *lines[2:]]))
    assert log.verify(files=files).clean


def test_a_month_that_was_dropped_without_being_sealed_is_named(sealed: tuple[Log, Path]) -> None:
    log, _ = sealed
    with log.superuser() as connection:
        connection.execute("DROP TABLE placemat.audit_entries_2026_07, placemat.audit_values_2026_07")
    kind, sequence, sentence = the_finding(log.verify())
    assert (kind, sequence) == ("removed", 5)
    assert "entries 5 to 7 are missing" in sentence


def test_a_row_that_was_altered_is_not_told_on_by_the_next_seal(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    with log.superuser() as connection:
        connection.execute("UPDATE placemat.audit_segments SET file_hash = hash")
    with pytest.raises(OperatorError, match="2026-07 is not sealed: the row of the sealed segment 2026-06"):
        seal(log, date(2026, 7, 1), files)


@pytest.mark.parametrize("details", ["{}", "[]", "nothing", '{"month": 6}'])
def test_an_entry_of_a_seal_that_was_altered_is_named(sealed: tuple[Log, Path], details: str) -> None:
    log, files = sealed
    with log.superuser() as connection:
        connection.execute("UPDATE placemat.audit_entries SET details = %s WHERE sequence = 10", [details])
    assert the_finding(log.verify(files=files))[:2] == ("altered", 10)


def alter_file(log: Log, files: Path) -> None:
    """Who rules the database, without the key: another file, its hash in the row, and no signature."""
    (file,) = files.iterdir()
    content = file.read_bytes()
    file.write_bytes(content.replace(b'"who":"ada"', b'"who":"bob"'))
    assert file.read_bytes() != content
    with log.superuser() as connection:
        digest = hashlib.sha256(file.read_bytes()).digest()
        connection.execute(
            "UPDATE placemat.audit_segments SET file_hash = %s, signature = NULL, key_id = NULL", [digest]
        )


def test_a_file_that_was_altered_together_with_its_row_is_named(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    alter_file(log, files)
    found = log.verify(files=files).listed
    assert [(one.kind, one.sequence) for one in found[:3]] == [("segment_altered", 1), ("altered", 1), ("altered", 2)]
    assert [one.kind for one in log.verify().listed] == ["segment_altered"]


def test_a_file_and_its_row_written_anew_with_the_entry_that_tells_of_them_are_found(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    entry = log.entry(10)
    alter_file(log, files)
    (file,) = files.iterdir()
    said = {"file_hash": hashlib.sha256(file.read_bytes()).hexdigest(), "key_id": None}
    forged = entry._replace(details=json.dumps({**json.loads(entry.details), **said}))
    forged = forged._replace(hash=forged.digest())
    with log.superuser() as connection:
        connection.execute(
            "UPDATE placemat.audit_entries SET details = %s, hash = %s WHERE sequence = %s",
            [forged.details, forged.hash, forged.sequence],
        )
        connection.execute("UPDATE placemat.audit_head SET hash = %s", [forged.hash])
        connection.execute("DELETE FROM placemat.audit_checkpoints")
    kinds = {one.kind for one in log.verify().listed}
    assert kinds == {"recomputed", "checkpoint_gone"}


def test_checkpoints_that_were_taken_away_are_named_by_the_seal_where_kafka_is_away(sealed: tuple[Log, Path]) -> None:
    log, _ = sealed
    kafka = log.settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    log.settings = log.settings.model_copy(update={"kafka": kafka})
    assert log.verify().clean
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_checkpoints")
    kind, sequence, sentence = the_finding(log.verify())
    assert (kind, sequence) == ("checkpoint_gone", 10)
    assert "all checkpoints are gone" in sentence


def test_checkpoints_of_entries_that_were_sealed_later_are_no_alarm(audit_settings: Settings, tmp_path: Path) -> None:
    log = log_of_june(audit_settings)
    log.publish()
    log.add(3, JULY)
    log.publish()
    log.add(1)
    log.publish()
    seal(log, date(2026, 6, 1), tmp_path)
    seal(log, date(2026, 7, 1), tmp_path)
    log.publish()
    report = log.verify(files=tmp_path)
    assert (report.clean, report.segments, report.checkpoints) == (True, 2, 5), report.render()
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_checkpoints WHERE sequence = 4")
    assert the_finding(log.verify())[:2] == ("checkpoint_gone", 4)


def test_a_segment_is_told_also_when_the_entry_that_sealed_it_is_in_a_file(
    audit_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of_june(audit_settings)
    log.add(3, JULY)
    with monkeypatch.context() as patch:
        patch.setattr(chain, "chained", lambda draft, head, _now: chained(draft, head, JULY))
        seal(log, date(2026, 6, 1), tmp_path)
    log.add(1)
    seal(log, date(2026, 7, 1), tmp_path)
    assert log.verify(files=tmp_path).clean
    assert log.rows("SELECT count(*) FROM placemat.audit_entries WHERE op = 'seal'") == [(1,)]
    with log.superuser() as connection:
        connection.execute("UPDATE placemat.audit_segments SET file_hash = hash WHERE first_sequence = 1")
    assert the_finding(log.verify())[:2] == ("segment_altered", 1)
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_segments WHERE first_sequence = 1")
    assert the_finding(log.verify())[:2] == ("segment_gone", 1)


def test_a_month_that_does_not_verify_is_not_sealed(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    with log.superuser() as connection:
        connection.execute("UPDATE placemat.audit_entries SET who = 'somebody' WHERE sequence = 6")
    with chain.opened(log.url) as connection, pytest.raises(OperatorError, match="2026-07 is not sealed: entry 6"):
        sealing.seal(connection, date(2026, 7, 1), files, None, "ada", None)
    assert len(list(files.iterdir())) == 1
    assert log.rows("SELECT count(*) FROM placemat.audit_entries WHERE month = '2026-07-01'") == [(3,)]


# Whoever reads, appends, erases or dies meanwhile


def test_a_month_that_somebody_reads_is_not_sealed_and_nobody_waits_for_that(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    with ThreadPoolExecutor(2) as pool, chain.opened(log.url) as reader:
        next(find(reader, Search(), newest_first=False))
        sealing_it = pool.submit(seal, log, date(2026, 7, 1), files)
        pool.submit(log.add, 1).result(20)
        with pytest.raises(OperatorError, match="2026-07 is not sealed: somebody reads the audit log"):
            sealing_it.result(20)
        pool.submit(log.add, 1).result(20)
    assert [one.name for one in files.iterdir()] == ["audit-2026-06.jsonl"]
    assert log.rows("SELECT count(*) FROM placemat.audit_entries WHERE month = '2026-07-01'") == [(3,)]
    seal(log, date(2026, 7, 1), files)
    assert log.verify(files=files).clean


def test_entries_are_appended_while_a_month_is_written(
    sealed: tuple[Log, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, files = sealed
    write = segment_files.write

    def busy(file: Path, pairs: Iterable[tuple[Entry, Values | None]]) -> bytes:
        log.add(1)
        return write(file, pairs)

    monkeypatch.setattr(segment_files, "write", busy)
    seal(log, date(2026, 7, 1), files)
    assert log.verify(files=files).clean


def test_values_that_are_erased_while_a_month_is_written_do_not_stay_in_its_file(
    sealed: tuple[Log, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, files = sealed
    write = segment_files.write

    def late(file: Path, pairs: Iterable[tuple[Entry, Values | None]]) -> bytes:
        digest = write(file, pairs)
        erase(log.settings, Beside(), ENTITY, "0", "she asked", "ada", dry_run=False)
        return digest

    with monkeypatch.context() as patch:
        patch.setattr(segment_files, "write", late)
        with pytest.raises(OperatorError, match="as by an erasure"):
            seal(log, date(2026, 7, 1), files)
    assert len(list(files.iterdir())) == 1
    seal(log, date(2026, 7, 1), files)
    report = log.verify(files=files)
    assert (report.clean, report.segments) == (True, 2), report.render()


def test_a_seal_that_died_before_its_commit_is_made_again(
    sealed: tuple[Log, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, files = sealed

    def die(connection: psycopg.Connection[Any], *_: object) -> Head:
        connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(chain, "append", die)
        with pytest.raises(OperatorError):
            seal(log, date(2026, 7, 1), files)
    assert (files / "audit-2026-07.jsonl.part").is_file()
    seal(log, date(2026, 7, 1), files)
    assert sorted(one.name for one in files.iterdir()) == ["audit-2026-06.jsonl", "audit-2026-07.jsonl"]
    assert log.verify(files=files).clean


def test_a_seal_that_died_after_its_commit_has_lost_nothing(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    (file,) = files.iterdir()
    part = segment_files.unfinished(file)
    file.rename(part)
    assert log.verify(files=files).clean
    with chain.opened(log.url) as connection:
        sealing.finish(connection, files)
    assert [one.name for one in files.iterdir()] == [file.name]
    file.rename(part)
    part.write_bytes(part.read_bytes()[:-1])
    with chain.opened(log.url) as connection:
        sealing.finish(connection, files)
    assert [one.name for one in files.iterdir()] == [part.name]


def test_a_file_that_is_there_already_is_taken_over_only_when_it_is_the_same(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    file = files / "audit-2026-07.jsonl"
    file.write_text("something else")
    with pytest.raises(OperatorError, match="is there already"):
        seal(log, date(2026, 7, 1), files)
    assert file.read_text() == "something else"
    with chain.opened(log.url) as connection:
        sealing._write(connection, date(2026, 7, 1), file)
    seal(log, date(2026, 7, 1), files)
    assert log.verify(files=files).clean


def test_two_do_not_seal_at_once(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    refused = pytest.raises(OperatorError, match="Another process is sealing")
    with chain.opened(log.url) as other, sealing._alone(other), refused:
        seal(log, date(2026, 7, 1), files)
    seal(log, date(2026, 7, 1), files)
