"""Whether the audit log is as it was written: its chain, its values, and what was signed and published of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from daemon.audit import chain, segments, signing
from daemon.audit.entry import GENESIS, Entry, Values
from daemon.audit.erasing import erasures
from daemon.audit.findings import AuditReport
from daemon.audit.heads.claims import Claims
from daemon.audit.heads.published import Reading
from daemon.audit.heads.topic import HeadsTopic
from daemon.audit.segments import Segment
from daemon.audit.signing import Verifier
from daemon.audit.walk import Erasures, Walk
from daemon.config.settings import Settings
from daemon.errors import OperatorError, Unavailable

PAGE = 2_000

_ENTRIES = f"""
{chain.ENTRIES.replace("FROM", ", kept.salt, kept.content FROM")}
LEFT JOIN placemat.audit_values AS kept USING (sequence, month) ORDER BY sequence
"""
_COUNT = "SELECT count(*) FROM placemat.audit_entries"
_GUARDS = """
SELECT relname FROM pg_class AS kept
WHERE relnamespace = 'placemat'::regnamespace AND relkind IN ('r', 'p')
  AND relname ~ '^audit_(entries|values|checkpoints|segments)(_[0-9_]+)?$'
  AND (SELECT count(*) FROM pg_trigger WHERE tgrelid = kept.oid AND tgname IN ('audit_guard', 'audit_guard_all')
       AND tgenabled = 'A') < 2
ORDER BY relname
"""

OnProgress = Callable[[int, int], None]
"""Entries looked at, and how many there are."""


def verify(
    settings: Settings, *, public: str | None = None, files: Path | None = None,
    on_progress: OnProgress = lambda _done, _all: None,
) -> AuditReport:  # fmt: skip
    """Look at everything. `public`: public keys, else those of the settings; `files`: where sealed segments stand.

    Raises OperatorError when the state database cannot be reached, or a key cannot be read.
    """
    report = AuditReport()
    keys = signing.verifiers(settings.audit, public)
    topic = _topic(settings, report)
    with chain.opened(settings.state.url.get_secret_value()) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        _Verification(connection, report, keys, on_progress).run(topic, files)
        connection.rollback()
    return report


def _topic(settings: Settings, report: AuditReport) -> HeadsTopic | None:
    """What Kafka has before the log is looked at: it may grow meanwhile."""
    try:
        return HeadsTopic(settings.kafka, settings.audit.topic)
    except (OperatorError, Unavailable) as error:
        report.unproven.append(f"heads in Kafka were not compared: {str(error).rstrip('.')}")
        return None


class _Verification:
    def __init__(
        self, connection: psycopg.Connection[Any], report: AuditReport, keys: Mapping[str, Verifier],
        on_progress: OnProgress,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._report = report
        self._keys = keys
        self._on_progress = on_progress
        self._boundaries: dict[int, bytes] = {}
        """Hashes that sealed segments tell, by number of their entry."""
        self._unsigned: list[Segment] = []
        """Sealed segments without a signature, which no entry says they had."""

    def run(self, topic: HeadsTopic | None, files: Path | None) -> None:
        head = chain.find_head(self._connection)
        seals = segments.seals(self._connection)
        walk = self._walk(self._segments(segments.told(seals), files))
        last = max(walk.expected - 1, 0)
        if head is None:
            self._report.find("head", None, "the log has no head any more: somebody has deleted it")
        elif head.sequence > last:
            sentence = f"entries {last + 1} to {head.sequence} are missing at the end: the head tells of them"
            self._report.find("removed_at_end", last + 1, sentence)
        elif head.sequence < last or (walk.previous is not None and bytes(head.hash) != walk.previous):
            self._report.find("head", head.sequence, f"the head tells of entry {head.sequence}, and is another one's")
        claims = Claims(self._connection, self._report, self._keys, self._boundaries, last)
        claims.check_checkpoints(seals)
        if topic is not None:
            told = Reading(topic, claims, self._keys).run(last)
            claims.first_signed = min((one for one in (claims.first_signed, told) if one is not None), default=None)
        self._check_guards()
        for one in self._unsigned if self._keys else ():
            segments.check_unsigned(one, claims.first_signed, self._report)
        if not self._keys:
            self._report.unproven.append(
                "no signature was checked, as no key is known (audit.public_key): who rules the state database could"
                " have written all of it anew, but for what Kafka's heads tell"
            )
        elif not self._report.checkpoints and last:
            self._report.unproven.append("no checkpoint is there yet")
        if self._report.proven is not None and self._report.proven < last:
            self._report.unproven.append(
                f"entries {self._report.proven + 1} to {last} came after what was signed or published"
            )

    def _segments(self, told: Mapping[date, Segment], files: Path | None) -> list[Segment]:
        """Those that entries tell, and those of which only a row is there."""
        rows = {one.month: one for one in segments.read(self._connection)}
        for month, row in rows.items():
            self._report.segments += 1
            said = told.get(month)
            segments.check(row, said, self._keys, self._report)
            if row.signature is None and not segments.was_signed(row, said):
                self._unsigned.append(said or row)
        for one in (one for month, one in told.items() if month not in rows):
            self._report.find("segment_gone", one.first, f"{one.name} was dropped")
        found = sorted({**rows, **told}.values(), key=lambda one: one.first)
        if files is not None:
            for one in found:
                segments.check_file(one, files, self._report)
        return found

    def _walk(self, sealed: Sequence[Segment]) -> Walk:
        walk = Walk(self._report, self._erasures(), 1, GENESIS)
        for one in sealed:
            if one.first > walk.expected:
                self._report.find(
                    "removed", walk.expected,
                    f"entries {walk.expected} to {one.first - 1}, before the segment {one.month:%Y-%m}, are missing",
                )  # fmt: skip
            elif walk.previous is not None and one.previous != walk.previous:
                sentence = f"the segment {one.month:%Y-%m} does not follow what stands before it"
                self._report.find("segment_altered", one.first, sentence)
            walk.expected, walk.previous = one.last + 1, one.hash
            self._boundaries[one.last] = one.hash
        row = self._connection.execute(_COUNT.encode()).fetchone()
        count = row[0] if row else 0
        for done, _ in enumerate(walk.along(self._entries()), 1):
            if done % PAGE == 0:
                self._on_progress(done, count)
        self._on_progress(count, count)
        return walk

    def _entries(self) -> Iterator[tuple[Entry, Values | None]]:
        with self._connection.cursor("audit") as cursor:
            cursor.itersize = PAGE
            for *columns, salt, content in cursor.execute(_ENTRIES.encode()):
                yield Entry(*columns), Values(salt, content) if salt is not None else None

    def _erasures(self) -> Erasures:
        said = erasures.read(self._connection)
        self._report.erasures += [
            {"sequence": one.sequence, "source": one.source, "entity": one.entity, "key": one.key, "by": one.who,
             "entries": one.details.entries}
            for one in said if one.outcome == erasures.DONE
        ]  # fmt: skip
        self._report.unfinished += [one.to_json() for one in erasures.unfinished(said)]
        return erasures.covering(said)

    def _check_guards(self) -> None:
        for (name,) in self._connection.execute(_GUARDS.encode()).fetchall():
            self._report.find("guard", None, f"the database does not refuse changes of placemat.{name} any more")
