"""Erasing a person's values from the audit log, and from what hubs keep beside their rows.

The chain still verifies, as it runs over salted hashes. Hubs are committed first, then the log with what went where.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import psycopg

from connectors.contract import TryAgain
from daemon.audit import chain
from daemon.audit.actions import person
from daemon.audit.entry import Draft
from daemon.errors import OperatorError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connectors.erasing import Erasing, Held
    from daemon.config.settings import Settings

OBSERVED_SECONDS = 5.0
"""How long the hub's own stream may take to tell whether a row is there."""

_SAMPLE = "SELECT key FROM placemat.audit_entries WHERE entity = %s AND key IS NOT NULL ORDER BY sequence DESC LIMIT 1"
_HELD = """
SELECT count(*) FROM placemat.audit_entries AS entry JOIN placemat.audit_values USING (sequence, month)
WHERE entry.entity = %s AND entry.key = %s
"""
_ERASE = """
DELETE FROM placemat.audit_values AS kept USING placemat.audit_entries AS entry
WHERE entry.sequence = kept.sequence AND entry.month = kept.month AND entry.entity = %s AND entry.key = %s
"""
_SEGMENTS = "SELECT file FROM placemat.audit_segments ORDER BY month"
_AGAIN = "Repeat this once it answers: what is erased already stays so."


def _none_parked(_table: str, _key: str) -> Mapping[str, int]:
    return {}


@dataclass(frozen=True, slots=True)
class Beside:
    """Where else values stand. `parked` tells the number under which a key waits with its events, by target."""

    hubs: Sequence[Erasing] = ()
    parked: Callable[[str, str], Mapping[str, int]] = _none_parked


@dataclass(frozen=True, slots=True)
class Erasure:
    """`entries` had values; `files` are sealed segments, which this does not reach; `hubs` what each of them kept."""

    entity: str
    key: str
    entries: int
    files: list[str]
    hubs: dict[str, Held] = field(default_factory=dict)


def erase(
    settings: Settings, beside: Beside, entity: str, key: str, reason: str, by: str | None = None, *, dry_run: bool
) -> Erasure:
    """Delete values and salts of every entry of a key and what hubs keep of it, and enter that. `key` is JSON, or the
    plain value of one column.

    Raises OperatorError when nothing is known of that key, when something of it waits for a person or is parked, and
    when the log is off or somebody is away; the sentence says what was erased then.
    """
    if not settings.audit.enabled:
        raise OperatorError("The audit log is off.", "Set audit.enabled, and repeat this.")
    with chain.opened(settings.state.url.get_secret_value()) as connection:
        text = key_of(connection, entity, key, beside)
        files = [file for (file,) in connection.execute(_SEGMENTS).fetchall()]
        connection.commit()
        _refuse_parked(beside, entity, text)
        with _nothing_erased():
            head = None if dry_run else chain.lock_head(connection)
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            held = {hub.hub: _look(hub, entity, text) for hub in beside.hubs}
            row = connection.execute(_HELD, [entity, text]).fetchone()
            done = Erasure(entity, text, row[0] if row else 0, files, held)
            if not done.entries and not any(one.count for one in held.values()):
                raise _nothing_there(done)
            if head is not None:
                connection.execute(_ERASE, [entity, text])
                chain.append(connection, [_draft(done, reason, by)], head)
                for hub in beside.hubs:
                    hub.erase()
        if not dry_run:
            _commit(connection, beside.hubs)
    return done


def key_like(sample: str, given: str) -> str:
    """A key as the log writes it, like a sample, from JSON or the plain value of its one column.

    Raises OperatorError (exit code 2) when it has other columns.
    """
    columns: dict[str, Any] = orjson.loads(sample)
    try:
        value = orjson.loads(given)
    except orjson.JSONDecodeError:
        value = given
    if not isinstance(value, dict):
        value = {name: value if isinstance(like, int) else given for name, like in columns.items()}
        if len(columns) != 1:
            value = {}
    if value.keys() != columns.keys():
        raise OperatorError(
            f"{given} is no key: it has the columns {', '.join(columns)}.", f"Write it like {sample}.", exit_code=2
        )
    return json.dumps({name: value[name] for name in columns}, ensure_ascii=False, separators=(",", ":"))


def key_of(connection: psycopg.Connection[Any], entity: str, given: str, beside: Beside | None = None) -> str:
    """A key as the log writes those of a table. Raises OperatorError (exit code 2) as `key_like` does."""
    row = connection.execute(_SAMPLE, [entity]).fetchone()
    samples = [row[0]] if row is not None else [hub.key_like(entity) for hub in (beside.hubs if beside else ())]
    for sample in samples:
        if sample is not None:
            return key_like(sample, given)
    raise OperatorError(f"The audit log knows nothing of {entity}.", "Name a table as schema.table.", exit_code=2)


def _refuse_parked(beside: Beside, entity: str, key: str) -> None:
    """Events that wait hold whole rows, and may be applied yet."""
    for target, number in beside.parked(entity, key).items():
        raise OperatorError(
            f"{entity} {key} is parked at target {target} under {number}, and events with its values wait there:"
            " nothing was erased.",
            f"placemat dlq discard {number} --target {target}, or redrive it; then repeat this.",
        )


def _look(hub: Erasing, entity: str, key: str) -> Held:
    held = hub.look(entity, key, OBSERVED_SECONDS)
    if held.waiting is not None:
        raise OperatorError(
            f"Conflict {held.waiting} at {hub.hub} waits for a person, who needs the values of {entity} {key}:"
            " nothing was erased.",
            f"Decide it first: placemat conflicts resolve {held.waiting}; then repeat this.",
        )
    return held


def _nothing_there(done: Erasure) -> OperatorError:
    sentence = f"The audit log holds no values of {done.entity} {done.key}"
    advice = "placemat audit show names entities and keys."
    if done.hubs:
        sentence += f", and neither does what is kept at {', '.join(done.hubs)}"
    if any(one.there for one in done.hubs.values()):
        advice = "The row itself is there: delete it, and repeat this once that has come to all sides."
    return OperatorError(f"{sentence}.", advice)


def _draft(done: Erasure, reason: str, by: str | None) -> Draft:
    hubs = {
        name: {
            "conflicts": one.conflicts,
            "decisions": one.decisions,
            "deleted_rows": one.deleted_rows,
            "links": one.links,
        }
        for name, one in done.hubs.items()
    }
    return Draft(
        "action", "erase", "done", by or person(), entity=done.entity, key=done.key, reason=reason,
        details={"entries": done.entries, **({"hubs": hubs} if hubs else {})},
    )  # fmt: skip


@contextmanager
def _nothing_erased() -> Iterator[None]:
    """What goes wrong before the first commit."""
    try:
        yield
    except (Unavailable, TryAgain) as error:
        raise OperatorError(
            f"A hub cannot do it now ({error}): nothing was erased.",
            "See that it answers and that its workers run (placemat status), then repeat this.",
        ) from error


def _commit(connection: psycopg.Connection[Any], hubs: Sequence[Erasing]) -> None:
    """Each hub, then the log. Raises OperatorError that says how far it came."""
    done: list[str] = []
    for hub in hubs:
        try:
            hub.commit()
        except (Unavailable, TryAgain) as error:
            before = f"what {', '.join(done)} kept is erased, " if done else ""
            raise OperatorError(
                f"Hub {hub.hub} went away while it erased ({error}): {before}what it keeps may be or not, and the audit"
                " log's values are not.",
                _AGAIN,
            ) from error
        done.append(hub.hub)
    try:
        connection.commit()
    except psycopg.Error as error:
        before = f"what {', '.join(done)} kept is erased, " if done else ""
        raise OperatorError(
            f"The state database went away while it erased ({type(error).__name__}): {before}the audit log's values may"
            " be or not.",
            _AGAIN,
        ) from error
