"""Logs whose heads stand one after the other in the topic, each behind a word that begins it.

What a record before such a word has wrong with it was given up with the log there: only a key that is known signs that
away, or anybody where none is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from daemon.audit.findings import AuditReport
from daemon.audit.heads.claims import Claims
from daemon.audit.heads.topic import Begun, Said


@dataclass(slots=True)
class Era:
    """The heads of one log. `begun` is what stands before them, if that counts; `unsigned` is the last offset before
    anything was signed; `first` is the first record that a known key has signed, unless that is `begun`; `gone` tells
    where records are missing. `records` has what is wrong with records, `claims` what they tell of the log."""

    claims: Claims
    begun: Begun | None = None
    heads: int = 0
    newest: int = 0
    unsigned: int | None = None
    signed: bool = False
    first: Said | None = None
    gone: list[str] = field(default_factory=list)
    records: AuditReport = field(default_factory=AuditReport)


class Eras:
    """One verification's; `now` is the one that is read."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._ended: list[tuple[Era, Begun]] = []
        self.now = Era(claims.of_an_era())

    def begin(self, word: Begun, *, signed: bool) -> None:
        """Another log begins here."""
        self._ended.append((self.now, word))
        self.now = Era(self._claims.of_an_era(), word, signed=signed)

    def all(self) -> list[Era]:
        return [*(era for era, _ in self._ended), self.now]

    def tell(self, report: AuditReport) -> None:
        """What was found of the log that is there; and of those before it, as what nobody can tell any more."""
        for era, word in self._ended:
            if era.heads or era.begun is not None or word.after is not None:
                report.unproven.append(_earlier(era, word))
            if era.records.findings:
                report.unproven.append(_given_up(era.records, word))
        report.take(self.now.records)
        report.take(self.now.claims.report)
        report.heads = self.now.heads


def _earlier(era: Era, word: Begun) -> str:
    told = f"Kafka has {era.heads:,} heads of it, through entry {max(era.newest, word.after or 0)}"
    why = f" ({word.reason})" if word.reason is not None else ""
    return f"what the log before this one said: {told}; another one begins at {word.at.isoformat()}{why}"


def _given_up(records: AuditReport, word: Begun) -> str:
    count = "1 finding" if records.findings == 1 else f"{records.findings:,} findings"
    by = word.by if word.by is not None else "somebody"
    why = f": {word.reason}" if word.reason is not None else ""
    return f"{count} before offset {word.offset}, given up by {by}{why}; the first was: {records.listed[0].sentence}"
