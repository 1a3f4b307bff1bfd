"""How a second terminal finds a running demo or `dev`: one private file for each, gone when it ends."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from daemon.embedded.process import Process
from daemon.errors import OperatorError


class Running(BaseModel):
    """A demo or `dev` that runs now. `pid` is the demo's own, or that of a server of `dev`."""

    model_config = ConfigDict(frozen=True)

    name: Literal["demo", "dev"]
    pid: int
    created: float
    """When that process began, in seconds since 1970: tells it from a later one with its pid."""
    dsns: Mapping[str, str]
    """URL by name: primary, empathy_ledger, state."""
    bootstrap_servers: str
    config: Path | None = None
    """The `placemat.toml` in use."""


def describe(
    name: Literal["demo", "dev"],
    *,
    dsns: Mapping[str, str],
    bootstrap_servers: str,
    config: Path | None = None,
    process: Process | None = None,
) -> Running:
    """An entry for `process`, or for this very process."""
    owner = process or Process.current()
    return Running(
        name=name,
        pid=owner.pid,
        created=owner.created,
        dsns=dsns,
        bootstrap_servers=bootstrap_servers,
        config=config.absolute() if config else None,
    )


@contextmanager
def register(running: Running) -> Iterator[None]:
    """Be found by other terminals for as long as the block runs."""
    add(running)
    try:
        yield
    finally:
        remove(running)


def add(running: Running) -> None:
    """Write the entry, whole or not at all, for nobody else to read: it holds passwords."""
    with tempfile.NamedTemporaryFile("w", dir=_make_directory(), prefix="new-", delete=False) as file:
        file.write(running.model_dump_json())
    Path(file.name).replace(_file(running))


def remove(running: Running) -> None:
    _file(running).unlink(missing_ok=True)


def find(name: Literal["demo", "dev"] | None = None) -> Running | None:
    """What runs now, the newest first, of the given name if one is given. Entries of the dead are swept away."""
    alive = []
    for file in _place().glob("*.json"):
        entry = _read(file)
        if entry is None or Process.find(entry.pid, entry.created) is None:
            file.unlink(missing_ok=True)
        elif name in {None, entry.name}:
            alive.append(entry)
    return max(alive, key=lambda entry: entry.created, default=None)


def _read(file: Path) -> Running | None:
    try:
        return Running.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _file(running: Running) -> Path:
    return _place() / f"{running.name}-{running.pid}.json"


def _place() -> Path:
    return platformdirs.user_state_path("placemat", appauthor=False) / "running"


def _make_directory() -> Path:
    """Ours alone. Raises OperatorError when it cannot be made, or others can enter it."""
    directory = _place()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(
            f"{directory} cannot be made: {error.strerror}.", "Set XDG_STATE_HOME to a directory of your own."
        ) from error
    found = directory.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise OperatorError(f"{directory} is not a directory that only you can enter.", f"chmod 700 {directory}")
    return directory
