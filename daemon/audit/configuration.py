"""Changes of the configuration, told when a daemon starts with it: which keys are other ones than last time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import psycopg
import structlog
from pydantic import BaseModel, SecretStr

from daemon.audit import chain
from daemon.audit.actions import person
from daemon.audit.entry import Draft
from daemon.config.settings import Settings
from daemon.errors import OperatorError

_READ = "SELECT settings FROM placemat.audit_configuration"
_WRITE = """
INSERT INTO placemat.audit_configuration (id, settings) VALUES (1, %s)
ON CONFLICT (id) DO UPDATE SET settings = EXCLUDED.settings
"""
log = structlog.get_logger(__name__)


def note_changes(settings: Settings) -> list[str]:
    """Enter which keys have changed since a daemon last started, and keep what they are now; those keys.

    A state database that is away is told by the workers, which cannot do without it either.
    """
    if not settings.audit.enabled:
        return []
    now = dict(flat(settings))
    try:
        with chain.opened(settings.state.url.get_secret_value()) as connection:
            head = chain.lock_head(connection)
            row = connection.execute(_READ).fetchone()
            changed = sorted(differing(row[0], now)) if row is not None else []
            if row is None or changed:
                details = {"changed": changed} if row is not None else {"first": True}
                chain.append(connection, [Draft("action", "configuration", "done", person(), details=details)], head)
                connection.execute(_WRITE, [orjson.dumps(now).decode()])
            connection.commit()
            return changed
    except (OperatorError, psycopg.Error) as error:
        log.warning("configuration cannot be compared", error=str(error))
        return []


def flat(settings: BaseModel) -> Iterator[tuple[str, Any]]:
    """Every key that is set, by its whole name, with what it is; none that is secret."""
    yield from _flat("", settings)


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Keys that were added, taken away, or have another value."""
    return {name for name in {*before, *now} if name not in before or name not in now or before[name] != now[name]}


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, SecretStr):
        return
    if isinstance(value, BaseModel):
        value = {field: getattr(value, field) for field in type(value).model_fields}
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), inner)
    else:
        yield name, orjson.loads(orjson.dumps(value, default=str))
