"""Where the heads of a log begin in Kafka. A signed word stands there, and only a person has it written over a log that
was there before: who rules the database may make that look new, and must not have its past signed away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from daemon import broker
from daemon.audit import actions, chain, signing
from daemon.audit.entry import Head
from daemon.audit.heads import kept as heads
from daemon.audit.heads.faults import vouched
from daemon.audit.heads.standstill import standstill
from daemon.audit.heads.topic import BEGIN, Begun, Foreign, HeadsTopic, Published
from daemon.audit.signing import Signer, Verifier
from daemon.broker import KafkaUnavailable
from daemon.config.audit import Audit
from daemon.config.settings import Settings
from daemon.errors import OperatorError

ACTION = "new-audit-log"
LOOKED_AT = 1_000
"""Newest records of the topic that are compared with the log."""
TRIES = 5
_HASHES = "SELECT sequence, hash FROM placemat.audit_entries WHERE sequence = ANY (%s)"
_ADVICE = (
    "If another daemon uses this topic, set another audit.topic. Else find out why; placemat audit verify says more. To"
    " give up what was there: placemat init --new-audit-log --reason TEXT"
)


@contextmanager
def _told_to_people() -> Iterator[None]:
    """A verb does not wait for Kafka as workers do."""
    try:
        yield
    except KafkaUnavailable as error:
        raise OperatorError(
            f"The heads of the audit log stand in Kafka, and {error}.",
            "See that it answers, and compare section [kafka] of the configuration with what the cluster allows; then"
            " repeat this.",
        ) from error


@_told_to_people()
def check(settings: Settings, *, fresh: bool) -> bool:
    """See that what the topic has are heads of the log in the state database, before anything is made. `fresh`: that
    has no tables yet, so that its log is the first one; whether that one's beginning is to be written.

    Raises OperatorError where there are heads of another log, or none where there were some.
    """
    topic, keys = HeadsTopic(settings.kafka, settings.audit.topic), _keys(settings.audit)
    known = _known(topic)
    if not known and topic.end > 0:
        raise OperatorError(f"Topic {topic.name} had heads of an audit log, and has none any more.", _ADVICE)
    told = _told(known, keys, topic.topic_id)
    head = None if fresh else _head(settings)
    last = head.sequence if head is not None else 0
    if topic.topic_id is None and last:
        raise OperatorError(
            f"The audit log has {last:,} entries, and topic {topic.name} with its heads is not there.", _ADVICE
        )
    _compare(settings, topic.name, told, last)
    if fresh and not all(_is_first(one, keys, topic.topic_id) for one in known):
        raise OperatorError(f"In topic {topic.name} another audit log has begun.", _ADVICE)
    return fresh and topic.end == 0 and _first_signer(settings.audit) is not None


@_told_to_people()
def begin(settings: Settings, *, fresh: bool) -> None:
    """Make the topic; and where the state database has no tables yet, and Kafka no record, begin the first log.

    Raises OperatorError as `check` does.
    """
    first = check(settings, fresh=fresh)
    _ensure(settings)
    if first:
        _publish(settings, _first_signer(settings.audit), {"after": None, "sequence": 0})


@_told_to_people()
def check_anew(settings: Settings) -> None:
    """Raise OperatorError where nobody may begin the log anew: who rules only the database must not end one that was
    signed."""
    if not settings.audit.enabled:
        raise OperatorError("The audit log is off.", "Set audit.enabled, and repeat this.", exit_code=2)
    if signing.signer(settings.audit) is not None:
        return
    topic = HeadsTopic(settings.kafka, settings.audit.topic)
    if any(one.signature is not None for one in _known(topic)):
        raise OperatorError(
            f"Topic {topic.name} has signed heads of an earlier audit log, and no key is set to begin another one.",
            "Set audit.signing_key, or another audit.topic, and repeat this.", exit_code=2,
        )  # fmt: skip
    _first_signer(settings.audit)


@_told_to_people()
def begin_anew(settings: Settings, reason: str, by: str | None) -> int | None:
    """Enter who asks for it and why, and say it in the topic: the heads before it are not compared any more. The newest
    entry that they tell of, or None.

    Raises OperatorError as `check_anew` does, and while a worker of the log is at work.
    """
    check_anew(settings)
    with standstill(settings):
        _ensure(settings)
        topic, signer = HeadsTopic(settings.kafka, settings.audit.topic), signing.signer(settings.audit)
        after = max((one.sequence for one in _known(topic) if isinstance(one, Published)), default=None)
        who = by or actions.person()
        actions.record(
            settings, ACTION, who, reason, {"topic": topic.name, "after": after, "signed": signer is not None}
        )
        head = _head(settings)
        told = {"sequence": head.sequence, "hash": bytes(head.hash).hex()} if head is not None else {}
        _publish(settings, signer, {"after": after, "reason": reason, "by": who, **told})
        return after


def _known(topic: HeadsTopic) -> list[Published | Begun]:
    return [one for one in topic.newest(LOOKED_AT) if not isinstance(one, Foreign)]


def _keys(audit: Audit) -> Mapping[str, Verifier]:
    """Those that are at hand: nothing is signed by looking, so the private key may be elsewhere."""
    try:
        return signing.verifiers(audit)
    except OperatorError:
        if audit.public_key is None:
            raise
        return signing.verifiers(audit, audit.public_key)


def _first_signer(audit: Audit) -> Signer | None:
    """Who signs where a log begins: with a public key, nobody believes a beginning that is not signed."""
    signer = signing.signer(audit)
    if signer is None and audit.public_key is not None:
        raise OperatorError(
            "A public key is set, and no key that signs where the audit log begins.",
            "Set audit.signing_key for this placemat init, or audit.public_key later, too.", exit_code=2,
        )  # fmt: skip
    return signer


def _ensure(settings: Settings) -> None:
    broker.ensure(broker.reach(settings.kafka), settings.kafka, {settings.audit.topic: 1}, forever=True)


def _publish(settings: Settings, signer: Signer | None, told: dict[str, Any]) -> None:
    """Write a word that counts only at the offset that it names: nobody else can write it there again."""
    at, producer = datetime.now(UTC).isoformat(timespec="microseconds"), heads.producer(settings.kafka)
    for _ in range(TRIES):
        topic = HeadsTopic(settings.kafka, settings.audit.topic)
        said = {"kind": BEGIN, "at": at, "topic_id": topic.topic_id, "offset": topic.end, **told}
        if heads.publish(producer, topic.name, said, signer) == topic.end:
            return
    raise OperatorError(
        f"Others write to topic {settings.audit.topic}: nothing stands where it was signed for.",
        "Find out who, and repeat this: only placemat should be allowed to write there.",
    )


def _told(
    known: Sequence[Published | Begun], keys: Mapping[str, Verifier], topic_id: str | None
) -> list[tuple[int, bytes | None]]:
    """Entries and hashes that tell of the newest log: what is signed, where anything is, from its last word on."""
    told = [one for one in known if vouched(one, keys, topic_id)] or known
    begins = max((at for at, one in enumerate(told) if isinstance(one, Begun)), default=0)
    return [(one.sequence, one.hash) for one in told[begins:] if one.sequence]


def _is_first(one: Published | Begun, keys: Mapping[str, Verifier], topic_id: str | None) -> bool:
    """Whether it is a beginning of a first log by our key: of an `init` that was broken off behind it."""
    return isinstance(one, Begun) and one.sequence == 0 and vouched(one, keys, topic_id)


def _compare(settings: Settings, topic: str, told: Sequence[tuple[int, bytes | None]], last: int) -> None:
    newest = max((sequence for sequence, _ in told), default=0)
    if newest > last:
        raise OperatorError(
            f"Topic {topic} tells of an audit log through entry {newest}, and the one in the state database has"
            f" {last}.",
            _ADVICE,
        )
    found = _hashes(settings, [sequence for sequence, _ in told]) if told else {}
    for sequence, hash_ in sorted((sequence, hash_) for sequence, hash_ in told if hash_ is not None):
        if found.get(sequence, hash_) != hash_:
            raise OperatorError(
                f"Entry {sequence} of the audit log is not the one that topic {topic} tells of: it is another log.",
                _ADVICE,
            )


def _head(settings: Settings) -> Head | None:
    with chain.opened(settings.state.url.get_secret_value()) as connection:
        return chain.find_head(connection)


def _hashes(settings: Settings, sequences: Sequence[int]) -> dict[int, bytes]:
    """Of those that are there: others are in sealed months, or are gone, which is for `verify` to say."""
    with chain.opened(settings.state.url.get_secret_value()) as connection:
        rows = connection.execute(_HASHES, [list(sequences)]).fetchall()
        return {sequence: bytes(hash_) for sequence, hash_ in rows}
