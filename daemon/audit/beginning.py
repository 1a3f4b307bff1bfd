"""A log that begins in a new state database, where Kafka has heads of an earlier one."""

from __future__ import annotations

from datetime import UTC, datetime

from daemon.audit import heads, signing
from daemon.audit.heads import Begun, HeadsTopic
from daemon.config.settings import Settings
from daemon.errors import OperatorError


def begin(settings: Settings) -> int | None:
    """Say in the topic that the heads in it are of an earlier log; the newest entry that they tell of, or None where
    there is nothing to be said. For a state database that has no tables yet: safe to repeat.

    Raises OperatorError when the earlier log was signed and no key is set: who rules only the database must not end
    one.
    """
    topic = settings.audit.topic
    last = HeadsTopic(settings.kafka, topic).last()
    if last is None or isinstance(last, Begun):
        return None
    signer = signing.signer(settings.audit)
    if last.signed and signer is None:
        raise OperatorError(
            f"Topic {topic} has signed heads of an earlier audit log, and no key is set to begin another one.",
            "Set audit.signing_key, or another audit.topic, and repeat this.", exit_code=2,
        )  # fmt: skip
    said = {"kind": heads.BEGIN, "at": datetime.now(UTC).isoformat(timespec="seconds"), "after": last.sequence}
    producer = heads.producer(settings.kafka)
    heads.publish(producer, topic, said, signer)
    return last.sequence
