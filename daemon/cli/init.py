"""`placemat init`: make what the configuration calls for, and say what is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.context import AsJson, By, Reason
from daemon.cli.context import settings as read_settings
from daemon.cli.output import Json, complain, say, write_json
from daemon.errors import OperatorError

if TYPE_CHECKING:
    import sqlalchemy
    from confluent_kafka.admin import AdminClient

    from daemon.config.settings import Settings
    from daemon.config.source import Source


def init(
    ctx: typer.Context,
    new_audit_log: Annotated[
        bool,
        typer.Option(
            "--new-audit-log", help="Begin the audit log's heads anew: what Kafka has of them is not compared any more."
        ),
    ] = False,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Create what is needed on each side, and check it. State tables, publication, slot, topics; safe to repeat."""
    from daemon import broker
    from daemon.audit.heads import beginning
    from daemon.state import engine as state

    if new_audit_log != (reason is not None):
        raise OperatorError(
            "A new audit log is begun for a reason." if new_audit_log else "A reason is one for a new audit log.",
            "Say both: placemat init --new-audit-log --reason TEXT", exit_code=2,
        )  # fmt: skip
    settings = read_settings(ctx)
    with state.opened(settings.state.url.get_secret_value()) as engine:
        fresh = not state.prepared(engine)
        admin = broker.reach(settings.kafka)
        if new_audit_log:
            beginning.check_anew(settings)
        if not fresh:
            state.migrate(engine, beside=new_audit_log)
        if settings.audit.enabled and not new_audit_log:
            beginning.check(settings, fresh=fresh)
        # Every fault of every side is told at once, before anything is made that is hard to take back.
        faults = _prepare_mirrors(settings) or [*_check_sources(settings), *_prepare_targets(settings)]
        for fault in faults:
            complain(fault)
        if faults:
            raise typer.Exit(max(fault.exit_code for fault in faults))
        _begin_log(settings, engine, reason, by, fresh=fresh, speak=not as_json)
        sources = _provision(settings, engine, admin, speak=not as_json)
    if as_json:
        write_json({"sources": sources, "targets": list(settings.targets)})
    else:
        say("Ready. Start it with: placemat run")


def _begin_log(
    settings: Settings, engine: sqlalchemy.Engine, reason: str | None, by: str | None, *, fresh: bool, speak: bool
) -> None:
    """A first log begins before the state database has tables: these tell a repetition that it is not the first."""
    from daemon.audit.heads import beginning
    from daemon.state import engine as state

    if settings.audit.enabled and reason is None:
        beginning.begin(settings, fresh=fresh)
    if fresh:
        state.migrate(engine)
    if reason is not None:
        after = beginning.begin_anew(settings, reason, by)
        if speak:
            before = (
                f"Kafka tells of an earlier one, through entry {after}." if after else "Kafka tells of none before."
            )
            say(f"The audit log begins anew: {before}")


def _check_sources(settings: Settings) -> list[OperatorError]:
    from daemon.capture import masking, preflight
    from daemon.database import connect
    from daemon.routes import source_masks

    faults: list[OperatorError] = []
    for name, source in settings.sources.items():
        with connect(source.url.get_secret_value(), f"Source {name}", f"sources.{name}.url") as connection:
            found = [
                *preflight.check(connection, name, source),
                *masking.faults(connection, name, source_masks(settings, name)),
            ]
            faults += found or preflight.ensure_publication(connection, name, source)
    return faults


def _prepare_mirrors(settings: Settings) -> list[OperatorError]:
    from daemon.wiring import mirrors

    return [fault for name in settings.services for fault in mirrors.prepare_mirror(settings, name)]


def _prepare_targets(settings: Settings) -> list[OperatorError]:
    from daemon import wiring

    return [fault for name in settings.targets for fault in wiring.prepare_target(settings, name)]


def _provision(settings: Settings, engine: sqlalchemy.Engine, admin: AdminClient, *, speak: bool) -> dict[str, Json]:
    from daemon.capture.provision import provision
    from daemon.database import connect
    from schemas.position import format_lsn

    told: dict[str, Json] = {}
    for name, source in settings.sources.items():
        with connect(source.url.get_secret_value(), f"Source {name}", f"sources.{name}.url") as connection:
            made = provision(engine, connection, admin, settings.kafka, name, source)
        at = format_lsn(made.slot_lsn)
        told[name] = {"slot": source.slot, "created": made.created, "lsn": at, "topics": made.topics}
        if speak:
            verb = f"made slot {source.slot}" if made.created else f"slot {source.slot} is there,"
            say(f"{name}: {verb} at {at}, {len(made.topics)} topics")
            say(f"{name}: {_kept(source)}")
    for name in settings.targets if speak else ():
        say(f"{name}: {len(settings.targets[name].tables)} tables fit their source")
    return told


def _kept(source: Source) -> str:
    """How much WAL the server keeps for the slot."""
    from daemon.observe.measure import SourceMeasure

    measure = SourceMeasure(source)
    try:
        return str(measure().keep)
    finally:
        measure.close()
