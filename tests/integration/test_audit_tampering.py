"""What a superuser of the state database does to the audit log is found, and its place named."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from daemon.audit import chain, signing
from daemon.audit.entry import COLUMNS, Draft, Entry, Head, chained, values_hash
from daemon.audit.erasing.erasable import Beside
from daemon.audit.erasing.erase import erase
from daemon.audit.heads.kept import Heads
from daemon.audit.verify import verify
from daemon.errors import OperatorError
from tests.fix_audit_log import ENTITY, Log, the_finding, with_audit


def test_a_log_that_nobody_has_touched_is_clean_and_says_what_is_not_proven(log: Log) -> None:
    report = log.verify()
    assert (report.clean, report.entries, report.checkpoints, report.heads, report.proven) == (True, 10, 1, 1, 8)
    assert report.unproven == ["entries 9 to 10 came after what was signed or published"]


@pytest.mark.parametrize("statement", ["UPDATE placemat.{} SET month = month", "TRUNCATE placemat.{}"])
@pytest.mark.parametrize("table", ["audit_entries", "audit_values", "part"])
def test_the_database_refuses_changes_also_to_superusers(log: Log, statement: str, table: str) -> None:
    part = f"audit_entries_{log.entry(1).month:%Y_%m}"
    with psycopg.connect(log.url) as connection:
        connection.execute("SET session_replication_role = replica")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="the audit log is never changed"):
            connection.execute(statement.format(part if table == "part" else table).encode())


def test_the_database_refuses_to_delete_an_entry(log: Log) -> None:
    with psycopg.connect(log.url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM placemat.audit_entries WHERE sequence = 3")


def test_guards_that_are_off_are_told(log: Log) -> None:
    with psycopg.connect(log.url) as connection:
        connection.execute("ALTER TABLE placemat.audit_values DISABLE TRIGGER audit_guard")
    kinds = {one.kind for one in log.verify().listed}
    assert kinds == {"guard"}


def test_an_entry_that_was_altered_is_named(log: Log) -> None:
    with log.superuser() as connection:
        connection.execute("UPDATE placemat.audit_entries SET who = 'somebody' WHERE sequence = 4")
    kind, sequence, sentence = the_finding(log.verify())
    assert (kind, sequence) == ("altered", 4)
    assert "u public.stories" in sentence
    assert log.entry(4).entered_at.isoformat(timespec="microseconds") in sentence


def test_an_entry_that_was_written_anew_with_its_hash_is_named(log: Log) -> None:
    entry = log.entry(4)._replace(who="somebody")
    with log.superuser() as connection:
        connection.execute(
            "UPDATE placemat.audit_entries SET who = 'somebody', hash = %s WHERE sequence = 4", [entry.digest()]
        )
    kind, sequence, _ = the_finding(log.verify())
    assert (kind, sequence) == ("altered", 4)


def test_a_value_that_was_altered_is_named(log: Log) -> None:
    with log.superuser() as connection:
        connection.execute("UPDATE placemat.audit_values SET content = '{}' WHERE sequence = 4")
    assert the_finding(log.verify())[:2] == ("values_altered", 4)


def test_values_that_are_gone_without_a_word_are_named(log: Log) -> None:
    with psycopg.connect(log.url) as connection:
        connection.execute("DELETE FROM placemat.audit_values WHERE sequence = 4")
    assert the_finding(log.verify())[:2] == ("values_gone", 4)


def test_entries_removed_in_the_middle_are_named(log: Log) -> None:
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_values WHERE sequence IN (4, 5)")
        connection.execute("DELETE FROM placemat.audit_entries WHERE sequence IN (4, 5)")
    kind, sequence, sentence = the_finding(log.verify())
    assert (kind, sequence) == ("removed", 4)
    assert "entries 4 to 5 are missing" in sentence


def test_an_entry_removed_in_the_middle_is_named_also_when_the_others_close_up(log: Log) -> None:
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_entries WHERE sequence = 4")
        connection.execute("DELETE FROM placemat.audit_values WHERE sequence = 4")
        for sequence in range(5, 11):
            for table in ("audit_entries", "audit_values"):
                statement = f"UPDATE placemat.{table} SET sequence = sequence - 1 WHERE sequence = {sequence}"
                connection.execute(statement.encode())
        connection.execute("UPDATE placemat.audit_head SET sequence = 9")
    report = log.verify()
    assert (report.listed[0].kind, report.listed[0].sequence) == ("removed", 4)


@pytest.mark.parametrize("head_too", [False, True])
def test_entries_removed_at_the_end_are_named(log: Log, head_too: bool) -> None:
    last = log.entry(5)
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_values WHERE sequence > 5")
        connection.execute("DELETE FROM placemat.audit_entries WHERE sequence > 5")
        if head_too:
            connection.execute("UPDATE placemat.audit_head SET sequence = 5, hash = %s", [last.hash])
    report = log.verify()
    assert (report.listed[0].kind, report.listed[0].sequence) == ("removed_at_end", 6)
    assert "entries 6 to" in report.listed[0].sentence


def test_an_end_that_was_removed_is_known_to_kafka_when_the_checkpoints_are_gone_too(log: Log) -> None:
    last = log.entry(5)
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_checkpoints")
        connection.execute("DELETE FROM placemat.audit_values WHERE sequence > 5")
        connection.execute("DELETE FROM placemat.audit_entries WHERE sequence > 5")
        connection.execute("UPDATE placemat.audit_head SET sequence = 5, hash = %s", [last.hash])
    kind, sequence, sentence = the_finding(log.verify())
    assert (kind, sequence) == ("removed_at_end", 6)
    assert "the head in Kafka" in sentence


def insert(connection: psycopg.Connection[Any], entry: Entry) -> None:
    names, marks = ", ".join(f'"{name}"' for name in COLUMNS), ", ".join(["%s"] * len(COLUMNS))
    connection.execute(f"INSERT INTO placemat.audit_entries ({names}) VALUES ({marks})".encode(), entry)


def forged(log: Log, sequence: int) -> Entry:
    """An entry that follows the one before that number, hash and all."""
    before = log.entry(sequence - 1)
    entry = before._replace(sequence=sequence, who="forged", previous=before.hash, values_hash=None, offset=None)
    return entry._replace(hash=entry.digest())


def test_an_entry_that_was_inserted_is_named(log: Log) -> None:
    entry = forged(log, 4)
    with log.superuser() as connection:
        for sequence in range(10, 3, -1):
            for table in ("audit_entries", "audit_values"):
                statement = f"UPDATE placemat.{table} SET sequence = sequence + 1 WHERE sequence = {sequence}"
                connection.execute(statement.encode())
        insert(connection, entry)
        connection.execute("UPDATE placemat.audit_head SET sequence = 11")
    found = log.verify().listed[0]
    assert (found.kind, found.sequence) == ("inserted", 4)


def test_an_entry_that_was_inserted_at_a_number_that_is_taken_is_named(log: Log) -> None:
    entry = forged(log, 4)
    with log.superuser() as connection:
        for constraint in ("audit_entries_pkey", "audit_entries_topic_partition_offset_target_position_month_key"):
            connection.execute(f"ALTER TABLE placemat.audit_entries DROP CONSTRAINT {constraint}".encode())
        insert(connection, entry)
    report = log.verify()
    assert {(one.kind, one.sequence) for one in report.listed} >= {("inserted", 4)}


@pytest.mark.parametrize("other", [5, 8])
def test_entries_that_were_re_ordered_are_named(log: Log, other: int) -> None:
    with log.superuser() as connection:
        for table in ("audit_entries", "audit_values"):
            for old, new in ((4, -1), (other, 4), (-1, other)):
                statement = f"UPDATE placemat.{table} SET sequence = {new} WHERE sequence = {old}"
                connection.execute(statement.encode())
    found = {(one.kind, one.sequence) for one in log.verify().listed}
    assert found >= {("moved", 4), ("moved", other)}


def test_a_chain_that_was_recomputed_without_the_key_is_found_by_its_checkpoints(log: Log) -> None:
    with log.superuser() as connection:
        log.recompute(connection, keep=2)
    kind, sequence, sentence = the_finding(log.verify())
    assert (kind, sequence) == ("recomputed", 8)
    assert "the checkpoint of" in sentence


def test_a_chain_that_was_recomputed_is_found_by_kafka_when_the_checkpoints_are_gone_too(log: Log) -> None:
    with log.superuser() as connection:
        log.recompute(connection, keep=2)
        connection.execute("DELETE FROM placemat.audit_checkpoints")
    found = log.verify().listed
    assert [(one.kind, one.sequence) for one in found] == [("recomputed", 8), ("checkpoint_gone", 8)]
    assert "the head in Kafka" in found[0].sentence


@pytest.mark.parametrize("taken", ["DELETE FROM {}", "DELETE FROM {} WHERE sequence = 10"])
def test_checkpoints_that_were_taken_away_are_named_by_kafka(log: Log, taken: str) -> None:
    log.settings = with_audit(log.settings, checkpoint_entries=1)
    log.publish()
    log.add(1)
    log.publish()
    assert log.verify().checkpoints == 3
    with log.superuser() as connection:
        connection.execute(taken.format("placemat.audit_checkpoints").encode())
    kind, sequence, sentence = the_finding(log.verify())
    assert (kind, sequence) == ("checkpoint_gone", 8 if "WHERE" not in taken else 10)
    assert "the head in Kafka" in sentence


def test_a_signature_that_was_taken_off_a_checkpoint_is_named(log: Log) -> None:
    with log.superuser() as connection:
        connection.execute("ALTER TABLE placemat.audit_checkpoints ALTER signature DROP NOT NULL")
        connection.execute("UPDATE placemat.audit_checkpoints SET signature = NULL")
    assert the_finding(log.verify())[:2] == ("signature", 8)


def test_a_new_key_leaves_what_the_old_one_has_signed_and_published_clean(log: Log, tmp_path: Path) -> None:
    old = signing.signer(log.settings.audit)
    assert old is not None
    signing.make(tmp_path / "new")
    log.settings = with_audit(log.settings, signing_key=tmp_path / "new", public_key=old.public, checkpoint_entries=1)
    assert log.verify().clean
    log.publish()
    report = log.verify()
    assert (report.clean, report.checkpoints, report.heads, report.proven) == (True, 2, 2, 10), report.render()


def test_a_checkpoint_that_another_key_has_signed_is_named(log: Log, tmp_path: Path) -> None:
    other = tmp_path / "other"
    signing.make(other)
    signer = signing.signer(log.settings.audit.model_copy(update={"signing_key": other}))
    assert signer is not None
    with log.superuser() as connection:
        log.recompute(connection, keep=2)
        connection.execute("DELETE FROM placemat.audit_checkpoints")
    log.settings = log.settings.model_copy()
    with chain.opened(log.url) as connection:
        other_heads = Heads(connection, log.settings.audit, log.settings.kafka, signer)
        other_heads.tick()
        other_heads.close()
    found = log.verify().listed
    assert [one.kind for one in found] == ["signature", "signature", "recomputed", "checkpoint_gone"]
    assert "the head in Kafka at offset 2" in found[1].sentence


def test_without_a_key_the_report_says_what_it_cannot_prove(log: Log) -> None:
    settings = log.settings.model_copy(update={"audit": log.settings.audit.model_copy(update={"signing_key": None})})
    report = verify(settings)
    assert report.clean
    assert "no signature was checked" in report.unproven[0]


def test_a_public_key_is_enough_to_verify(log: Log) -> None:
    signer = signing.signer(log.settings.audit)
    assert signer is not None
    settings = log.settings.model_copy(update={"audit": log.settings.audit.model_copy(update={"signing_key": None})})
    assert verify(settings, public=signer.public).proven == 8
    wrong = hashlib.sha256(b"x").hexdigest()
    with pytest.raises(OperatorError, match="public key"):
        verify(settings, public="nothing")
    assert not verify(settings, public=wrong).clean


def test_erased_values_leave_the_log_clean_and_the_erasure_named(log: Log) -> None:
    assert erase(log.settings, Beside(), ENTITY, "3", "she asked", "ada", dry_run=True).entries == 2
    assert erase(log.settings, Beside(), ENTITY, "3", "she asked", "ada", dry_run=False).entries == 2
    assert not log.rows("SELECT 1 FROM placemat.audit_values JOIN placemat.audit_entries USING (sequence)"
                        " WHERE key = '{\"id\":3}'")  # fmt: skip
    report = log.verify()
    assert report.clean
    assert report.erased == 2
    assert report.erasures == [
        {"sequence": 12, "source": "primary", "entity": ENTITY, "key": '{"id":3}', "by": "ada", "entries": 2}
    ]
    assert 'values of public.stories {"id":3} were erased by ada' in report.render()
    with pytest.raises(OperatorError, match="holds no values"):
        erase(log.settings, Beside(), ENTITY, "3", "again", dry_run=False)


def test_values_that_go_without_the_word_that_they_were_erased_are_a_finding(log: Log) -> None:
    """That it was asked for explains nothing: values go together with the entry that it is done."""
    with chain.opened(log.url) as connection:
        asked = Draft("action", "erase", "asked", "ada", source="primary", entity=ENTITY, key='{"id":3}', reason="r")
        chain.append(connection, [asked])
        connection.execute("DELETE FROM placemat.audit_values WHERE sequence IN (SELECT sequence FROM"
                           " placemat.audit_entries WHERE key = '{\"id\":3}' AND kind = 'event' LIMIT 1)")  # fmt: skip
        connection.commit()
    report = log.verify()
    assert the_finding(report)[0] == "values_gone"
    assert [(one["sequence"], one["by"]) for one in report.unfinished] == [(11, "ada")]


def test_values_that_go_after_an_erasure_are_not_covered_by_it(log: Log) -> None:
    erase(log.settings, Beside(), ENTITY, "3", "she asked", dry_run=False)
    log.add(5)
    with psycopg.connect(log.url) as connection:
        connection.execute("DELETE FROM placemat.audit_values WHERE sequence IN (SELECT sequence FROM"
                           " placemat.audit_entries WHERE key = '{\"id\":3}')")  # fmt: skip
    assert the_finding(log.verify())[0] == "values_gone"


def test_a_key_is_never_written_over_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    signing.make(file)
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OperatorError, match="is there already"):
        signing.make(file)


def test_the_salt_keeps_values_from_being_guessed() -> None:
    head = Head(0, b"", datetime.now(UTC))
    draft = Draft("event", "u", "applied", "ada", content="{}")
    (one, first), (other, second) = chained(draft, head, head.entered_at), chained(draft, head, head.entered_at)
    assert first is not None
    assert second is not None
    assert one.values_hash != other.values_hash
    assert values_hash(first) == one.values_hash
