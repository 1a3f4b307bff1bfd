"""What is wrong with a record in the topic of the heads: who has signed it, for which topic and which place. Pure.

Who writes to Kafka without the key can write there again what was signed once, in this topic or in another one.
"""

from __future__ import annotations

from collections.abc import Mapping

from daemon.audit.heads.topic import Begun, Said
from daemon.audit.signing import Verifier


def signature_fault(one: Said, keys: Mapping[str, Verifier], topic_id: str | None) -> str | None:
    """Why its signature does not count, as the end of a sentence; None where it does. It must have one."""
    assert one.signature is not None, "what is not signed is for others to judge"
    key = keys.get(one.key_id or "")
    if key is None:
        return "signed by a key that is not known"
    if not key.holds(one.said, one.signature):
        return "not signed by the key that it names"
    # Heads of an earlier placemat do not tell their topic; words that begin a log always did.
    if one.topic_id != topic_id and (one.topic_id is not None or isinstance(one, Begun)):
        return "written to another topic: it is a copy, or the topic was made anew"
    if isinstance(one, Begun) and one.stands_at != one.offset:
        return f"signed for offset {one.stands_at}: it was written there again, or by an earlier placemat"
    return None


def vouched(one: Said, keys: Mapping[str, Verifier], topic_id: str | None) -> bool:
    """Whether a known key has signed it, for where it stands."""
    return one.signature is not None and signature_fault(one, keys, topic_id) is None
