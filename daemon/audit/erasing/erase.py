"""Erasing a person's values from the audit log, and from what hubs keep beside their rows.

The chain still verifies, as it runs over salted hashes. In this order: what is asked for is entered; each hub is
committed; the log's values go, with an entry that says what went where. A death in between leaves what was asked for
as not finished, and the same command finishes it. While hubs are waited for, nobody is kept from entering anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from connectors.contract import TryAgain
from daemon.audit import chain
from daemon.audit.actions import person
from daemon.audit.entry import Draft, Head
from daemon.audit.erasing import erasable, erasures
from daemon.audit.erasing.erasable import Beside, Erasure, Wanted
from daemon.audit.erasing.erasures import Details
from daemon.audit.erasing.mentions import OWN, named
from daemon.audit.erasing.row_names import Name
from daemon.errors import OperatorError, Unavailable
from daemon.seams import AFTER_ERASURE_ASKED, AFTER_HUB_ERASED, seam

if TYPE_CHECKING:
    from connectors.erasing import Erasing, Held
    from daemon.config.settings import Settings

OBSERVED_SECONDS = 5.0
"""How long the hub's own stream may take to tell whether a row is there."""
PATIENCE_MS = 5_000
"""How long others may hold the log's head before this gives up."""

_ERASE = f"""
DELETE FROM placemat.audit_values AS kept USING ({OWN}) AS own
WHERE own.sequence = kept.sequence AND own.month = kept.month
"""
_ERASE_ALSO = "DELETE FROM placemat.audit_values WHERE sequence = ANY (%s)"
_FINISH = "Then repeat this: what is erased already stays so, and the rest is finished."
_AGAIN = "Repeat this once it answers: what is erased already stays so, and the rest is finished."


def erase(
    settings: Settings, beside: Beside, entity: str, key: str, reason: str, by: str | None = None, *,
    source: str | None = None, also: Sequence[int] = (), dry_run: bool,
) -> Erasure:  # fmt: skip
    """Delete values and salts of every entry of a row and what hubs keep of it, and enter that. `key` is JSON, or the
    plain value of one column, as `source` names it; None: the only source of such a table. `also` are entries that are
    not the row's own, of those that it tells as `mentions`.

    Raises OperatorError when nothing is known of that key, when something of it waits for a person or is parked, and
    when the log is off or somebody is away; the sentence says what was erased then.
    """
    if not settings.audit.enabled:
        raise OperatorError("The audit log is off.", "Set audit.enabled, and repeat this.")
    wanted = Wanted(entity, key, reason, by or person(), source, also)
    with chain.opened(settings.state.url.get_secret_value()) as connection:
        with _nothing_erased():
            found = erasable.found(connection, settings, beside, wanted)
        connection.commit()
        _refuse_parked(beside, found)
        with _nothing_erased():
            hubs = [(hub, name) for hub in beside.hubs.hubs if (name := _name_at(hub, found)) is not None]
            held = {hub.hub: _look(hub, name) for hub, name in hubs}
            left = erasable.left(beside.hubs, found.names, found.unfinished, held)
            found = replace(found, hubs=held, left=left)
        if not found.something:
            raise _nothing_there(found)
        if dry_run:
            return found
        asked = _ask(connection, found, wanted)
        seam(AFTER_ERASURE_ASKED)
        _erase_at([hub for hub, _ in hubs], asked)
        seam(AFTER_HUB_ERASED)
        return _finish(connection, found, wanted, asked)


def _name_at(hub: Erasing, found: Erasure) -> Name | None:
    return next((name for name in found.names if name.source == hub.hub), None)


def _refuse_parked(beside: Beside, found: Erasure) -> None:
    """Events that wait hold whole rows, and may be applied yet."""
    for target, number in beside.parked(found.names).items():
        raise OperatorError(
            f"{found.entity} {found.key} is parked at target {target} under {number}, and events with its values wait"
            " there: nothing was erased.",
            f"placemat dlq discard {number} --target {target}, or redrive it; then repeat this.",
        )


def _look(hub: Erasing, name: Name) -> Held:
    held = hub.look(name.entity, name.key, OBSERVED_SECONDS)
    if held.waiting is not None:
        back = "configure again that its table goes both ways, and " if hub.former else ""
        raise OperatorError(
            f"Conflict {held.waiting} at {hub.hub} waits for a person, who needs the values of {name.entity}"
            f" {name.key}: nothing was erased.",
            f"Decide it first: {back}placemat conflicts resolve {held.waiting}; then repeat this.",
        )
    return held


def _nothing_there(found: Erasure) -> OperatorError:
    sentence = f"The audit log holds no values of {found.entity} {found.key}"
    advice = "placemat audit show names entities and keys."
    if found.source is not None:
        sentence += f" of source {found.source}"
    if found.hubs:
        sentence += f", and neither does what is kept at {', '.join(found.hubs)}"
    if found.left:
        sentence += f"; what {', '.join(found.left)} kept is not reached: {'; '.join(found.left.values())}"
        advice = "Let the configuration reach that, and repeat this."
    if any(one.there for one in found.hubs.values()):
        advice = "The row itself is there: delete it, and repeat this once that has come to all sides."
    return OperatorError(f"{sentence}.", advice)


def _ask(connection: psycopg.Connection[Any], found: Erasure, wanted: Wanted) -> int:
    """Enter what is asked for, and what there is; the entry's number."""
    try:
        with _nothing_erased():
            draft = _draft(found, wanted, erasures.ASKED, Details(found.entries))
            head = chain.append(connection, [draft], _lock_head(connection))
        connection.commit()
    except psycopg.Error as error:
        raise OperatorError(
            f"The audit log does not take that an erasure was asked for ({type(error).__name__}): nothing was erased.",
            "See that the state database answers and is prepared: placemat init",
        ) from error
    return head.sequence


def _erase_at(hubs: Sequence[Erasing], asked: int) -> None:
    """Each hub in its own transaction, which has looked. Raises OperatorError that says how far it came."""
    done: list[str] = []
    for hub in hubs:
        before = f"what {', '.join(done)} kept is erased" if done else ""
        erased = f"{before}, and nothing else" if done else "nothing was erased"
        try:
            hub.erase()
        except (Unavailable, TryAgain) as error:
            raise OperatorError(f"Hub {hub.hub} cannot do it now ({error}): {erased}.", _AGAIN) from error
        except OperatorError as error:
            raise _refused(error, erased, asked) from error
        try:
            hub.commit()
        except (Unavailable, TryAgain) as error:
            raise OperatorError(
                f"Hub {hub.hub} went away while it erased ({error}): {f'{before}, ' if done else ''}what it keeps may"
                " be or not, and the audit log's values are not.",
                _AGAIN,
            ) from error
        except OperatorError as error:
            raise _refused(error, erased, asked) from error
        done.append(hub.hub)


def _refused(error: OperatorError, erased: str, asked: int) -> OperatorError:
    sentence = f"{str(error).removesuffix('.')}: {erased}, but entry {asked} says that it was asked for."
    return OperatorError(sentence, f"{error.try_.removesuffix('.')}. {_FINISH}")


def _finish(connection: psycopg.Connection[Any], found: Erasure, wanted: Wanted, asked: int) -> Erasure:
    """The log's part. Raises OperatorError that says how far it came."""
    hubs = ", ".join(found.hubs)
    before = f"what {hubs} kept is erased, " if hubs else ""
    try:
        head = _lock_head(connection)
        count = connection.execute(_ERASE.encode(), named(found.names)).rowcount
        connection.execute(_ERASE_ALSO, [found.also])
        draft = _draft(found, wanted, erasures.DONE, Details(count, asked=asked))
        chain.append(connection, [draft], head)
        connection.commit()
    except TryAgain as error:
        raise OperatorError(
            f"The audit log is busy ({error}): {before}the audit log's values are not.", _AGAIN
        ) from error
    except psycopg.Error as error:
        raise OperatorError(
            f"The state database went away while it erased ({type(error).__name__}): {before}the audit log's values may"
            " be or not.",
            _AGAIN,
        ) from error
    return replace(found, entries=count)


def _lock_head(connection: psycopg.Connection[Any]) -> Head:
    """Raises TryAgain when others hold it for too long."""
    connection.execute(f"SET LOCAL lock_timeout = {PATIENCE_MS}".encode())
    try:
        return chain.lock_head(connection)
    except psycopg.errors.LockNotAvailable as error:
        connection.rollback()
        raise TryAgain("others enter something for long, or seal a month") from error


def _draft(found: Erasure, wanted: Wanted, outcome: str, details: Details) -> Draft:
    details.hubs = {
        name: {
            "conflicts": one.conflicts,
            "decisions": one.decisions,
            "deleted_rows": one.deleted_rows,
            "links": one.links,
        }
        for name, one in found.hubs.items()
    }
    details.names = [(one.source, one.entity, one.key) for one in found.names[1:]]
    details.also = found.also
    details.left = list(found.left)
    return Draft(
        "action", "erase", outcome, wanted.by, source=found.source, entity=found.entity, key=found.key,
        reason=wanted.reason, details=msgspec.to_builtins(details),
    )  # fmt: skip


@contextmanager
def _nothing_erased() -> Iterator[None]:
    """What goes wrong before the first commit."""
    try:
        yield
    except (Unavailable, TryAgain) as error:
        raise OperatorError(
            f"It cannot be done now ({error}): nothing was erased.",
            "See that all answer and that their workers run (placemat status), then repeat this.",
        ) from error
