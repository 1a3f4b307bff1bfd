"""What stands in the topic of the audit log's heads: who has signed it, whether all of it is there, and what it tells.

Who rules the state database and writes to Kafka can do three things there: put records behind the others, cut the topic
off at its front, and make it anew. Nobody takes a record out of its middle or its end, and nobody chooses a topic's id:
so signed records tell theirs, and a signed word stands where the heads of a log begin.
"""

from __future__ import annotations

from collections.abc import Mapping

from daemon.audit.findings import AuditReport
from daemon.audit.heads.claims import Claims
from daemon.audit.heads.eras import Era, Eras
from daemon.audit.heads.faults import signature_fault
from daemon.audit.heads.repeats import Repeats
from daemon.audit.heads.topic import Begun, Foreign, HeadsTopic, Published, Record, Said
from daemon.audit.signing import Verifier
from daemon.errors import Unavailable

ADVICE = "where that was on purpose: placemat init --new-audit-log --reason TEXT"


class Reading:
    """One verification's. What is found counts for the log whose heads stand there."""

    def __init__(self, topic: HeadsTopic, claims: Claims, keys: Mapping[str, Verifier]) -> None:
        self._topic = topic
        self._claims = claims
        self._report: AuditReport = claims.report
        self._keys = keys
        self._eras = Eras(claims)
        self._repeats = Repeats(topic)
        self._next = 0
        """Offset that must follow."""
        self._run: tuple[str, int, int, int | None] | None = None
        """What is wrong with the signatures of neighbouring heads: why, first and last offset, entry of the first."""

    @property
    def _era(self) -> Era:
        return self._eras.now

    def run(self, last: int) -> int | None:
        """Look at all of it; the first entry of which a signed head tells. `last`: the log's newest entry."""
        try:
            for page in self._topic.read():
                self._look(page)
            self._repeats.look()
            self._check_end(last)
        except Unavailable as error:
            self._report.unproven.append(f"not all heads in Kafka were compared: {error}")
        self._end_run()
        for era in self._eras.all():
            self._check_gone(era)
        self._eras.tell(self._report)
        return self._era.claims.first_signed

    def _look(self, page: list[Record]) -> None:
        hashes = self._claims.hashes([one.sequence for one in page if isinstance(one, Published)])
        for one in page:
            if one.offset > self._next:
                self._era.gone.append(self._topic.place(self._next, one.offset - 1))
            self._next = one.offset + 1
            if isinstance(one, Foreign):
                sentence = f"the record at {self._topic.place(one.offset)} is no head of ours"
                self._era.records.find("foreign", None, sentence)
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
            self._repeats.note(one, era)
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
        return signature_fault(one, self._keys, self._topic.topic_id)

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
        self._era.records.find("signature", sequence, f"{which} {self._topic.place(first, last)} {verb} {why}")

    def _begin(self, one: Begun) -> None:
        """Another log begins there. Where keys are known, only one of them ends a log, and only by a word for here."""
        self._end_run()
        wrong = self._fault(one)
        if wrong is not None:
            sentence = f"the record in Kafka at {self._topic.place(one.offset)} begins another log, and was {wrong}"
            self._era.records.find("signature", None, sentence)
            return
        if self._keys and one.signature is None:
            self._era.unsigned = one.offset
            return
        self._eras.begin(one, signed=bool(self._keys))
        if one.sequence and one.hash is not None:
            what = f"the record in Kafka at offset {one.offset}, where the log begins,"
            self._era.claims.compare(what, one.sequence, one.hash, self._claims.hashes([one.sequence]))

    def _check_end(self, last: int) -> None:
        """That the topic goes on to its end, and that somebody has signed where the heads begin."""
        if self._next < self._topic.end:
            self._era.gone.append(self._topic.place(self._next, self._topic.end - 1))
        if self._topic.topic_id is None:
            self._gone_or_unproven(f"topic {self._topic.name}, which has the heads of the log, is not there", self._era)
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
            era.records.find(
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
            era.records.find(
                "unsigned", None,
                f"no signed word stands before the first signed head, at {self._topic.place(first.offset)}: the topic"
                f" was made anew, or a key was set and nobody has said so ({ADVICE})",
            )  # fmt: skip
        if era.unsigned is not None:
            self._report.unproven.append(f"heads in Kafka through offset {era.unsigned} are not signed")

    def _check_gone(self, era: Era) -> None:
        """Records that were cut off, or taken out by compaction."""
        if era.gone:
            more = f", and at {len(era.gone) - 1} more places" if len(era.gone) > 1 else ""
            self._gone_or_unproven(f"what stood in Kafka at {era.gone[0]} is gone{more}: heads were taken away", era)

    def _gone_or_unproven(self, sentence: str, era: Era) -> None:
        if self._keys:
            era.records.find("heads_gone", None, sentence)
        elif era is self._era:
            self._report.unproven.append(sentence)
