"""One `placemat.toml`, overridable by `PLACEMAT_…` variables, read once."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from daemon.config.settings import Settings
from daemon.errors import OperatorError

DEFAULT_PATH = Path("placemat.toml")
FAULTS_NAMED = 5


def load(path: Path = DEFAULT_PATH) -> Settings:
    """Read and check the configuration.

    Raises OperatorError (exit code 2) for a file that is missing, is not TOML, or holds what is not understood.
    """
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise OperatorError(
            f"There is no configuration file {path}.", "Write one with: placemat config init", exit_code=2
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise OperatorError(f"{path} is not TOML: {error}.", "Correct that line.", exit_code=2) from None
    try:
        return Settings(**values)
    except ValidationError as error:
        raise OperatorError(
            f"{path} cannot be used: {_faults(error)}.",
            "Correct it; placemat config schema prints every key that there is.",
            exit_code=2,
        ) from None


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False)
    more = f" (and {len(faults) - FAULTS_NAMED} more)" if len(faults) > FAULTS_NAMED else ""
    return "; ".join(map(_fault, faults[:FAULTS_NAMED])) + more


def _fault(fault: ErrorDetails) -> str:
    place = ".".join(_written(fault["loc"]))
    what = "there is no such key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
    return f"{place}: {what}" if place else what


def _written(loc: tuple[int | str, ...]) -> list[str]:
    """As it stands in the file: after what has a kind, pydantic names that too."""
    found = [str(part) for part in loc]
    if found[:1] == ["targets"]:
        del found[2:3]
    if "auth" in found:
        at = found.index("auth") + 1
        del found[at : at + 1]
    return found
