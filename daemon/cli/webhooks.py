"""`placemat webhooks`: by what the requests of services are known to be theirs."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.context import AsJson, By, DryRun, Reason
from daemon.cli.context import settings as read_settings
from daemon.cli.output import Json, local, say, write_json, write_table
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from daemon.config.settings import Settings
    from daemon.webhooks.verification import Handshakes

LOOK_SECONDS = 0.2

app = typer.Typer(help="Requests by which services tell of changes.", no_args_is_help=True, rich_markup_mode=None)
TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="The target as it is configured.")]


@app.command("await")
def await_handshake(
    ctx: typer.Context,
    target: TargetName,
    wait: Annotated[float, typer.Option(min=1, max=3_600, help="Seconds to wait for the service.")] = 600,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Let a service hand over its secret, once, and print that. Until it has come the present one holds."""
    from daemon.audit.actions import record
    from daemon.wiring.webhooks import handshakes

    settings = read_settings(ctx)
    _handed_over(settings, target)
    with handshakes(settings, target) as found:
        record(settings, "await_webhooks", by, reason, target=target)
        found.wait_for(wait)
        try:
            if not as_json:
                say(f"Create the subscription now, for https://YOUR-PROXY/webhooks/{target}. Waiting for its request.")
            secret = _came(found, target, wait)
        finally:
            found.stop_waiting()
    if as_json:
        write_json({"target": target, "secret": secret})
    else:
        say(f"It has come, and is kept. Where the service asks for it, paste this:\n\n  {secret}\n")


@app.command()
def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Say of every target that is told of changes by webhooks whether its requests can be known."""
    settings = read_settings(ctx)
    found = {name: _state(settings, name) for name in settings.told_by}
    if as_json:
        write_json({"targets": found})
        return
    rows = [
        [name, str(one["path"]), str(one["secret"]), local(datetime.fromisoformat(at)) if at else ""]
        for name, one in found.items()
        for at in [str(one["came_at"] or "")]
    ]
    write_table(["target", "path", "secret", "since"], rows)


@app.command()
def forget(
    ctx: typer.Context, target: TargetName, by: By = None, reason: Reason = None, dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Forget the secret that a service has handed over: its requests are turned away from then on."""
    from daemon.audit.actions import record
    from daemon.wiring.webhooks import handshakes

    settings = read_settings(ctx)
    _handed_over(settings, target)
    with handshakes(settings, target) as found:
        had = found.known().secret is not None
        if not dry_run:
            record(settings, "forget_webhooks", by, reason, target=target)
            found.forget()
    if as_json:
        write_json({"target": target, "dry_run": dry_run, "had_secret": had})
    else:
        what = f"{'Would forget' if dry_run else 'Forgot'} the secret of {target}'s webhooks."
        say(what if had else f"{target} has handed over none.")


def _came(found: Handshakes, target: str, seconds: float) -> str:
    """Raises OperatorError when it did not within that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        known = found.known()
        if known.until is None and known.secret is not None:
            return known.secret
        time.sleep(LOOK_SECONDS)
    raise OperatorError(
        f"The service of target {target} has not handed over its secret within {seconds:g} seconds.",
        "See that placemat run webhooks is running, and that your proxy passes requests on to it; then begin again.",
    )


def _state(settings: Settings, name: str) -> dict[str, Json]:
    from daemon.wiring.webhooks import handshakes

    own = settings.services[name].webhooks
    assert own is not None, "it is told by them"
    secret, came_at = "configured", None
    if own.given() is None:
        with handshakes(settings, name) as found:
            known = found.known()
            secret = "awaited" if found.open(known) else "none" if known.secret is None else "stored"
            came_at = None if known.came_at is None else known.came_at.isoformat()
    return {"path": f"/webhooks/{name}", "secret": secret, "came_at": came_at}


def _handed_over(settings: Settings, target: str) -> None:
    """Raises OperatorError (exit code 2) where no service hands over a secret for this target."""
    if target not in settings.told_by:
        raise OperatorError(
            f"There is no target {target} that is told of changes by webhooks.",
            f"Choose one of: {', '.join(settings.told_by)}." if settings.told_by else "Set targets.NAME.webhooks.",
            exit_code=2,
        )
    own = settings.services[target].webhooks
    if own is not None and own.given() is not None:
        raise OperatorError(
            f"The secret of {target}'s webhooks is set in the configuration.",
            f"Take targets.{target}.webhooks.secret or secret_file out where the service hands it over.",
            exit_code=2,
        )
