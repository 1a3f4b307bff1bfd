"""Changes of the configuration, told when a daemon starts with it: which keys are other ones than last time.

Of a secret nothing is kept but a hash with a salt of its own, so that another one is told. That the log is off is told
by whoever is the first to obey it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import psycopg
import structlog
from pydantic import BaseModel, SecretStr

from daemon.audit import chain
from daemon.audit.entry import Draft, Head
from daemon.config.settings import Settings
from daemon.errors import OperatorError

ENABLED = "audit.enabled"
_SALT_BYTES = 16
_COST = {"n": 2**12, "r": 8, "p": 1}
"""Some milliseconds for each: a short password must not be found by trying."""

_READ = "SELECT settings, secrets FROM placemat.audit_configuration"
_WRITE = """
INSERT INTO placemat.audit_configuration (id, settings, secrets) VALUES (1, %s, %s)
ON CONFLICT (id) DO UPDATE SET settings = EXCLUDED.settings, secrets = EXCLUDED.secrets
"""
_WRITE_OFF = "UPDATE placemat.audit_configuration SET settings = settings || %s::jsonb"
log = structlog.get_logger(__name__)


def note_changes(settings: Settings, by: str) -> list[str]:
    """Enter which keys have changed since a daemon last started, and keep what they are now; those keys.

    Where the log is off, that is entered, and nothing after it. A state database that is away is told by the workers,
    which cannot do without it either.
    """
    try:
        with chain.opened(settings.state.url.get_secret_value()) as connection:
            changed = _note(connection, settings, by)
            connection.commit()
            return changed
    except (OperatorError, psycopg.Error) as error:
        log.warning("configuration cannot be compared", error=str(error))
        return []


def note_off(connection: psycopg.Connection[Any], by: str) -> None:
    """Enter that the log is off, if the newest word of it is that it is on. Raises psycopg.Error."""
    row = connection.execute(_READ).fetchone()
    if row is None or not row[0].get(ENABLED):
        return
    _enter(connection, chain.lock_head(connection), {"changed": [ENABLED]}, by)
    connection.execute(_WRITE_OFF, [orjson.dumps({ENABLED: False}).decode()])


def flat(settings: BaseModel) -> Iterator[tuple[str, Any]]:
    """Every key that is set, by its whole name, with what it is; none that is secret."""
    for name, value in _leaves("", settings):
        if not isinstance(value, SecretStr):
            yield name, orjson.loads(orjson.dumps(value, default=str))


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Keys that were added, taken away, or have another value."""
    return {name for name in {*before, *now} if name not in before or name not in now or before[name] != now[name]}


def _note(connection: psycopg.Connection[Any], settings: Settings, by: str) -> list[str]:
    """Hashes take their time, and all workers wait for who holds the head: what was read is compared before, and
    compared anew where another daemon has been quicker."""
    now, hidden = dict(flat(settings)), dict(_secrets(settings))
    while True:
        row = connection.execute(_READ).fetchone()
        connection.commit()
        if not settings.audit.enabled and (row is None or not row[0].get(ENABLED)):
            return []
        kept: dict[str, list[str]] | None = orjson.loads(row[1]) if row is not None and row[1] is not None else None
        changed = differing(row[0], now) if row is not None else set()
        if kept is not None:
            changed |= {name for name in {*kept, *hidden} if not _is_same(kept.get(name), hidden.get(name))}
        if kept is not None and not changed:
            return []
        hashed = {name: _hashed(text, secrets.token_bytes(_SALT_BYTES)) for name, text in hidden.items()}
        head = chain.lock_head(connection)
        if connection.execute(_READ).fetchone() == row:
            break
        connection.rollback()
    if row is None or changed:
        _enter(connection, head, {"changed": sorted(changed)} if row is not None else {"first": True}, by)
    connection.execute(_WRITE, [orjson.dumps(now).decode(), orjson.dumps(hashed).decode()])
    return sorted(changed)


def _enter(connection: psycopg.Connection[Any], head: Head, details: Mapping[str, Any], by: str) -> None:
    chain.append(connection, [Draft("action", "configuration", "done", by, details=details)], head)


def _secrets(settings: BaseModel) -> Iterator[tuple[str, str]]:
    for name, value in _leaves("", settings):
        if isinstance(value, SecretStr):
            yield name, value.get_secret_value()


def _hashed(text: str, salt: bytes) -> list[str]:
    """Salt and hash, in hexadecimal."""
    return [salt.hex(), hashlib.scrypt(text.encode(), salt=salt, **_COST).hex()]


def _is_same(kept: list[str] | None, text: str | None) -> bool:
    return kept is not None and text is not None and _hashed(text, bytes.fromhex(kept[0])) == kept


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        value = {field: getattr(value, field) for field in type(value).model_fields}
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}" if name else str(key), inner)
    else:
        yield name, value
