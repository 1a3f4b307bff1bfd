"""The slot at the start of a capture: is it ours to read, and is it where we left it?"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

from daemon.capture.reader import Reader
from daemon.errors import GAP_ADVICE, OperatorError
from daemon.state.capture import Claim
from schemas.position import era_of, format_lsn, parse_lsn

APPLICATION_NAME = "placemat capture"

_HOLDER = """
SELECT s.active_pid, a.application_name
FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
WHERE s.slot_name = %s
"""
_SLOT = "SELECT confirmed_flush_lsn::text, wal_status FROM pg_replication_slots WHERE slot_name = %s"
_UNPUBLISHED = """
SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = %s),
       (SELECT min(wanted) FROM unnest(%s::text[]) AS wanted WHERE NOT EXISTS
        (SELECT FROM pg_publication_tables WHERE pubname = %s AND schemaname || '.' || tablename = wanted))
"""


def refuse_strangers(reader: Reader, source: str, slot: str) -> None:
    """A slot in use is waited for when another capture of ours reads it, or nobody does any more.

    Raises OperatorError when something else reads it.
    """
    found = reader.query(_HOLDER, [slot])
    if found is None or found[0] is None:
        return
    pid, name = found
    if name is not None and name.startswith(APPLICATION_NAME):
        return
    raise OperatorError(
        f"Slot {slot} of source {source} is in use by another program ({name or 'unnamed'}, process {pid}).",
        f"Stop that program, or set sources.{source}.slot to a slot of its own.",
    )


def check(reader: Reader, source: str, slot: str, claim: Claim, system_identifier: str) -> None:
    """Raises OperatorError when the server or the slot are not where this source was left."""
    if system_identifier != claim.system_identifier:
        raise OperatorError(
            f"Source {source} is another server than the one that was set up (system identifier {system_identifier},"
            f" not {claim.system_identifier}).",
            f"Correct sources.{source}.url. If that server is gone: {GAP_ADVICE}",
        )
    found = reader.query(_SLOT, [slot])
    if found is None or found[1] == "lost":
        what = "is missing" if found is None else "was invalidated"
        raise OperatorError(
            f"Slot {slot} of source {source} {what}: changes after {format_lsn(claim.flush_lsn)} may be lost.",
            GAP_ADVICE,
        )
    confirmed = parse_lsn(found[0])
    if confirmed > claim.flush_lsn:
        raise OperatorError(
            f"Slot {slot} of source {source} is at {found[0]}, and this daemon has confirmed no more than"
            f" {format_lsn(claim.flush_lsn)}: something else has moved it, and changes are lost.",
            GAP_ADVICE,
        )


def check_history(source: str, claim: Claim, timeline_of: Callable[[int], int]) -> None:
    """Raises OperatorError when something was published that this server never had: it was promoted without it."""
    for position in sorted(position for _, position in claim.acked.values()):
        if era_of(position.timeline) == claim.era and timeline_of(position.commit_lsn) != position.timeline:
            raise OperatorError(
                f"Source {source} was promoted and has no commit {format_lsn(position.commit_lsn)} of timeline"
                f" {position.timeline}, which was published: targets hold what it lost.",
                GAP_ADVICE,
            )


def check_publication(reader: Reader, source: str, publication: str, tables: Sequence[str]) -> None:
    """Raises OperatorError when the publication is gone or leaves out a table.

    From PostgreSQL 18 on the server streams without a publication that is missing: nothing, and no error.
    """
    found = reader.query(_UNPUBLISHED, [publication, list(tables), publication])
    assert found is not None
    exists, left_out = found
    if exists and left_out is None:
        return
    what = f"leaves out {left_out}" if exists else "is missing"
    raise OperatorError(
        f"Publication {publication} of source {source} {what}: changes since that happened are lost.",
        f"Run placemat init to publish it again. {GAP_ADVICE}",
    )


def timeline_of(timeline: int, history: str) -> Callable[[int], int]:
    """A function from a commit's LSN to the timeline that it belongs to.

    `history` is the server's own file: a line `parent <tab> LSN at which it ended <tab> reason` per ancestor.
    """
    ancestors = [line.split("\t")[:2] for line in history.splitlines() if line.strip() and not line.startswith("#")]
    ends = [int(parse_lsn(end)) for _, end in ancestors]
    timelines = [*(int(parent) for parent, _ in ancestors), timeline]
    return lambda lsn: timelines[bisect.bisect_right(ends, lsn)]
