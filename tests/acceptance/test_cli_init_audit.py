"""`placemat init` begins an audit log by itself only where there has been none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon import broker
from daemon.audit import chain, signing
from daemon.audit.entry import Draft
from daemon.audit.heads import kept as heads
from daemon.audit.heads.kept import Heads
from daemon.audit.heads.topic import Begun, HeadsTopic, Published
from daemon.config.audit import Audit
from tests.acceptance.test_cli_init import assert_fault
from tests.fix_site import Site


def test_a_new_state_database_begins_another_audit_log_only_when_that_is_said(site: Site, tmp_path: Path) -> None:
    kafka, topic = site.settings.kafka, site.settings.audit.topic
    assert site.placemat("audit", "key", str(tmp_path / "key")).code == 0
    signer = signing.signer(Audit(signing_key=tmp_path / "key"))
    broker.ensure(broker.reach(kafka), kafka, {topic: 1}, forever=True)
    head = signing.checkpoint(7, b"of another log", datetime.now(UTC))
    heads.publish(heads.producer(kafka), topic, head, signer)
    told = f"Topic {topic} tells of an audit log through entry 7, and the one in the state database has 0."
    for _ in range(2):
        assert_fault(site.placemat("init"), told, "placemat init --new-audit-log --reason TEXT")
    anew = ("init", "--new-audit-log", "--reason", "the server burnt down", "--by", "ada")
    signed = f"Topic {topic} has signed heads of an earlier audit log"
    assert_fault(site.placemat(*anew), signed, "Set audit.signing_key", 2)
    site.set("audit.signing_key", str(tmp_path / "key"))
    first = site.placemat(*anew)
    assert "The audit log begins anew: Kafka tells of an earlier one, through entry 7." in first.err
    again = site.placemat("init")
    assert (first.code, again.code, "begins anew" in again.err) == (0, 0, False)
    report = site.placemat("audit", "verify", "--json")
    assert (report.code, report.json["heads"], report.json["proven"]) == (0, 0, 1), report.out
    assert "1 heads of it, through entry 7" in report.json["unproven"][0]
    assert "the server burnt down" in report.json["unproven"][0]


def test_a_new_audit_log_has_a_reason(site: Site) -> None:
    for words in (("--new-audit-log",), ("--reason", "none")):
        assert_fault(site.placemat("init", *words), "A ", "placemat init --new-audit-log --reason TEXT", 2)


def test_a_first_audit_log_is_begun_and_signed_without_a_word(site: Site, tmp_path: Path) -> None:
    assert site.placemat("audit", "key", str(tmp_path / "key")).code == 0
    site.set("audit.signing_key", str(tmp_path / "key"))
    for _ in range(2):
        assert site.placemat("init").code == 0
    report = site.placemat("audit", "verify", "--json")
    assert (report.code, report.json["unproven"]) == (0, []), report.out


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE placemat.alembic_version", "ALTER TABLE placemat.alembic_version RENAME TO older",
     "DELETE FROM placemat.alembic_version"],
)  # fmt: skip
def test_a_state_database_whose_version_was_taken_away_begins_no_audit_log(
    site: Site, tmp_path: Path, statement: str
) -> None:
    assert site.placemat("audit", "key", str(tmp_path / "key")).code == 0
    site.set("audit.signing_key", str(tmp_path / "key"))
    assert site.placemat("init").code == 0
    with chain.opened(site.state) as connection:
        chain.append(connection, [Draft("action", "pause", "asked", "ada")])
        published = Heads(connection, site.settings.audit, site.settings.kafka, signing.signer(site.settings.audit))
        published.tick()
        published.close()
    site.run_sql(site.state, statement)
    for words in ((), ("--new-audit-log", "--reason", "what was there is in the way")):
        ended = site.placemat("init", *words)
        assert_fault(ended, "Schema placemat of the state database has ", "put it back as it was")
        assert "no alembic_version says of which version they are" in ended.err
    topic = HeadsTopic(site.settings.kafka, site.settings.audit.topic)
    assert [type(one) for one in topic.newest(9)] == [Begun, Published]
    site.run_sql(site.state, "DROP SCHEMA placemat CASCADE")
    assert_fault(site.placemat("init"), f"Topic {topic.name} tells of an audit log through entry 1", "--new-audit-log")
    assert len(HeadsTopic(site.settings.kafka, topic.name).newest(9)) == 2
