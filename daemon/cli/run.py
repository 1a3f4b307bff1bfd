"""`placemat run`: the daemon itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.context import config_path, given
from daemon.cli.output import complain

if TYPE_CHECKING:
    from daemon.config.settings import Settings
    from daemon.supervisor import Supervisor


def run(
    ctx: typer.Context,
    workers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORKER]...",
            help="capture:SOURCE, apply:TARGET, webhooks, audit:TARGET, notify:HUB, or the first word alone for all.",
        ),
    ] = None,
) -> None:
    """Run workers until SIGTERM or Ctrl-C. All of them when none is named."""
    from daemon import wiring
    from daemon.config.load import load
    from daemon.observe import logs

    settings = load(config_path(ctx))
    logs.configure("debug" if given(ctx).verbose else settings.log.level, settings.log.format)
    names = wiring.choose(settings, workers or ())
    with ending():
        _supervise(settings, names)


@contextmanager
def ending() -> Iterator[None]:
    """End the process together with workers that would not end themselves."""
    from daemon.supervisor import LeftBehind

    try:
        yield
    except LeftBehind as error:
        complain(error)
        # Their threads may hold what the interpreter would wait for.
        os._exit(error.exit_code)


def _supervise(settings: Settings, names: Sequence[str]) -> None:
    import structlog

    from daemon import wiring
    from daemon.audit.actions import person
    from daemon.audit.configuration import note_changes
    from daemon.observe.board import Board
    from daemon.observe.http import ObserveServer
    from daemon.observe.meter import Meters
    from daemon.observe.recorder import Recorder
    from daemon.state import engine as state
    from daemon.supervisor import Supervisor

    log = structlog.get_logger(__name__)
    with ExitStack() as stack:
        engine = stack.enter_context(state.opened(settings.state.url.get_secret_value()))
        state.check(engine)
        _check_reachable(settings, names)
        if changed := note_changes(settings, person()):
            log.info("configuration has changed", keys=changed)
        board = Board()
        server = ObserveServer(settings.http.host, settings.http.port, board)
        stack.callback(server.close)
        log.info("metrics and health are served", host=settings.http.host, port=server.port)
        supervisor = Supervisor(wiring.workers(settings, names), board)
        stack.enter_context(Recorder(engine, board, names))
        stack.enter_context(
            Meters(settings, names, wiring.progress_reader, wiring.outbox if settings.audit.enabled else None)
        )
        end_on_signals(supervisor)
        supervisor.run()


def _check_reachable(settings: Settings, names: Sequence[str]) -> None:
    """What does not answer at the start is told as a sentence; what goes away later is waited for."""
    from daemon import broker
    from daemon.database import connect

    broker.reach(settings.kafka)
    for kind, _, name in (worker.partition(":") for worker in names):
        if kind == "capture":
            connect(settings.sources[name].url.get_secret_value(), f"Source {name}", f"sources.{name}.url").close()


def end_on_signals(supervisor: Supervisor) -> None:
    """The first signal asks for an orderly end, the second does not ask."""

    def end(number: int, _frame: FrameType | None) -> None:
        if supervisor.stopping:
            os._exit(128 + number)
        supervisor.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
