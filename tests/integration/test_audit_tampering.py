"""What a superuser of the state database does to the audit log is found, and its place named."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from daemon import broker
from daemon.audit import chain, segments, signing
from daemon.audit.entry import COLUMNS, Draft, Entry, Head, chained, values_hash
from daemon.audit.erase import Beside, erase
from daemon.audit.findings import AuditReport
from daemon.audit.heads import Heads
from daemon.audit.verify import verify
from daemon.config.settings import Settings
from daemon.errors import OperatorError
from tests.fix_servers import Kafka

ENTITY = "public.stories"
JUNE, JULY = datetime(2026, 6, 15, tzinfo=UTC), datetime(2026, 7, 15, tzinfo=UTC)


class Log:
    """An audit log of ten entries, of keys 0 to 4 twice, signed and published after the eighth."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.settings = settings
        self.url = url
        self.add(8)
        self.publish()
        self.add(2)

    def add(self, count: int, at: datetime | None = None) -> None:
        """More entries; `at` another time."""
        with chain.opened(self.url) as connection:
            head = chain.lock_head(connection)
            drafts = [
                Draft(
                    "event", "u", "applied", "ada", entity=ENTITY, key=f'{{"id":{(head.sequence + number) % 5}}}',
                    target="t", fields=["title"], content=f'{{"before":{{}},"after":{{"title":"b {number}"}}}}',
                )
                for number in range(count)
            ]  # fmt: skip
            if at is None:
                chain.append(connection, drafts, head)
            else:
                self._add_at(connection, drafts, head, at)
            connection.commit()

    def publish(self) -> None:
        signer = signing.signer(self.settings.audit)
        with chain.opened(self.url) as connection:
            heads = Heads(connection, self.settings.audit, self.settings.kafka, signer)
            heads.tick()
            heads.close()

    def verify(self, **options: Any) -> AuditReport:
        return verify(self.settings, **options)

    @contextmanager
    def superuser(self) -> Iterator[psycopg.Connection[Any]]:
        """With the triggers off meanwhile."""
        tables = [
            name
            for (name,) in self.rows(
                "SELECT relname FROM pg_class WHERE relname ~ '^audit_(entries|values|checkpoints|segments)'"
                " AND relkind IN ('r', 'p') ORDER BY relkind = 'r'"
            )
        ]
        with psycopg.connect(self.url) as connection:
            for name in tables:
                connection.execute(f"ALTER TABLE placemat.{name} DISABLE TRIGGER ALL".encode())
            yield connection
            for name in tables:
                if connection.execute("SELECT to_regclass(%s)", [f"placemat.{name}"]).fetchone() != (None,):
                    for trigger in ("audit_guard", "audit_guard_all"):
                        connection.execute(f"ALTER TABLE placemat.{name} ENABLE ALWAYS TRIGGER {trigger}".encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def entry(self, sequence: int) -> Entry:
        (row,) = self.rows(f"{chain.ENTRIES} WHERE sequence = {sequence}")
        return Entry(*row)

    def _add_at(self, connection: psycopg.Connection[Any], drafts: list[Draft], head: Head, at: datetime) -> None:
        head = head._replace(entered_at=min(head.entered_at, at))
        found = []
        for draft in drafts:
            entry, values = chained(draft, head, at)
            head = Head(entry.sequence, entry.hash, entry.entered_at)
            found.append((entry, values))
        chain._make_months(connection, {entry.month for entry, _ in found})
        chain._copy(connection, found)
        connection.execute("UPDATE placemat.audit_head SET sequence = %s, hash = %s, entered_at = %s", head)


@pytest.fixture
def settings(
    kafka_server: Kafka, database_factory: Callable[..., str], state_template: str, tmp_path: Path
) -> Settings:
    key = tmp_path / "key"
    signing.make(key)
    values: dict[str, Any] = {
        "state": {"url": database_factory("state", state_template)},
        "kafka": {"bootstrap_servers": kafka_server.bootstrap_servers},
        "sources": {"primary": {"url": "postgresql://nowhere", "tables": [ENTITY]}},
        "audit": {"signing_key": str(key), "topic": f"audit-{uuid.uuid4().hex}"},
    }
    found = Settings(**values)
    broker.ensure(broker.reach(found.kafka), found.kafka, {found.audit.topic: 1}, forever=True)
    return found


@pytest.fixture
def log(settings: Settings) -> Log:
    return Log(settings, settings.state.url.get_secret_value())


def the_finding(report: AuditReport) -> tuple[str, int | None, str]:
    assert report.findings == 1, [one.sentence for one in report.listed]
    return report.listed[0].kind, report.listed[0].sequence, report.listed[0].sentence


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
        for constraint in ("audit_entries_pkey", "audit_entries_topic_partition_offset_target_month_key"):
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


def recompute(log: Log, connection: psycopg.Connection[Any], *, keep: int) -> None:
    """Write the chain anew from the entry after `keep`, without the signing key."""
    previous = log.entry(keep).hash
    for sequence in range(keep + 1, 11):
        entry = log.entry(sequence)._replace(who="somebody", previous=previous)
        previous = entry.digest()
        connection.execute(
            "UPDATE placemat.audit_entries SET who = 'somebody', previous = %s, hash = %s WHERE sequence = %s",
            [entry.previous, previous, sequence],
        )
    connection.execute("UPDATE placemat.audit_head SET hash = %s", [previous])


def test_a_chain_that_was_recomputed_without_the_key_is_found_by_its_checkpoints(log: Log) -> None:
    with log.superuser() as connection:
        recompute(log, connection, keep=2)
    kind, sequence, sentence = the_finding(log.verify())
    assert (kind, sequence) == ("recomputed", 8)
    assert "the checkpoint of" in sentence


def test_a_chain_that_was_recomputed_is_found_by_kafka_when_the_checkpoints_are_gone_too(log: Log) -> None:
    with log.superuser() as connection:
        recompute(log, connection, keep=2)
        connection.execute("DELETE FROM placemat.audit_checkpoints")
    kind, sequence, sentence = the_finding(log.verify())
    assert (kind, sequence) == ("recomputed", 8)
    assert "the head in Kafka" in sentence


def test_a_checkpoint_that_another_key_has_signed_is_named(log: Log, tmp_path: Path) -> None:
    other = tmp_path / "other"
    signing.make(other)
    signer = signing.signer(log.settings.audit.model_copy(update={"signing_key": other}))
    assert signer is not None
    with log.superuser() as connection:
        recompute(log, connection, keep=2)
        connection.execute("DELETE FROM placemat.audit_checkpoints")
    log.settings = log.settings.model_copy()
    with chain.opened(log.url) as connection:
        heads = Heads(connection, log.settings.audit, log.settings.kafka, signer)
        heads.tick()
        heads.close()
    kinds = [one.kind for one in log.verify().listed]
    assert kinds == ["signature", "recomputed"]


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
    assert report.erasures == [{"sequence": 11, "entity": ENTITY, "key": '{"id":3}', "by": "ada", "entries": 2}]
    assert 'values of public.stories {"id":3} were erased by ada' in report.render()
    with pytest.raises(OperatorError, match="holds no values"):
        erase(log.settings, Beside(), ENTITY, "3", "again", dry_run=False)


def test_values_that_go_after_an_erasure_are_not_covered_by_it(log: Log) -> None:
    erase(log.settings, Beside(), ENTITY, "3", "she asked", dry_run=False)
    log.add(5)
    with psycopg.connect(log.url) as connection:
        connection.execute("DELETE FROM placemat.audit_values WHERE sequence IN (SELECT sequence FROM"
                           " placemat.audit_entries WHERE key = '{\"id\":3}')")  # fmt: skip
    assert the_finding(log.verify())[0] == "values_gone"


# Sealed months


@pytest.fixture
def sealed(settings: Settings, tmp_path: Path) -> tuple[Log, Path]:
    """June is sealed, July is not, and the log goes on."""
    log = Log.__new__(Log)
    log.settings, log.url = settings, settings.state.url.get_secret_value()
    log.add(4, JUNE)
    log.add(3, JULY)
    log.add(2)
    log.publish()
    files = tmp_path / "segments"
    files.mkdir()
    with chain.opened(log.url) as connection:
        assert segments.months(connection, date(2026, 7, 1)) == [date(2026, 6, 1)]
        segments.seal(connection, date(2026, 6, 1), files, signing.signer(settings.audit), "ada", None)
    log.publish()
    return log, files


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


def test_a_segment_that_was_altered_is_named_by_its_signature(sealed: tuple[Log, Path]) -> None:
    log, _ = sealed
    with log.superuser() as connection:
        connection.execute("UPDATE placemat.audit_segments SET file_hash = hash")
    assert the_finding(log.verify())[0] == "signature"


def test_a_month_that_does_not_verify_is_not_sealed(sealed: tuple[Log, Path]) -> None:
    log, files = sealed
    with log.superuser() as connection:
        connection.execute("UPDATE placemat.audit_entries SET who = 'somebody' WHERE sequence = 6")
    with chain.opened(log.url) as connection, pytest.raises(OperatorError, match="2026-07 is not sealed: entry 6"):
        segments.seal(connection, date(2026, 7, 1), files, None, "ada", None)
    assert len(list(files.iterdir())) == 1
    assert log.rows("SELECT count(*) FROM placemat.audit_entries WHERE month = '2026-07-01'") == [(3,)]


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
