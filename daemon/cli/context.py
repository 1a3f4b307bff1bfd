"""Options that several verbs take, what was said before the verb, and the configuration that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from daemon.config.settings import Settings


Target = Annotated[str | None, typer.Option(help="Needed only where there are several.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who does it; else the user of the operating system.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it stands in the audit log.")]
Source = Annotated[str | None, typer.Option(help="Where several sources capture a table of that name.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be asked for.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for the worker to do it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@dataclass(frozen=True, slots=True)
class Context:
    """The options of the command itself."""

    config: Path | None
    verbose: bool


def given(ctx: typer.Context) -> Context:
    return cast(Context, ctx.find_root().obj)


def config_path(ctx: typer.Context) -> Path:
    """The file named by `--config` or PLACEMAT_CONFIG, else that of the running demo, else ./placemat.toml."""
    from daemon.config.load import DEFAULT_PATH
    from daemon.embedded import running

    if (path := given(ctx).config) is not None:
        return path
    found = running.find()
    return found.config if found and found.config else DEFAULT_PATH


def settings(ctx: typer.Context) -> Settings:
    """Read the configuration, and let the logs of a short-lived verb speak only when something is wrong.

    Raises OperatorError (exit code 2) when it cannot be used.
    """
    from daemon.config.load import load
    from daemon.observe import logs

    logs.configure("debug" if given(ctx).verbose else "warning", "console")
    return load(config_path(ctx))


def target(settings: Settings, given: str | None) -> str:
    """The target that is meant. Raises OperatorError (exit code 2) when it is not known, or not told of several."""
    from daemon.errors import OperatorError

    names = list(settings.outward)
    if given is None and len(names) != 1:
        raise OperatorError(
            f"There are {len(names)} targets.", f"Name one with --target: {', '.join(names)}.", exit_code=2
        )
    chosen = given or names[0]
    if chosen not in settings.targets:
        raise OperatorError(f"There is no target {chosen}.", f"Choose one of: {', '.join(names)}.", exit_code=2)
    return chosen
