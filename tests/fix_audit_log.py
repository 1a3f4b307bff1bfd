"""An audit log with a key, entries of several months, and whoever rules its database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from daemon.audit import chain, sealing, signing
from daemon.audit.entry import Draft, Entry, Head, chained
from daemon.audit.findings import AuditReport
from daemon.audit.heads.beginning import begin
from daemon.audit.heads.kept import Heads
from daemon.audit.verify import verify
from daemon.config.settings import Settings
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

    def recompute(self, connection: psycopg.Connection[Any], *, keep: int) -> None:
        """Write the chain anew from the entry after `keep`, without the signing key."""
        previous = self.entry(keep).hash
        for sequence in range(keep + 1, 11):
            entry = self.entry(sequence)._replace(who="somebody", previous=previous)
            previous = entry.digest()
            connection.execute(
                "UPDATE placemat.audit_entries SET who = 'somebody', previous = %s, hash = %s WHERE sequence = %s",
                [entry.previous, previous, sequence],
            )
        connection.execute("UPDATE placemat.audit_head SET hash = %s", [previous])

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
def audit_settings(
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
    begin(found, fresh=True)
    return found


@pytest.fixture
def log(audit_settings: Settings) -> Log:
    return Log(audit_settings, audit_settings.state.url.get_secret_value())


@pytest.fixture
def sealed(audit_settings: Settings, tmp_path: Path) -> tuple[Log, Path]:
    """June is sealed, July is not, and the log goes on."""
    log = Log.__new__(Log)
    log.settings, log.url = audit_settings, audit_settings.state.url.get_secret_value()
    log.add(4, JUNE)
    log.add(3, JULY)
    log.add(2)
    log.publish()
    files = tmp_path / "segments"
    files.mkdir()
    with chain.opened(log.url) as connection:
        assert sealing.months(connection, date(2026, 7, 1)) == [date(2026, 6, 1)]
        sealing.seal(connection, date(2026, 6, 1), files, signing.signer(audit_settings.audit), "ada", None)
    log.publish()
    return log, files


def log_of_june(settings: Settings) -> Log:
    """Four entries, and a signature of each head that is published."""
    log = Log.__new__(Log)
    audit = settings.audit.model_copy(update={"checkpoint_entries": 1})
    log.settings, log.url = settings.model_copy(update={"audit": audit}), settings.state.url.get_secret_value()
    log.add(4, JUNE)
    return log


def seal(log: Log, month: date, files: Path) -> None:
    with chain.opened(log.url) as connection:
        sealing.seal(connection, month, files, signing.signer(log.settings.audit), "ada", None)


def with_audit(settings: Settings, **values: Any) -> Settings:
    return settings.model_copy(update={"audit": settings.audit.model_copy(update=values)})


def the_finding(report: AuditReport) -> tuple[str, int | None, str]:
    assert report.findings == 1, [one.sentence for one in report.listed]
    return report.listed[0].kind, report.listed[0].sequence, report.listed[0].sentence
