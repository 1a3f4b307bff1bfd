"""What stands in the topic of the audit log's heads: who has signed it, whether all of it is there, and what it tells.

Who rules the state database and writes to Kafka can do three things there: put records behind the others, cut the topic
off at its front, and make it anew. Nobody takes a record out of its middle or its end, and nobody chooses a topic's id:
so signed records tell theirs, and a signed word stands where the heads of a log begin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.audit.claims import Claims
from daemon.audit.findings import AuditReport
from daemon.audit.heads_topic import Begun, Foreign, HeadsTopic, Published, Record, Said
from daemon.audit.signing import Verifier
from daemon.errors import Unavailable

LATE = timedelta(minutes=1)
"""A signed record that is so much older than one before it may have been written there again: that is looked for."""
ADVICE = "where that was on purpose: placemat init --new-audit-log --reason TEXT"


@dataclass(slots=True)
class Era:
    """The heads of one log. `begun` is what stands before them, if that counts; `unsigned` is the last offset before
    anything was signed; `first` is the first record that a known key has signed, unless that is `begun`."""

    claims: Claims
    begun: Begun | None = None
    heads: int = 0
    newest: int = 0
    unsigned: int | None = None
    signed: bool = False
    first: Said | None = None


class Reading:
    """One verification's. Findings on records go into the report; what heads tell of an earlier log does not count."""

    def __init__(self, topic: HeadsTopic, claims: Claims, keys: Mapping[str, Verifier]) -> None:
        self._topic = topic
        self._claims = claims
        self._report: AuditReport = claims.report
        self._keys = keys
        self._era = Era(claims.of_an_era())
        self._next = 0
        """Offset that must follow."""
        self._gone: list[str] = []
        """Where records are missing."""
        self._run: tuple[str, int, int, int | None] | None = None
        """What is wrong with the signatures of neighbouring heads: why, first and last offset, entry of the first."""
        self._newest_at: datetime | None = None
        self._begins: set[bytes] = set()
        self._late: dict[bytes, int] = {}
        """Offsets of signed records that may be there twice."""

    def run(self, last: int) -> int | None:
        """Look at all of it; the first entry of which a signed head tells. `last`: the log's newest entry."""
        try:
            for page in self._topic.read():
                self._look(page)
            self._look_for_repeated()
            self._check_end(last)
        except Unavailable as error:
            self._report.unproven.append(f"not all heads in Kafka were compared: {error}")
        self._end_run()
        self._check_gone()
        found = self._era.claims
        self._report.take(found.report)
        self._report.heads = self._era.heads
        return found.first_signed

    def _look(self, page: list[Record]) -> None:
        hashes = self._claims.hashes([one.sequence for one in page if isinstance(one, Published)])
        for one in page:
            if one.offset > self._next:
                self._gone.append(self._topic.place(self._next, one.offset - 1))
            self._next = one.offset + 1
            if isinstance(one, Foreign):
                self._report.find("foreign", None, f"the record at {self._topic.place(one.offset)} is no head of ours")
            elif isinstance(one, Published):
                self._head(one, hashes)
            else:
                self._begin(one)

    def _head(self, one: Published, hashes: Mapping[int, bytes]) -> None:
        era = self._era
        era.heads += 1
        wrong = self._fault(one)
        self._wrong(wrong, one)
        if wrong is not None:
            return
        era.newest = one.sequence
        what = f"the head in Kafka at offset {one.offset}"
        vouched = not self._keys or one.signature is not None
        era.claims.compare(what, one.sequence, one.hash, hashes, vouched=vouched)
        if one.signature is None:
            era.unsigned = one.offset if not era.signed else era.unsigned
        elif self._keys:
            era.signed, era.first = True, era.first or one
            era.claims.first_signed = min(era.claims.first_signed or one.sequence, one.sequence)
            self._note_time(one)
        if one.checkpoint is not None:
            era.claims.expect(one.checkpoint, f"{what} tells of it")
        elif one.signature is not None:
            era.claims.expect_any(one.sequence, f"{what} was signed, and no checkpoint is there")

    def _fault(self, one: Said) -> str | None:
        """What is wrong with its signature. Unsigned ones from before anything was signed are not proven, no more."""
        if not self._keys:
            return None
        if one.signature is None:
            return "not signed, unlike others before" if self._era.signed else None
        key = self._keys.get(one.key_id or "")
        if key is None:
            return "signed by a key that is not known"
        if not key.holds(one.said, one.signature):
            return "not signed by the key that it names"
        if one.topic_id is not None and one.topic_id != self._topic.topic_id:
            return "written to another topic: it is a copy, or the topic was made anew"
        return None

    def _wrong(self, why: str | None, one: Published) -> None:
        """Neighbours with the same fault are one finding."""
        if self._run is not None and self._run[0] == why and self._run[2] == one.offset - 1:
            self._run = (why, self._run[1], one.offset, self._run[3])
        elif why is not None or self._run is not None:
            self._end_run()
            self._run = (why, one.offset, one.offset, one.sequence) if why is not None else None

    def _end_run(self) -> None:
        if self._run is None:
            return
        why, first, last, sequence = self._run
        self._run = None
        which = "the head in Kafka at" if first == last else "the heads in Kafka at"
        verb = "was" if first == last else "were"
        self._report.find("signature", sequence, f"{which} {self._topic.place(first, last)} {verb} {why}")

    def _begin(self, one: Begun) -> None:
        """Another log begins there. Only a key ends one that was signed, and only once with the same word."""
        self._end_run()
        wrong = self._fault(one)
        if wrong is None and one.signature is not None and one.signature in self._begins:
            wrong = "there before: it was written again"
        if wrong is not None:
            sentence = f"the record in Kafka at {self._topic.place(one.offset)} begins another log, and was {wrong}"
            self._report.find("signature", None, sentence)
            return
        if one.signature is not None:
            self._begins.add(one.signature)
        before, proven = self._era, bool(self._keys) and one.signature is not None
        if before.heads or before.begun is not None or one.after is not None:
            self._tell_earlier(before, one)
        self._era = Era(self._claims.of_an_era(), one, signed=proven)
        if one.sequence and one.hash is not None:
            what = f"the record in Kafka at offset {one.offset}, where the log begins,"
            hashes = self._claims.hashes([one.sequence])
            self._era.claims.compare(what, one.sequence, one.hash, hashes, vouched=proven or not self._keys)

    def _tell_earlier(self, before: Era, one: Begun) -> None:
        earlier = f"Kafka has {before.heads:,} heads of it, through entry {max(before.newest, one.after or 0)}"
        why = f" ({one.reason})" if one.reason is not None else ""
        self._report.unproven.append(
            f"what the log before this one said: {earlier}; another one begins at {one.at.isoformat()}{why}"
        )

    def _note_time(self, one: Published) -> None:
        if self._newest_at is not None and one.signature is not None and one.at < self._newest_at - LATE:
            self._late[one.signature] = one.offset
        self._newest_at = max(self._newest_at or one.at, one.at)

    def _look_for_repeated(self) -> None:
        """Of those that came late: which stand there before, too."""
        if not self._late:
            return
        until = max(self._late.values())
        for page in self._topic.read():
            for one in page:
                if isinstance(one, Published) and one.offset < self._late.get(one.signature or b"", 0):
                    again = self._topic.place(self._late.pop(one.signature or b""))
                    sentence = f"the head in Kafka at {again} is the one at offset {one.offset}, written there again"
                    self._report.find("repeated", one.sequence, sentence)
            if not self._late or page[-1].offset >= until:
                return

    def _check_end(self, last: int) -> None:
        """That the topic goes on to its end, and that somebody has signed where the heads begin."""
        if self._next < self._topic.end:
            self._gone.append(self._topic.place(self._next, self._topic.end - 1))
        if self._topic.topic_id is None:
            self._gone_or_unproven(f"topic {self._topic.name}, which has the heads of the log, is not there")
        elif self._keys:
            self._check_beginning()
        elif self._topic.end == 0 and last:
            self._report.unproven.append(
                f"topic {self._topic.name} has no heads: none was published yet, or it was made anew"
            )

    def _check_beginning(self) -> None:
        era, name = self._era, self._topic.name
        first = era.begun if era.begun is not None and era.begun.signature is not None else era.first
        if first is None:
            self._report.find(
                "unsigned", None,
                f"nothing in topic {name} is signed by a key that is known: heads were taken away, or a key was set and"
                f" nobody has said so ({ADVICE})",
            )  # fmt: skip
        elif first.topic_id is None:
            self._report.unproven.append(
                f"an earlier placemat has begun the heads in topic {name}: it did not sign where they stand, so nobody"
                f" can tell whether the topic was made anew with some of them ({ADVICE})"
            )
        elif not isinstance(first, Begun):
            self._report.find(
                "unsigned", None,
                f"no signed word stands before the first signed head, at {self._topic.place(first.offset)}: the topic"
                f" was made anew, or a key was set and nobody has said so ({ADVICE})",
            )  # fmt: skip
        if era.unsigned is not None:
            self._report.unproven.append(f"heads in Kafka through offset {era.unsigned} are not signed")

    def _check_gone(self) -> None:
        """Records that were cut off, or taken out by compaction."""
        if self._gone:
            more = f", and at {len(self._gone) - 1} more places" if len(self._gone) > 1 else ""
            self._gone_or_unproven(f"what stood in Kafka at {self._gone[0]} is gone{more}: heads were taken away")

    def _gone_or_unproven(self, sentence: str) -> None:
        if self._keys:
            self._report.find("heads_gone", None, sentence)
        else:
            self._report.unproven.append(sentence)
