"""Rows, signatures and files of sealed months: what is altered or taken away is named, also by line."""

from __future__ import annotations

import json
import os
import stat
import uuid
from datetime import date
from pathlib import Path

import pytest

from daemon.audit import chain, sealing
from daemon.audit.heads.beginning import begin_anew
from daemon.config.settings import Settings
from tests.fix_audit_log import Log, log_of_june, seal, the_finding, with_audit

SEALED = [
    "file_hash = hash",
    "hash = file_hash",
    "previous = hash",
    "first_sequence = 2",
    "last_sequence = 3",
    "file = 'another'",
    "file_hash = hash, signature = NULL, key_id = NULL",
]


@pytest.mark.parametrize("alteration", SEALED)
def test_a_segment_whose_row_was_altered_is_named(sealed: tuple[Log, Path], alteration: str) -> None:
    log, files = sealed
    with log.superuser() as connection:
        connection.execute(f"UPDATE placemat.audit_segments SET {alteration}".encode())
    for options in ({}, {"files": files}):
        kind, sequence, sentence = the_finding(log.verify(**options))
        assert (kind, sequence) == ("segment_altered", 1)
        assert "2026-06 (entries 1 to 4)" in sentence


@pytest.mark.parametrize("alteration", ["signature = NULL", "signature = NULL, key_id = NULL", "signature = hash"])
def test_a_signature_that_was_taken_off_a_segment_is_named(sealed: tuple[Log, Path], alteration: str) -> None:
    log, files = sealed
    with log.superuser() as connection:
        connection.execute(f"UPDATE placemat.audit_segments SET {alteration}".encode())
    assert the_finding(log.verify(files=files))[:2] == ("signature", 1)


def forget_keys(log: Log) -> None:
    """The log as an earlier version left it: entries of seals do not say which key has signed, the rest is the same."""
    entry = log.entry(10)
    details = {name: value for name, value in json.loads(entry.details).items() if name not in ("key_id", "earlier")}
    older = entry._replace(details=json.dumps(details))
    older = older._replace(hash=older.digest())
    with log.superuser() as connection:
        connection.execute(
            "UPDATE placemat.audit_entries SET details = %s, hash = %s WHERE sequence = 10", [older.details, older.hash]
        )
        connection.execute("UPDATE placemat.audit_head SET hash = %s", [older.hash])
        connection.execute("DELETE FROM placemat.audit_checkpoints WHERE sequence = 10")
    topic = f"audit-{uuid.uuid4().hex}"
    log.settings = with_audit(log.settings, topic=topic, checkpoint_entries=1)
    begin_anew(log.settings, "of an earlier version", "ada")
    log.publish()


STRIP = "UPDATE placemat.audit_segments SET signature = NULL, key_id = NULL"


def test_a_signature_that_was_taken_off_a_segment_of_an_earlier_version_is_named(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    forget_keys(log)
    assert log.verify(files=files).clean, log.verify().render()
    with log.superuser() as connection:
        connection.execute(STRIP.encode())
    kind, sequence, sentence = the_finding(log.verify())
    assert (kind, sequence) == ("signature", 1)
    assert "2026-06 (entries 1 to 4) has no signature, and the log was signed from entry 9 on" in sentence


def test_a_segment_from_before_the_log_was_signed_is_not_proven(sealed: tuple[Log, Path]) -> None:
    log, _ = sealed
    forget_keys(log)
    with log.superuser() as connection:
        connection.execute(STRIP.encode())
        connection.execute("DELETE FROM placemat.audit_checkpoints WHERE sequence < 11")
    report = log.verify()
    assert report.clean, report.render()
    assert any("2026-06 (entries 1 to 4) was sealed before the log was signed" in one for one in report.unproven)


def test_the_next_seal_tells_which_key_has_signed_segments_of_an_earlier_version(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    forget_keys(log)
    seal(log, date(2026, 7, 1), files)
    assert log.verify(files=files).clean
    with log.superuser() as connection:
        connection.execute(f"{STRIP} WHERE first_sequence = 1".encode())
        connection.execute("DELETE FROM placemat.audit_checkpoints")
    found = [(one.kind, one.sequence) for one in log.verify().listed]
    assert ("signature", 1) in found


def test_a_segment_that_was_sealed_without_a_key_says_so(audit_settings: Settings, tmp_path: Path) -> None:
    log = log_of_june(audit_settings)
    log.add(1)
    log.publish()
    with chain.opened(log.url) as connection:
        sealing.seal(connection, date(2026, 6, 1), tmp_path, None, "ada", None)
    report = log.verify(files=tmp_path)
    assert report.clean, report.render()
    assert any("was sealed without a key: what vouches for it is entry 6" in one for one in report.unproven)


@pytest.mark.parametrize("garbage", [b"", b"{}", b"[]", b"nothing", b"\xff", b'{"sequence": "2"}', b"null"])
def test_a_line_of_a_file_that_is_no_entry_is_named_and_the_others_are_looked_at(
    sealed: tuple[Log, Path], garbage: bytes
) -> None:
    log, files = sealed
    (file,) = files.iterdir()
    lines = file.read_bytes().splitlines()
    lines[1] = garbage
    lines[3] = lines[3].replace(b'"who":"ada"', b'"who":"bob"')
    file.write_bytes(b"\n".join(lines) + b"\n")
    found = [(one.kind, one.sequence) for one in log.verify(files=files).listed]
    assert found[:3] == [("foreign", 2), ("removed", 2), ("altered", 4)]


def test_a_file_has_its_name_for_good_before_the_month_leaves_the_database(
    sealed: tuple[Log, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written must not be lost with the power: neither a file's content, nor its name."""
    log, files = sealed
    synced: list[tuple[str, list[str]]] = []
    fsync = os.fsync

    def note(number: int) -> None:
        fsync(number)
        if stat.S_ISDIR(os.fstat(number).st_mode):
            months = log.rows("SELECT to_regclass('placemat.audit_entries_2026_07') IS NOT NULL")
            synced.append((str(months[0][0]), sorted(one.name for one in files.iterdir())))

    monkeypatch.setattr(os, "fsync", note)
    seal(log, date(2026, 7, 1), files)
    june, july = "audit-2026-06.jsonl", "audit-2026-07.jsonl"
    assert synced == [("True", [june, f"{july}.part"]), ("False", [june, july])]
