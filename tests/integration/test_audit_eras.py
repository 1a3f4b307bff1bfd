"""What is wrong with records of the heads' topic is given up by a word of the key, and by nothing else."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon import broker
from daemon.audit import chain, signing
from daemon.audit.heads import kept as heads
from daemon.audit.heads import repeats
from daemon.audit.heads.beginning import begin, begin_anew
from daemon.audit.heads.eras import Era
from daemon.audit.heads.kept import Heads
from daemon.audit.heads.repeats import Repeats
from daemon.audit.heads.topic import BEGIN, HeadsTopic, Published
from daemon.config.settings import Settings
from daemon.errors import OperatorError
from tests.fix_audit_log import Log, with_audit
from tests.integration.test_audit_heads import (
    cut_at_five,
    cut_off,
    kinds,
    make_anew,
    publish,
    records,
    the_signer,
    without_a_key,
    write,
)

WHY = "given up by ada: looked into"


def give_up(log: Log) -> list[str]:
    """By a word; what is not proven then."""
    begin_anew(log.settings, "looked into", "ada")
    log.publish()
    report = log.verify()
    assert report.clean, report.render()
    return report.unproven


def test_records_of_others_before_a_word_are_told_and_no_alarm_and_those_behind_it_are(log: Log) -> None:
    write(log, b"{}", b"[]")
    assert kinds(log) == ["foreign", "foreign"]
    (told,) = (one for one in give_up(log) if "given up" in one)
    where = f"the first was: the record at offset 2 (topic {log.settings.audit.topic}, partition 0) is no head of ours"
    assert told == f"2 findings before offset 4, {WHY}; {where}"
    write(log, b"{}")
    assert kinds(log) == ["foreign"]


def test_heads_that_were_taken_away_before_a_word_are_told_and_no_alarm(log: Log) -> None:
    cut_off(log, 2)
    assert "heads_gone" in kinds(log)
    told = give_up(log)
    (gone,) = (one for one in told if "given up" in one)
    assert gone.startswith(f"1 finding before offset 2, {WHY}; the first was: what stood in Kafka at"), told


def test_signatures_that_were_missing_before_a_word_are_told_and_no_alarm(log: Log, tmp_path: Path) -> None:
    """A worker that had no key yet, and one with a key that nobody remembers."""
    entry = log.entry(10)
    publish(log, signing.checkpoint(10, entry.hash, entry.entered_at), None)
    signing.make(tmp_path / "lost")
    log.settings = with_audit(log.settings, signing_key=tmp_path / "lost")
    log.publish()
    log.settings = with_audit(log.settings, signing_key=tmp_path / "key")
    assert set(kinds(log)) == {"signature"}
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_checkpoints WHERE sequence > 8")
    assert any(f"2 findings before offset 4, {WHY}" in one for one in give_up(log))


def test_a_head_that_was_written_again_before_a_word_is_told_and_no_alarm(log: Log) -> None:
    topic = HeadsTopic(log.settings.kafka, log.settings.audit.topic)
    said = signing.checkpoint(8, log.entry(8).hash, datetime.now(UTC) - timedelta(hours=1))
    publish(log, said | {"checkpoint": 8, "topic_id": topic.topic_id}, the_signer(log))
    log.publish()
    write(log, records(log)[2])
    assert kinds(log) == ["repeated"]
    assert any(f"1 finding before offset 5, {WHY}; the first was: the head in Kafka at" in one for one in give_up(log))


def test_a_topic_that_was_made_anew_with_copied_heads_is_given_up_by_a_word(log: Log) -> None:
    before = records(log)
    make_anew(log)
    write(log, *before)
    assert "signature" in kinds(log)
    assert any(f"findings before offset 2, {WHY}" in one for one in give_up(log))


# Who has no key gives nothing up


def test_a_word_without_a_signature_gives_up_nothing_also_before_anything_was_signed(
    log: Log, audit_settings: Settings
) -> None:
    log.settings = with_audit(audit_settings, topic=f"audit-{uuid.uuid4().hex}")
    broker.ensure(broker.reach(log.settings.kafka), log.settings.kafka, {log.settings.audit.topic: 1})
    publish(log, signing.checkpoint(10, b"of another log", datetime.now(UTC)), None)
    assert set(kinds(log)) == {"recomputed", "unsigned"}
    publish(log, {"kind": BEGIN, "at": "2026-11-22T10:00:00+00:00", "reason": "none", "by": "mallory"}, None)
    assert set(kinds(log)) == {"recomputed", "unsigned"}
    log.settings = without_a_key(log)
    assert log.verify().clean, "nobody can tell whose word it is"


def test_a_word_without_a_signature_or_of_another_key_gives_up_nothing_that_was_signed(
    log: Log, tmp_path: Path
) -> None:
    cut_at_five(log)
    topic = HeadsTopic(log.settings.kafka, log.settings.audit.topic)
    word = {"kind": BEGIN, "at": "2026-11-22T10:00:00+00:00", "topic_id": topic.topic_id}
    signing.make(tmp_path / "other")
    other = signing.signer(with_audit(log.settings, signing_key=tmp_path / "other").audit)
    for place, signer in ((2, None), (3, other)):
        publish(log, word | {"offset": place}, signer)
    report = log.verify()
    assert sorted(one.kind for one in report.listed) == ["removed_at_end", "signature", "signature"]
    assert not any("given up" in one for one in report.unproven)


def test_a_word_that_was_cut_off_and_written_again_gives_up_nothing(log: Log) -> None:
    """All of it goes from the front, and the old word, with its true signature, stands behind what is left."""
    word, *_ = records(log)
    cut_at_five(log)
    log.publish()
    cut_off(log, 2)
    write(log, word)
    found = kinds(log)
    assert "heads_gone" in found
    assert "signature" in found


def test_a_word_of_another_topic_gives_up_nothing(log: Log) -> None:
    elsewhere = with_audit(log.settings, topic=f"audit-{uuid.uuid4().hex}")
    begin(elsewhere, fresh=True)
    for _ in range(2):
        begin_anew(elsewhere, "elsewhere", "ada")
    write(log, b"{}")
    there = Log.__new__(Log)
    there.settings, there.url = elsewhere, log.url
    words = [one for one in records(there) if json.loads(one)["offset"] == 1]
    write(log, b"{}", *words)
    assert set(kinds(log)) == {"foreign", "signature"}


def test_a_word_that_others_have_pushed_from_its_place_is_written_again(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    meant = heads.publish
    pushed: list[bool] = []

    def late(*arguments: Any) -> int:
        if not pushed:
            pushed.append(True)
            write(log, b"{}")
        return meant(*arguments)

    monkeypatch.setattr(heads, "publish", late)
    begin_anew(log.settings, "looked into", "ada")
    report = log.verify()
    assert report.clean, report.render()
    assert any("2 findings before offset 4, given up by ada: looked into" in one for one in report.unproven)


# What init compares


def test_every_newer_head_is_compared_when_a_log_that_was_put_back_has_grown_again(log: Log) -> None:
    log.publish()
    cut_at_five(log)
    log.add(8)
    log.publish()
    with pytest.raises(OperatorError, match="Entry 8 of the audit log is not the one"):
        begin(log.settings, fresh=False)
    give_up(log)
    begin(log.settings, fresh=False)


def test_heads_that_nobody_has_signed_keep_no_init_from_a_signed_log(log: Log) -> None:
    publish(log, signing.checkpoint(99, b"of another log", datetime.now(UTC)), None)
    begin(log.settings, fresh=False)


# Workers


def test_a_worker_tells_the_topic_that_is_there_each_time(log: Log) -> None:
    with chain.opened(log.url) as connection:
        worker = Heads(connection, log.settings.audit, log.settings.kafka, the_signer(log))
        worker.publish()
        make_anew(log)
        give_up(log)
        worker.publish()
        worker.close()
    assert log.verify().clean


def test_one_wrong_clock_is_forgotten(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "NEAR", 5)
    topic = HeadsTopic(log.settings.kafka, log.settings.audit.topic)
    noticed = Repeats(topic)
    era = Era(claims=None)  # type: ignore[arg-type]
    now = datetime.now(UTC)
    for offset in range(100):
        at = now + timedelta(seconds=offset, days=365 if offset == 7 else 0)
        noticed.note(Published(offset, {}, "", str(offset).encode(), at, offset, b"", None), era)
    assert list(noticed.late) == [str(offset).encode() for offset in range(8, 15)]
