"""Where the heads of a log begin in Kafka. A signed word stands there, and only a person has it written over a log that
was there before: who rules the database may make that look new, and must not have its past signed away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from daemon import broker
from daemon.audit import actions, chain, heads, signing
from daemon.audit.entry import Head
from daemon.audit.heads_topic import BEGIN, Begun, Foreign, HeadsTopic, Published
from daemon.config.settings import Settings
from daemon.errors import OperatorError

ACTION = "new-audit-log"
LOOKED_AT = 1_000
"""Newest records in which the last word of the log before is looked for."""
_ENTRY = "SELECT hash FROM placemat.audit_entries WHERE sequence = %s"
_ADVICE = (
    "Find out why; placemat audit verify says more. To give up what was there:"
    " placemat init --new-audit-log --reason TEXT"
)


def begin(settings: Settings, *, fresh: bool) -> None:
    """Make the topic, and see that its heads are those of the log in the state database. `fresh`: that had no tables
    yet; where Kafka has no record either, the first log is begun.

    Raises OperatorError where there are heads of another log, or none where there were some.
    """
    topic = HeadsTopic(settings.kafka, settings.audit.topic)
    known = _known(topic)
    keys = signing.verifiers(settings.audit)
    signed = [one for one in known if signing.vouched(keys, one.said, one.key_id, one.signature)]
    _compare(settings, topic, [*known, *signed][-1] if known else None)
    _ensure(settings)
    signer = signing.signer(settings.audit)
    if fresh and topic.end == 0 and signer is not None:
        _publish(settings, signer, {"after": None, "sequence": 0})


def begin_anew(settings: Settings, reason: str, by: str | None) -> int | None:
    """Enter who asks for it and why, and say it in the topic: the heads before it are not compared any more. The newest
    entry that they tell of, or None.

    Raises OperatorError when heads were signed and no key is set: who rules only the database must not end that log.
    """
    if not settings.audit.enabled:
        raise OperatorError("The audit log is off.", "Set audit.enabled, and repeat this.", exit_code=2)
    _ensure(settings)
    topic, signer = HeadsTopic(settings.kafka, settings.audit.topic), signing.signer(settings.audit)
    known = _known(topic)
    if signer is None and any(one.signature is not None for one in known):
        raise OperatorError(
            f"Topic {topic.name} has signed heads of an earlier audit log, and no key is set to begin another one.",
            "Set audit.signing_key, or another audit.topic, and repeat this.", exit_code=2,
        )  # fmt: skip
    after = max((one.sequence for one in known if isinstance(one, Published)), default=None)
    who = by or actions.person()
    actions.record(settings, ACTION, who, reason, {"topic": topic.name, "after": after, "signed": signer is not None})
    head = _head(settings)
    told = {"sequence": head.sequence, "hash": bytes(head.hash).hex()} if head is not None else {}
    _publish(settings, signer, {"after": after, "reason": reason, "by": who, **told})
    return after


def _known(topic: HeadsTopic) -> list[Published | Begun]:
    return [one for one in topic.newest(LOOKED_AT) if not isinstance(one, Foreign)]


def _ensure(settings: Settings) -> None:
    broker.ensure(broker.reach(settings.kafka), settings.kafka, {settings.audit.topic: 1}, forever=True)


def _publish(settings: Settings, signer: signing.Signer | None, told: dict[str, Any]) -> None:
    topic, at = settings.audit.topic, datetime.now(UTC).isoformat(timespec="microseconds")
    said = {"kind": BEGIN, "at": at, "topic_id": heads.topic_id(settings.kafka, topic), **told}
    heads.publish(heads.producer(settings.kafka), topic, said, signer)


def _compare(settings: Settings, topic: HeadsTopic, newest: Published | Begun | None) -> None:
    """What Kafka had before the state database was looked at, with what is there."""
    head, name = _head(settings), topic.name
    last = head.sequence if head is not None else 0
    if newest is None and topic.end > 0:
        raise OperatorError(f"Topic {name} had heads of an audit log, and has none any more.", _ADVICE)
    if newest is None and topic.topic_id is None and last:
        raise OperatorError(
            f"The audit log has {last:,} entries, and topic {name} with its heads is not there.", _ADVICE
        )
    told = newest.sequence if newest is not None else None
    if not told:
        return
    if told > last:
        raise OperatorError(
            f"Topic {name} tells of an audit log through entry {told}, and the one in the state database has {last}.",
            _ADVICE,
        )
    found = _hash(settings, told)
    if newest is not None and newest.hash is not None and found not in (None, newest.hash):
        raise OperatorError(
            f"Entry {told} of the audit log is not the one that topic {name} tells of: it is another log.", _ADVICE
        )


def _head(settings: Settings) -> Head | None:
    with chain.opened(settings.state.url.get_secret_value()) as connection:
        return chain.find_head(connection)


def _hash(settings: Settings, sequence: int) -> bytes | None:
    """None: its month is sealed, or it is gone, which is for `verify` to say."""
    with chain.opened(settings.state.url.get_secret_value()) as connection:
        row = connection.execute(_ENTRY, [sequence]).fetchone()
        return bytes(row[0]) if row is not None else None
