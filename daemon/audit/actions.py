"""What operators do is entered before it is done: what cannot be entered is not done."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from daemon.actors import UNKNOWN
from daemon.audit import chain
from daemon.audit.configuration import note_off
from daemon.audit.entry import Draft
from daemon.config.settings import Settings
from daemon.errors import OperatorError


def person() -> str:
    """Who sits at the terminal; a container may have no name for its user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return UNKNOWN


def record(
    settings: Settings,
    action: str,
    by: str | None = None,
    reason: str | None = None,
    details: Mapping[str, Any] | None = None,
    *,
    target: str | None = None,
    source: str | None = None,
    entity: str | None = None,
    key: str | None = None,
    content: str | None = None,
) -> None:
    """Enter that somebody is about to do something, by default the user of the operating system.

    `action` is a word, as that of a verb. `details` must hold no values of rows: those belong into `content`, JSON of
    `before` and `after`, which can be erased. `entity` is `schema.table`, `key` the record key.
    Raises OperatorError when the state database is away, or is not prepared.
    """
    draft = Draft(
        "action", action, "asked", by or person(), source=source, target=target, entity=entity, key=key, reason=reason,
        details={name: value for name, value in (details or {}).items() if value is not None}, content=content,
    )  # fmt: skip
    enter(settings, [draft])


def enter(settings: Settings, drafts: Sequence[Draft]) -> None:
    """Enter actions together; where the log is off, that it is. Raises OperatorError as `record` does."""
    if not drafts:
        return
    try:
        with chain.opened(settings.state.url.get_secret_value()) as connection:
            if settings.audit.enabled:
                chain.append(connection, drafts)
            else:
                note_off(connection, drafts[0].who)
            connection.commit()
    except psycopg.Error as error:
        raise OperatorError(
            f"The audit log does not take that {drafts[0].op} was asked for ({type(error).__name__}): it was not done.",
            "See that the state database answers and is prepared: placemat init",
        ) from error
