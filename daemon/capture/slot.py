"""The slot, at the start of a capture and while it runs: is it ours to read, and is it where we left it?"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from daemon.errors import GAP_ADVICE, Gap, OperatorError, Unavailable
from daemon.state.capture import Claim
from schemas.position import Position, era_of, format_lsn, parse_lsn

APPLICATION_NAME = "placemat capture"

_HOLDER = """
SELECT s.active_pid, a.application_name, r.reply_time::text
FROM pg_replication_slots s
LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid
WHERE s.slot_name = %s
"""
_SLOT = """
SELECT to_jsonb(s) || jsonb_build_object('here', s.database = current_database(),
                                         'kept', current_setting('max_slot_wal_keep_size'))
FROM pg_replication_slots s WHERE slot_name = %s
"""


class Server(Protocol):
    """A source that can be asked about itself."""

    def query(self, statement: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
        """The first row of the answer."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who reads the slot. `reply` changes with every status that it sends, and is None when that is not to be seen."""

    pid: int
    reply: str | None


def holder(reader: Server, source: str, slot: str) -> Holder | None:
    """The other capture of ours that reads the slot; None when nobody does any more.

    Raises OperatorError when something else reads it.
    """
    found = reader.query(_HOLDER, [slot])
    if found is None or found[0] is None:
        return None
    pid, name, reply = found
    if name is not None and name.startswith(APPLICATION_NAME):
        return Holder(pid, reply)
    raise OperatorError(
        f"Slot {slot} of source {source} is in use by another program ({name or 'unnamed'}, process {pid}).",
        f"Stop that program, or set sources.{source}.slot to a slot of its own.",
    )


def check_server(source: str, slot: str, claim: Claim, system_identifier: str) -> None:
    """Raises Gap when this is another server than the one that was set up, OperatorError when it is another slot."""
    if system_identifier != claim.system_identifier:
        raise Gap(
            f"Source {source} is another server than the one that was set up (system identifier {system_identifier},"
            f" not {claim.system_identifier}).",
            "other_server",
            f"Correct sources.{source}.url. If that server is gone: {GAP_ADVICE}",
        )
    if slot != claim.slot:
        raise OperatorError(
            f"Source {source} was set up with slot {claim.slot}, and sources.{source}.slot is {slot}.",
            f"Set it back; nothing is known of what {slot} has missed.",
        )


def look(reader: Server, slot: str) -> Mapping[str, Any] | None:
    """The server's row of the slot, by column; None where there is none."""
    row = reader.query(_SLOT, [slot])
    return row[0] if row else None


def check(found: Mapping[str, Any] | None, source: str, slot: str, flush_lsn: int) -> None:
    """Raises Gap when the slot is gone, or is not where this source was left.

    `found` is what `look` has seen, `flush_lsn` the highest that the state knew afterwards: what the slot is told is
    stored before, so one that was read earlier may be below what a running capture has told meanwhile.
    """
    since = f"changes after {format_lsn(flush_lsn)} may be lost"
    if found is None:
        raise Gap(f"Slot {slot} of source {source} is missing: {since}.", "slot_missing")
    if found["wal_status"] == "lost" or found.get("invalidation_reason"):
        raise Gap(
            f"Slot {slot} of source {source} was invalidated ({_why(found)}): {since}.",
            "slot_invalidated",
            f"{GAP_ADVICE} Before that, raise the limit that was too low for as long as capture was away.",
        )
    if found["plugin"] != "pgoutput" or not found["here"]:
        raise Gap(
            f"Slot {slot} of source {source} is not the one that was set up (plugin {found['plugin']},"
            f" database {found['database']}): {since}.",
            "slot_not_ours",
        )
    if parse_lsn(found["confirmed_flush_lsn"]) > flush_lsn:
        raise Gap(
            f"Slot {slot} of source {source} is at {found['confirmed_flush_lsn']}, and this daemon has confirmed no"
            f" more than {format_lsn(flush_lsn)}: something else has moved it or made it anew, and changes are lost.",
            "slot_moved",
        )


def check_history(
    source: str, published: Iterable[Position], era: int, timeline: int, timeline_of: Callable[[int], int]
) -> None:
    """Raises Gap when something was published in this era that this server never had."""
    for position in sorted(published):
        known = not position.commit_lsn or era_of(position.timeline) != era
        if not known and timeline_of(position.commit_lsn) != position.timeline:
            raise Gap(
                f"Source {source} is on timeline {timeline} and has no commit {format_lsn(position.commit_lsn)} of"
                f" timeline {position.timeline}, which was published: it was promoted or restored without it, and"
                " targets hold what it lost.",
                "other_timeline",
            )


def await_promotion(reader: Server, source: str) -> None:
    """Raises Unavailable while the server is a standby: marks cannot be written into its log."""
    if reader.query("SELECT pg_is_in_recovery()", []) == (True,):
        raise Unavailable(f"source {source} is a standby: capture waits until it is promoted")


def timeline_of(timeline: int, history: str) -> Callable[[int], int]:
    """A function from a commit's LSN to the timeline that it belongs to.

    `history` is the server's own file: a line `parent <tab> LSN at which it ended <tab> reason` per ancestor.
    """
    ancestors = [line.split("\t")[:2] for line in history.splitlines() if line.strip() and not line.startswith("#")]
    ends = [int(parse_lsn(end)) for _, end in ancestors]
    timelines = [*(int(parent) for parent, _ in ancestors), timeline]
    return lambda lsn: timelines[bisect.bisect_right(ends, lsn)]


def _why(found: Mapping[str, Any]) -> str:
    reason = found.get("invalidation_reason")  # PostgreSQL 17 and newer tell it
    if reason in (None, "wal_removed"):
        return f"wal_removed, max_slot_wal_keep_size is {found['kept']}"
    return str(reason)
