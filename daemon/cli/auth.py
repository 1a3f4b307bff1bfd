"""`placemat auth`: how targets that are services let us in, and the tokens that are kept for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from daemon.cli.context import AsJson, By, DryRun, Reason
from daemon.cli.context import settings as read_settings
from daemon.cli.output import Json, local, say, write_json, write_table
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from connectors.http.auth.code_flow import Begun
    from connectors.http.auth.token import Token
    from daemon.config.auth import AnyAuth
    from daemon.config.settings import Settings
    from daemon.state.tokens import Tokens

State = Literal["set", "ready", "expired", "broken", "none", "unreadable"]

app = typer.Typer(help="How services let us in.", no_args_is_help=True, rich_markup_mode=None)
TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="The target as it is configured.")]


@app.command()
def login(
    ctx: typer.Context,
    target: TargetName,
    paste: Annotated[
        bool, typer.Option("--paste", help="Type in the address that the browser ends at: it is on another machine.")
    ] = False,
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for the browser to come back.")] = 300,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Let a person open the service to us, and keep the token that it gives."""
    from daemon.audit.actions import record

    settings = read_settings(ctx)
    auth = _auth(settings, target)
    with _tokens(settings) as tokens:
        record(settings, "login", by, reason, target=target)
        token = log_in(auth, target, tokens, pasted if paste else browser(auth, wait))
    if as_json:
        write_json({"target": target, "expires_at": _iso(token.expires_at), "about": token.about})
    else:
        say(f"{target} has let us in. Start its workers again where they have stopped.")


@app.command()
def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Say of every target that is a service whether it lets us in."""
    settings = read_settings(ctx)
    auths = {name: auth for name in settings.targets if (auth := configured(settings, name)) is not None}
    if any(auth.kind != "token" for auth in auths.values()):
        with _tokens(settings) as tokens:
            found = states(auths, tokens, datetime.now(UTC))
    else:
        found = states(auths, None, datetime.now(UTC))
    if as_json:
        write_json({"targets": found})
        return
    write_table(["target", "kind", "state", "until"], [_row(name, one) for name, one in found.items()])


@app.command()
def logout(
    ctx: typer.Context, target: TargetName, by: By = None, reason: Reason = None, dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Forget the token of a target. Over there it stays valid until it is taken back there."""
    from daemon.audit.actions import record

    settings = read_settings(ctx)
    _auth(settings, target)
    with _tokens(settings) as tokens:
        if not dry_run:
            record(settings, "logout", by, reason, target=target)
        had = tokens.forget(target, dry_run=dry_run)
    if as_json:
        write_json({"target": target, "dry_run": dry_run, "had_token": had})
    else:
        say(f"{'Would forget' if dry_run else 'Forgot'} the token of {target}." if had else f"{target} has no token.")


@app.command("key")
def make_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, kept off the state database's host.")],
) -> None:
    """Make a key that stored tokens are encrypted with."""
    from daemon.state.tokens import make_key as make

    make(file)
    say(f"Set state.token_key_file = {str(file)!r} where the workers run. Former keys go into the file after it.")


def log_in(auth: AnyAuth, target: str, tokens: Tokens, code: Callable[[Begun], str]) -> Token:
    """Store the token for the code that a person comes back with. Raises OperatorError and Unavailable."""
    from daemon.config.auth import OAuth
    from daemon.wiring.authorizing import code_flow

    if not isinstance(auth, OAuth):
        raise OperatorError(
            f"Nobody has to log in to {target}: its auth is of the kind {auth.kind}.",
            "placemat auth status says whether it lets us in.",
            exit_code=2,
        )
    flow = code_flow(auth, target)
    begun = flow.begin()
    token = flow.exchange(begun, code(begun))
    tokens.replace(target, token)
    return token


def pasted(begun: Begun) -> str:
    """The code in the address that a person types in."""
    from connectors.http.auth.code_flow import NotThisLogin, code_of

    say(f"Open this address in a browser, and allow the access:\n\n  {begun.url}\n")
    say("The browser ends at an address that begins with http://localhost and shows no page. Type it in here:")
    try:
        return code_of(sys.stdin.readline().strip(), begun)
    except NotThisLogin:
        raise OperatorError(
            "That address is not the one that this login ends at.", "Begin again, and copy the whole address."
        ) from None


def browser(auth: AnyAuth, wait: float) -> Callable[[Begun], str]:
    """The code with which a browser on this machine comes back within so many seconds."""
    from connectors.http.auth.login import listening
    from daemon.config.auth import OAuth

    def code(begun: Begun) -> str:
        assert isinstance(auth, OAuth)
        with listening(begun, auth.redirect_port) as callback:
            say(f"Open this address in a browser on this machine, and allow the access:\n\n  {begun.url}\n")
            return callback.wait(wait)

    return code


def states(auths: Mapping[str, AnyAuth], tokens: Tokens | None, now: datetime) -> dict[str, Mapping[str, Json]]:
    """What `placemat auth status` says of each target. Raises Unavailable."""
    return {name: _state(name, auth, tokens, now) for name, auth in auths.items()}


def configured(settings: Settings, target: str) -> AnyAuth | None:
    """A target's auth. None: it is no service."""
    found = settings.services.get(target)
    return None if found is None else found.auth


def _state(name: str, auth: AnyAuth, tokens: Tokens | None, now: datetime) -> Mapping[str, Json]:
    about: Mapping[str, Json] = {}
    expires_at: datetime | None = None
    reason: str | None = None
    state: State = "set"
    if auth.kind != "token":
        assert tokens is not None
        try:
            kept = tokens.read(name)
        except OperatorError as error:
            state, reason = "unreadable", str(error)
        else:
            state = "none" if kept is None else "broken" if kept.broken else "ready"
            if kept is not None:
                about, expires_at, reason = kept.token.about, kept.token.expires_at, kept.broken
                if state == "ready" and not kept.token.fresh(now) and auth.kind == "oauth" and not kept.token.refresh:
                    state = "expired"
    return {"kind": auth.kind, "state": state, "expires_at": _iso(expires_at), "reason": reason, "about": about}


def _row(name: str, one: Mapping[str, Json]) -> Sequence[str]:
    until = one["expires_at"]
    return [name, str(one["kind"]), str(one["state"]), local(datetime.fromisoformat(str(until))) if until else ""]


def _auth(settings: Settings, target: str) -> AnyAuth:
    """Raises OperatorError (exit code 2) when there is no such target, or it is no service."""
    names = [name for name in settings.targets if configured(settings, name) is not None]
    found = configured(settings, target) if target in names else None
    if found is None:
        raise OperatorError(
            f"There is no target {target} that is a service.",
            f"Choose one of: {', '.join(names)}." if names else "Configure one: targets.NAME.auth says how.",
            exit_code=2,
        )
    return found


@contextmanager
def _tokens(settings: Settings) -> Iterator[Tokens]:
    """Raises OperatorError when there is no key, or the state cannot be used."""
    from daemon.state import engine as state
    from daemon.state.tokens import Tokens

    keys = settings.state.token_keys()
    with state.opened(settings.state.url.get_secret_value()) as engine:
        state.check(engine)
        yield Tokens(engine, keys)


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
