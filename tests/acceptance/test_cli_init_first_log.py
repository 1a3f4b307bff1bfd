"""The first `placemat init` begins a signed audit log, however often it has to be repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.audit import chain, signing
from daemon.audit.entry import Draft
from daemon.audit.heads.kept import Heads
from daemon.audit.heads.topic import Begun, HeadsTopic, Published
from daemon.audit.ledger import turn
from daemon.state import engine as state
from tests.acceptance.test_cli_init import assert_fault
from tests.asking import ask
from tests.fix_site import Site
from tests.waiting import until

ANEW = ("init", "--new-audit-log", "--reason", "signed from now on", "--by", "ada")


def set_key(site: Site, tmp_path: Path) -> str:
    """The public key."""
    made = site.placemat("audit", "key", str(tmp_path / "key"))
    assert made.code == 0, made.err
    site.set("audit.signing_key", str(tmp_path / "key"))
    return made.out.strip()


def enter(site: Site) -> None:
    """An entry, and its head in Kafka."""
    with chain.opened(site.state) as connection:
        chain.append(connection, [Draft("action", "pause", "asked", "ada")])
        heads = Heads(connection, site.settings.audit, site.settings.kafka, signing.signer(site.settings.audit))
        heads.tick()
        heads.close()


def records(site: Site) -> list[tuple[type, bool]]:
    """Of each record of the topic what it is, and whether it is signed."""
    found = HeadsTopic(site.settings.kafka, site.settings.audit.topic).newest(99)
    return [(type(one), getattr(one, "signature", None) is not None) for one in found]


def assert_proven(site: Site) -> None:
    assert site.placemat("init").code == 0
    enter(site)
    report = site.placemat("audit", "verify", "--json")
    assert (report.code, report.json["unproven"], report.json["proven"]) == (0, [], 1), report.out


def test_a_first_init_without_its_key_is_repeated_with_it(site: Site, tmp_path: Path) -> None:
    site.set("audit.signing_key", str(tmp_path / "key"))
    assert_fault(site.placemat("init"), "The key that signs the audit log cannot be read", "placemat audit key FILE", 2)
    set_key(site, tmp_path)
    assert_proven(site)


def test_a_first_init_that_kafka_refuses_is_repeated(site: Site, tmp_path: Path) -> None:
    set_key(site, tmp_path)
    site.set("kafka.replication_factor", 3)
    assert_fault(site.placemat("init"), "Kafka refuses topics as they must be", "section [kafka]")
    site.set("kafka.replication_factor", 1)
    assert_proven(site)


def test_a_first_init_that_dies_behind_its_word_is_repeated(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_key(site, tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(state, "migrate", lambda *_, **__: 1 / 0)
        assert site.placemat("init").code == 1
    assert records(site) == [(Begun, True)]
    assert_proven(site)
    assert records(site) == [(Begun, True), (Published, True)]


def test_a_first_init_says_nothing_in_kafka_while_a_source_or_target_has_a_fault(site: Site, tmp_path: Path) -> None:
    set_key(site, tmp_path)
    site.run_sql(site.ledger, "ALTER TABLE stories RENAME COLUMN slug TO other")
    assert site.placemat("init").code == 1
    assert site.placemat(*ANEW).code == 1
    assert records(site) == []
    site.run_sql(site.ledger, "ALTER TABLE stories RENAME COLUMN other TO slug")
    assert site.placemat(*ANEW).code == 0
    assert records(site) == [(Begun, True)]


def test_a_first_init_with_a_public_key_only_is_refused(site: Site, tmp_path: Path) -> None:
    site.set("audit.public_key", set_key(site, tmp_path))
    site.set("audit.signing_key", None)
    for words in (("init",), ANEW):
        assert_fault(site.placemat(*words), "A public key is set, and no key that signs", "Set audit.signing_key", 2)
    site.set("audit.signing_key", str(tmp_path / "key"))
    assert_proven(site)


def test_init_goes_on_where_the_key_is_elsewhere_and_nothing_is_to_be_signed(site: Site, tmp_path: Path) -> None:
    public = set_key(site, tmp_path)
    assert_proven(site)
    site.set("audit.public_key", public)
    (tmp_path / "key").rename(tmp_path / "away")
    assert site.placemat("init").code == 0
    assert_fault(site.placemat(*ANEW), "The key that signs the audit log cannot be read", "audit.signing_key", 2)


def test_another_environment_with_the_same_topic_is_told_to_take_another(site: Site, tmp_path: Path) -> None:
    set_key(site, tmp_path)
    assert_proven(site)
    site.run_sql(site.state, "DROP SCHEMA placemat CASCADE")
    other = "If another daemon uses this topic, set another audit.topic."
    assert_fault(site.placemat("init"), f"Topic {site.settings.audit.topic} tells of an audit log", other)


def test_another_environment_is_refused_also_before_the_first_one_has_heads(site: Site, tmp_path: Path) -> None:
    set_key(site, tmp_path)
    assert site.placemat("init").code == 0
    site.run_sql(site.state, "DROP SCHEMA placemat CASCADE")
    site.set("audit.signing_key", None)
    assert_fault(
        site.placemat("init"),
        f"In topic {site.settings.audit.topic} another audit log has begun",
        "set another audit.topic",
    )


def test_a_new_audit_log_is_begun_while_no_worker_of_it_is_at_work(site: Site, tmp_path: Path) -> None:
    assert site.placemat("init").code == 0
    running = site.spawn("run", "audit")
    (name,) = (f"audit:{target}" for target in site.settings.targets)
    runs = "SELECT 1 FROM placemat.workers WHERE name = %s AND state = 'running'"
    until(lambda: ask(site.state, runs, [name]), 60, what="a worker at work")
    enter(site)
    set_key(site, tmp_path)
    assert_fault(site.placemat(*ANEW), f"At work: {name}", "placemat run audit")
    running.terminate()
    assert running.wait(30) == 0
    assert site.placemat(*ANEW).code == 0
    enter(site)
    assert site.placemat("audit", "verify").code == 0


def test_a_worker_that_waits_for_its_turn_is_one_at_work_and_one_that_is_gone_is_not(site: Site) -> None:
    assert site.placemat("init").code == 0
    (target,) = site.settings.targets
    columns = "(name, instance, state, started_at, seen_at)"
    ask(site.state, f"INSERT INTO placemat.workers {columns} VALUES ('audit:{target}', 'x', 'standby', now(), now())")
    assert_fault(site.placemat(*ANEW), f"At work: audit:{target}", "taken for gone after 15 seconds")
    ask(site.state, "UPDATE placemat.workers SET seen_at = now() - interval '1 minute'")
    with chain.opened(site.state) as connection, turn(connection, target):
        assert_fault(site.placemat(*ANEW), f"At work: audit:{target}", "placemat run audit")
    assert site.placemat(*ANEW).code == 0
