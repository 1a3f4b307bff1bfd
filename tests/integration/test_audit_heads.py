"""What somebody who rules the state database and writes to Kafka does to the heads of the audit log there is found.

Such a one has no signing key, and no hand on the disks of Kafka's brokers.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from daemon import broker
from daemon.audit import signing
from daemon.audit.heads import kept as heads
from daemon.audit.heads.beginning import begin, begin_anew
from daemon.audit.heads.topic import BEGIN, Foreign, HeadsTopic
from daemon.audit.signing import Signer
from daemon.config.settings import Settings
from daemon.errors import OperatorError
from tests.fix_audit_log import Log, the_finding, with_audit
from tests.waiting import until

Anew = Callable[[], Settings]
"""The same key and topic, with a state database that is empty."""


@pytest.fixture
def anew(audit_settings: Settings, database_factory: Callable[..., str], state_template: str) -> Anew:
    def make() -> Settings:
        state = audit_settings.state.model_validate({"url": database_factory("anew", state_template)})
        return audit_settings.model_copy(update={"state": state})

    return make


def the_signer(log: Log) -> Signer:
    signer = signing.signer(log.settings.audit)
    assert signer is not None
    return signer


def admin(log: Log) -> AdminClient:
    return broker.reach(log.settings.kafka)


def write(log: Log, *values: bytes, topic: str | None = None) -> None:
    """Records as they are, behind the others."""
    producer = Producer(broker.options(log.settings.kafka))
    for value in values:
        producer.produce(topic or log.settings.audit.topic, value, b"", 0)
    assert producer.flush(20) == 0


def publish(log: Log, said: dict[str, Any], signer: Signer | None) -> None:
    heads.publish(heads.producer(log.settings.kafka), log.settings.audit.topic, said, signer)


def records(log: Log) -> list[bytes]:
    """As they stand in the topic."""
    topic = HeadsTopic(log.settings.kafka, log.settings.audit.topic)
    found: list[bytes] = []
    for page in topic.read():
        for one in page:
            assert not isinstance(one, Foreign)
            signed = {"key_id": one.key_id, "signature": one.signature.hex()} if one.signature is not None else {}
            found.append(json.dumps({**one.said, **signed}).encode())
    return found


def cut_off(log: Log, before: int) -> None:
    """Take away the records before an offset, as retention does it, or whoever may delete records."""
    client, place = admin(log), TopicPartition(log.settings.audit.topic, 0, before)
    for done in client.delete_records([place]).values():
        done.result()


def make_anew(log: Log) -> None:
    """Delete the topic, and make one of that name."""
    name, client = log.settings.audit.topic, admin(log)
    for done in client.delete_topics([name]).values():
        done.result()
    until(lambda: name not in broker.describe(client, [name]), 20, what="the topic deleted")
    broker.ensure(client, log.settings.kafka, {name: 1}, forever=True)


def cut_at_five(log: Log, *, checkpoints: str = "DELETE FROM placemat.audit_checkpoints WHERE sequence > 5") -> None:
    """Everything after the fifth entry goes out of the database, and whatever tells of it there."""
    last = log.entry(5)
    with log.superuser() as connection:
        connection.execute(checkpoints.encode())
        connection.execute("DELETE FROM placemat.audit_values WHERE sequence > 5")
        connection.execute("DELETE FROM placemat.audit_entries WHERE sequence > 5")
        connection.execute("UPDATE placemat.audit_head SET sequence = 5, hash = %s", [last.hash])


def kinds(log: Log, **options: Any) -> list[str]:
    return [one.kind for one in log.verify(**options).listed]


def without_a_key(log: Log) -> Settings:
    return with_audit(log.settings, signing_key=None)


# Records that nobody of ours has written

GARBAGE = [
    b"", b"{}", b"[]", b"null", b"nothing", b"\xff\x00", b'{"kind":"checkpoint"}', b'{"kind":"begin","at":7}',
    b'{"kind":"checkpoint","sequence":"8","hash":"00","at":"2026-11-22T10:00:00+00:00"}',
    b'{"kind":"checkpoint","sequence":8,"hash":"zz","at":"2026-11-22T10:00:00+00:00"}',
    b'{"kind":"checkpoint","sequence":1e99,"hash":"00","at":"2026-11-22T10:00:00+00:00"}',
]  # fmt: skip


def test_records_that_are_no_heads_are_named_each_and_the_others_are_read(log: Log) -> None:
    write(log, *GARBAGE)
    log.publish()
    report = log.verify()
    assert {one.kind for one in report.listed} == {"foreign"}
    assert report.findings == len(GARBAGE)
    where = f"offset 2 (topic {log.settings.audit.topic}, partition 0)"
    assert where in report.listed[0].sentence
    assert (report.heads, report.proven) == (2, 10)


def test_a_head_that_is_not_signed_or_by_another_key_is_named_and_proves_nothing(log: Log, tmp_path: Any) -> None:
    entry = log.entry(10)
    said = signing.checkpoint(entry.sequence, entry.hash, datetime.now(UTC)) | {"checkpoint": 8}
    publish(log, said, None)
    report = log.verify()
    kind, sequence, sentence = the_finding(report)
    assert (kind, sequence, report.proven) == ("signature", 10, 8)
    assert "at offset 2 (" in sentence
    assert "not signed, unlike others before" in sentence
    signing.make(tmp_path / "other")
    other = signing.signer(with_audit(log.settings, signing_key=tmp_path / "other").audit)
    publish(log, said, other)
    publish(log, said, other)
    forged = said | {"key_id": signing.key_id(the_signer(log).public), "signature": "00" * 64}
    write(log, json.dumps(forged).encode())
    found = log.verify()
    assert [one.kind for one in found.listed] == ["signature"] * 3
    assert "at offsets 3 to 4 (" in found.listed[1].sentence
    assert "not known" in found.listed[1].sentence
    assert "not signed by the key that it names" in found.listed[2].sentence
    assert found.proven == 8


# Heads that are gone


def test_a_topic_that_is_not_there_is_named_where_a_key_is_known(log: Log) -> None:
    log.settings = with_audit(log.settings, topic="mistyped")
    kind, _, sentence = the_finding(log.verify())
    assert (kind, "topic mistyped" in sentence) == ("heads_gone", True)
    log.settings = without_a_key(log)
    report = log.verify()
    assert report.clean
    assert any("topic mistyped" in one for one in report.unproven)


@pytest.mark.parametrize("before", [1, 2])
def test_heads_that_were_cut_off_are_named_where_a_key_is_known(log: Log, before: int) -> None:
    cut_off(log, before)
    report = log.verify()
    assert "heads_gone" in {one.kind for one in report.listed}
    gone = next(one for one in report.listed if one.kind == "heads_gone")
    assert ("offset 0 (" if before == 1 else "offsets 0 to 1 (") in gone.sentence
    log.settings = without_a_key(log)
    assert log.verify().clean
    assert any("is gone" in one for one in log.verify().unproven)


def test_records_that_were_taken_out_between_others_are_named(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.publish()
    read = HeadsTopic.read

    def compacted(topic: HeadsTopic, start: int = 0) -> Any:
        for page in read(topic, start):
            yield [one for one in page if one.offset != 1]

    monkeypatch.setattr(HeadsTopic, "read", compacted)
    kind, _, sentence = the_finding(log.verify())
    assert (kind, "offset 1 (" in sentence) == ("heads_gone", True)


def test_an_end_that_was_removed_with_all_heads_is_named(log: Log) -> None:
    cut_at_five(log)
    cut_off(log, 2)
    assert "heads_gone" in kinds(log)


def test_what_is_behind_an_open_transaction_is_read_too(log: Log) -> None:
    producer = Producer({**broker.options(log.settings.kafka), "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(log.settings.audit.topic, b"{}", b"", 0)
    producer.flush(20)
    log.publish()
    report = log.verify()
    assert (report.heads, report.proven) == (2, 10)
    producer.abort_transaction(20)
    until(lambda: HeadsTopic(log.settings.kafka, log.settings.audit.topic).end > 4, what="the transaction's end")
    assert set(kinds(log)) == {"foreign", "heads_gone"}


# Another topic of the same name


def test_a_topic_that_was_made_anew_with_the_same_heads_is_named(log: Log) -> None:
    before = records(log)
    make_anew(log)
    write(log, *before)
    found = log.verify().listed
    assert {one.kind for one in found} == {"signature", "unsigned"}
    assert "the topic was made anew" in found[0].sentence


def test_an_end_that_was_removed_is_named_also_when_old_heads_stand_in_a_new_topic(log: Log) -> None:
    """Everything as it once was, entries, checkpoints and heads; and the workers go on from there."""
    log.settings = with_audit(log.settings, checkpoint_entries=1)
    once = records(log)
    log.publish()
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_checkpoints WHERE sequence > 8")
        connection.execute("DELETE FROM placemat.audit_values WHERE sequence > 8")
        connection.execute("DELETE FROM placemat.audit_entries WHERE sequence > 8")
        connection.execute("UPDATE placemat.audit_head SET sequence = 8, hash = %s", [log.entry(8).hash])
    assert kinds(log) == ["removed_at_end"]
    make_anew(log)
    write(log, *once)
    assert set(kinds(log)) == {"signature", "unsigned"}
    log.add(3)
    log.publish()
    assert set(kinds(log)) == {"signature", "unsigned"}


def test_a_log_from_which_all_signatures_were_taken_is_named(log: Log) -> None:
    """As if it had never been signed: chain, checkpoints and heads are new, and the workers sign what they find."""
    with log.superuser() as connection:
        log.recompute(connection, keep=2)
        connection.execute("DELETE FROM placemat.audit_checkpoints")
    make_anew(log)
    assert kinds(log) == ["unsigned"]
    for sequence in (3, 10):
        entry = log.entry(sequence)
        publish(log, signing.checkpoint(sequence, entry.hash, entry.entered_at), None)
    assert kinds(log) == ["unsigned"]
    log.add(1)
    log.publish()
    found = log.verify().listed
    assert [one.kind for one in found] == ["unsigned"]
    assert "at offset 2 (" in found[0].sentence


def test_a_log_that_was_emptied_is_named_where_a_key_is_known(log: Log) -> None:
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_checkpoints")
        connection.execute("DELETE FROM placemat.audit_values")
        connection.execute("DELETE FROM placemat.audit_entries")
        connection.execute("UPDATE placemat.audit_head SET sequence = 0, hash = sha256('placemat audit')")
    make_anew(log)
    begin(log.settings, fresh=False)
    assert kinds(log) == ["unsigned"]


def test_heads_are_not_published_to_a_topic_that_is_gone(log: Log) -> None:
    log.settings = with_audit(log.settings, topic=f"audit-{uuid.uuid4().hex}")
    with pytest.raises(broker.KafkaUnavailable, match="is gone"):
        log.publish()
    assert HeadsTopic(log.settings.kafka, log.settings.audit.topic).topic_id is None


# Heads that are written again


def test_a_head_that_is_written_again_is_named(log: Log) -> None:
    signer, entry, topic = the_signer(log), log.entry(8), HeadsTopic(log.settings.kafka, log.settings.audit.topic)
    for hours in (2, 1):
        at = datetime.now(UTC) - timedelta(hours=hours)
        said = signing.checkpoint(8, entry.hash, at) | {"checkpoint": 8, "topic_id": topic.topic_id}
        publish(log, said, signer)
    log.publish()
    assert log.verify().clean, "a frozen process may be late"
    write(log, records(log)[2])
    kind, sequence, sentence = the_finding(log.verify())
    assert (kind, sequence) == ("repeated", 8)
    assert "at offset 5 (" in sentence
    assert "the one at offset 2" in sentence


def test_a_word_that_begins_a_log_holds_once(log: Log) -> None:
    write(log, records(log)[0])
    with log.superuser() as connection:
        log.recompute(connection, keep=2)
        connection.execute("DELETE FROM placemat.audit_checkpoints")
    assert kinds(log) == ["signature", "recomputed", "checkpoint_gone"]


# Logs one after the other


def test_heads_of_a_log_before_the_state_database_was_made_anew_are_no_alarm(log: Log, anew: Anew) -> None:
    log.settings = anew()
    with pytest.raises(OperatorError, match="tells of an audit log through entry 8") as refused:
        begin(log.settings, fresh=True)
    assert "placemat init --new-audit-log" in refused.value.try_
    assert begin_anew(log.settings, "the server burnt down", "ada") == 8
    begin(log.settings, fresh=False)
    fresh = Log(log.settings, log.settings.state.url.get_secret_value())
    report = fresh.verify()
    assert (report.clean, report.heads, report.proven) == (True, 1, 9), report.render()
    assert "1 heads of it, through entry 8" in report.unproven[0]
    assert "the server burnt down" in report.unproven[0]
    (asked,) = fresh.rows("SELECT op, who, reason FROM placemat.audit_entries WHERE sequence = 1")
    assert asked == ("new-audit-log", "ada", "the server burnt down")
    with fresh.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_checkpoints")
    assert the_finding(fresh.verify())[:2] == ("checkpoint_gone", 9)


def test_a_log_that_was_replaced_in_secret_is_found_by_the_heads_of_the_old_one(log: Log, anew: Anew) -> None:
    replaced = Log.__new__(Log)
    replaced.settings = anew()
    replaced.url = replaced.settings.state.url.get_secret_value()
    replaced.add(9)
    with pytest.raises(OperatorError, match="it is another log"):
        begin(replaced.settings, fresh=False)
    replaced.publish()
    assert kinds(replaced)[0] == "recomputed"


def test_the_word_that_begins_a_log_vouches_for_its_head(log: Log) -> None:
    begin_anew(log.settings, "heads were lost", "ada")
    assert log.verify().proven == 11
    with log.superuser() as connection:
        log.recompute(connection, keep=9)
        connection.execute("DELETE FROM placemat.audit_values WHERE sequence = 11")
        connection.execute("DELETE FROM placemat.audit_entries WHERE sequence = 11")
        connection.execute("UPDATE placemat.audit_head SET sequence = 10")
    assert kinds(log) == ["removed_at_end"]


def test_only_a_key_ends_a_log_that_was_signed(log: Log, anew: Anew) -> None:
    unsigned = with_audit(anew(), signing_key=None)
    with pytest.raises(OperatorError, match="signed heads of an earlier audit log"):
        begin_anew(unsigned, "to hide it", "mallory")
    publish(log, {"kind": BEGIN, "at": "2026-11-22T10:00:00+00:00", "after": 8}, None)
    with log.superuser() as connection:
        log.recompute(connection, keep=2)
    assert kinds(log) == ["recomputed", "signature"]


def test_a_log_whose_heads_were_lost_is_not_begun_in_silence(log: Log) -> None:
    cut_off(log, 2)
    with pytest.raises(OperatorError, match="has none any more"):
        begin(log.settings, fresh=True)
    log.settings = with_audit(log.settings, topic=f"audit-{uuid.uuid4().hex}")
    with pytest.raises(OperatorError, match="10 entries, and topic audit-"):
        begin(log.settings, fresh=False)


# Signed later, or by an earlier version


def test_a_first_key_is_told_and_heads_of_before_are_not_proven(log: Log, audit_settings: Settings) -> None:
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_checkpoints")
    topic = f"audit-{uuid.uuid4().hex}"
    log.settings = with_audit(audit_settings, topic=topic, signing_key=None)
    begin_anew(log.settings, "another topic", "ada")
    log.publish()
    assert log.verify().clean
    log.settings = with_audit(audit_settings, topic=topic)
    kind, _, sentence = the_finding(log.verify())
    assert (kind, "a key was set and nobody has said so" in sentence) == ("unsigned", True)
    begin_anew(log.settings, "signed from now on", "ada")
    report = log.verify()
    assert report.clean, report.render()
    (earlier,) = (one for one in report.unproven if "another one begins" in one)
    assert "through entry 11;" in earlier
    assert "(signed from now on)" in earlier
    log.add(1)
    log.publish()
    assert (log.verify().clean, log.verify().proven) == (True, 13)


def test_heads_of_an_earlier_placemat_are_compared_and_where_they_stand_is_not_proven(log: Log) -> None:
    topic = f"audit-{uuid.uuid4().hex}"
    broker.ensure(broker.reach(log.settings.kafka), log.settings.kafka, {topic: 1}, forever=True)
    log.settings = with_audit(log.settings, topic=topic)
    entry = log.entry(8)
    publish(log, signing.checkpoint(entry.sequence, entry.hash, entry.entered_at), the_signer(log))
    report = log.verify()
    assert (report.clean, report.proven) == (True, 8), report.render()
    assert "an earlier placemat has begun the heads" in report.unproven[0]
    log.publish()
    assert log.verify().clean
    with log.superuser() as connection:
        connection.execute("DELETE FROM placemat.audit_checkpoints")
    assert the_finding(log.verify())[:2] == ("checkpoint_gone", 8)
