"""A person lets us in: from the address that is shown to them to the token that is kept."""

from __future__ import annotations

import io
import json
import logging
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import sqlalchemy
import typer
from cryptography.fernet import Fernet
from pydantic import TypeAdapter

from connectors.http.auth.code_flow import Begun
from connectors.http.auth.login import Callback, listening
from connectors.http.auth.token import Kept, Token
from daemon.cli import auth as verbs
from daemon.cli.context import Context
from daemon.config.auth import AnyAuth
from daemon.embedded.ports import free_port
from daemon.errors import OperatorError
from daemon.state import engine as state
from daemon.state.tokens import Tokens
from daemon.wiring.authorizing import bearer
from schemas.tables import audit_entries
from schemas.tables import tokens as table
from tests.token_service import CLIENT, SECRET, TokenService, token_service

BEGUN = Begun("https://crm.example/authorize", "the-state", "the-verifier")
KEY = Fernet.generate_key()


@pytest.fixture
def service() -> Iterator[TokenService]:
    with token_service() as found:
        yield found


@pytest.fixture
def engine(database_factory: Callable[..., str], state_template: str) -> Iterator[sqlalchemy.Engine]:
    with state.opened(database_factory("state", state_template)) as found:
        yield found


def oauth(service: TokenService, **more: Any) -> AnyAuth:
    return TypeAdapter[AnyAuth](AnyAuth).validate_python(
        {
            "kind": "oauth", "authorize_url": "https://crm.example/authorize", "token_url": service.url,
            "client_id": CLIENT, "client_secret": SECRET, **more,
        }
    )  # fmt: skip


def browse(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def allows(service: TokenService, begun: Begun) -> str:
    """What a person does over there, and the address at which the browser ends."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.url).query).items()}
    service.codes["c1"] = asked["code_challenge"]
    return f"{asked['redirect_uri']}?{urlencode({'code': 'c1', 'state': asked['state']})}"


def test_a_browser_that_comes_back_ends_the_login_and_others_do_not() -> None:
    port = free_port()
    here = f"http://localhost:{port}"
    with listening(BEGUN, port) as callback:
        assert browse(f"{here}/favicon.ico")[0] == 404
        assert browse(f"{here}/callback?code=forged&state=guessed")[0] == 400
        assert browse(f"{here}/callback?code=forged")[0] == 400
        status, page = browse(f"{here}/callback?code=c1&state=the-state")
        assert status == 200
        assert "close this window" in page
        browse(f"{here}/callback?code=second&state=the-state")
        assert callback.wait(10) == "c1"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_page_repeats_nothing_of_what_came() -> None:
    callback = Callback(BEGUN)
    for address in ("/callback?code=<script>&state=x", "/callback?error=<script>&state=the-state", "/<script>"):
        assert b"script" not in callback.take(address)[1]
    with pytest.raises(OperatorError, match="lets nobody in: script"):
        callback.wait(1)


def test_nobody_comes_back() -> None:
    with pytest.raises(OperatorError, match="Nobody has come back") as refused:
        Callback(BEGUN).wait(0.01)
    assert "--paste" in refused.value.try_


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(OperatorError, match=f"Port {port} .* cannot be listened on") as refused,
            listening(BEGUN, port),
        ):
            pass
    assert "redirect_port" in refused.value.try_


def test_a_login_by_browser_keeps_a_token_that_works(
    service: TokenService, engine: sqlalchemy.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = Tokens(engine, [KEY])
    port = free_port()
    auth = oauth(service, redirect_port=port)
    come_back = verbs.browser(auth, 10)

    def person(begun: Begun) -> str:
        address = allows(service, begun)
        threading.Thread(target=lambda: browse_when_it_listens(address, port)).start()
        return come_back(begun)

    token = verbs.log_in(auth, "crm", tokens, person)
    assert tokens.read("crm") == Kept(token)
    assert bearer(auth, "crm", tokens).token() == "access-1-tok-5ecret"
    said = capsys.readouterr()
    assert "https://crm.example/authorize?" in said.err
    assert "5ecret" not in said.err + said.out


def browse_when_it_listens(address: str, port: int) -> None:
    deadline = datetime.now(UTC).timestamp() + 10
    while datetime.now(UTC).timestamp() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        threading.Event().wait(0.02)
    browse(address)


def test_a_login_by_typing_the_address_in(
    service: TokenService, engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(engine, [KEY])

    def person(begun: Begun) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(allows(service, begun) + "\n"))
        return verbs.pasted(begun)

    verbs.log_in(oauth(service), "crm", tokens, person)
    assert tokens.read("crm") is not None


@pytest.mark.parametrize("typed", ["", "http://localhost:8976/callback?code=c1&state=other", "no address"])
def test_another_address_that_is_typed_in_keeps_nothing(
    service: TokenService, engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    tokens = Tokens(engine, [KEY])
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    with pytest.raises(OperatorError, match="not the one"):
        verbs.log_in(oauth(service), "crm", tokens, verbs.pasted)
    assert tokens.read("crm") is None
    assert service.asked == []


def test_a_login_mends_a_broken_connection_also_one_that_cannot_be_read(
    service: TokenService, engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tokens(engine, [Fernet.generate_key()]).replace("crm", Token("old"))
    tokens = Tokens(engine, [KEY])
    with engine.begin() as connection:
        connection.execute(sqlalchemy.update(table).values(broken="invalid_grant"))

    def person(begun: Begun) -> str:
        return parse_qs(urlsplit(allows(service, begun)).query)["code"][0]

    token = verbs.log_in(oauth(service), "crm", tokens, person)
    assert tokens.read("crm") == Kept(token)


def test_nobody_logs_in_where_nobody_has_to(engine: sqlalchemy.Engine) -> None:
    auth = TypeAdapter[AnyAuth](AnyAuth).validate_python({"kind": "token", "token": "t"})
    with pytest.raises(OperatorError, match="of the kind token") as refused:
        verbs.log_in(auth, "notion", Tokens(engine, [KEY]), verbs.pasted)
    assert refused.value.exit_code == 2


def test_the_state_of_each_target_is_told(service: TokenService, engine: sqlalchemy.Engine) -> None:
    tokens, now = Tokens(engine, [KEY]), datetime(2026, 11, 22, 19, tzinfo=UTC)
    auth = oauth(service)
    tokens.replace("ready", Token("a", "r", now, {"workspace_name": "Here"}))
    tokens.replace("expired", Token("a", None, now))
    tokens.change("broken", lambda _: Kept(Token("a"), "invalid_grant"))
    Tokens(engine, [Fernet.generate_key()]).replace("unreadable", Token("a"))
    fixed = TypeAdapter[AnyAuth](AnyAuth).validate_python({"kind": "token", "token": "t"})
    names = ("ready", "expired", "broken", "unreadable", "none")
    found: dict[str, Any] = {**verbs.states({**dict.fromkeys(names, auth), "set": fixed}, tokens, now)}
    assert {name: one["state"] for name, one in found.items()} == {name: name for name in (*names, "set")}
    assert found["ready"] == {
        "kind": "oauth", "state": "ready", "expires_at": now.isoformat(), "reason": None,
        "about": {"workspace_name": "Here"},
    }  # fmt: skip
    assert found["broken"]["reason"] == "invalid_grant"


def test_a_key_is_made_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verbs.make_key(tmp_path / "tokens.key")
    assert "state.token_key_file" in capsys.readouterr().err
    Fernet((tmp_path / "tokens.key").read_bytes().strip())


CONFIGURATION = """
[state]
url = "{url}"
token_key = "{key}"
[kafka]
bootstrap_servers = "localhost:1"
[sources.primary]
url = "postgresql://localhost:1/primary"
tables = ["public.projects"]
[targets.crm.tables."public.projects"]
[targets.crm]
url = "postgresql://localhost:1/crm"
"""


@pytest.fixture
def placemat(
    engine: sqlalchemy.Engine, service: TokenService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """A function: what the verb prints as JSON, of a target that is let in by OAuth."""
    file = tmp_path / "placemat.toml"
    url = engine.raw_connection().driver_connection.info  # type: ignore[union-attr]
    dsn = f"postgresql://{url.user}:{url.password}@{url.host}:{url.port}/{url.dbname}"
    file.write_text(CONFIGURATION.format(url=dsn, key=KEY.decode()))
    monkeypatch.setattr(verbs, "configured", lambda _settings, name: oauth(service) if name == "crm" else None)

    root = typer.Typer()
    root.add_typer(verbs.app, name="auth")

    @root.callback()
    def _global(ctx: typer.Context) -> None:
        ctx.obj = Context(file, verbose=False)

    def run(*words: str) -> Any:
        said, logger = io.StringIO(), logging.getLogger()
        handlers, level = logger.handlers, logger.level
        monkeypatch.setattr("sys.stdout", said)
        try:
            root(["auth", *words, "--json"], standalone_mode=False)
        finally:
            logger.handlers, logger.level = handlers, level
        return json.loads(said.getvalue())

    return run


def test_the_command_logs_in_tells_and_forgets_and_the_audit_log_has_it(
    placemat: Callable[..., Any], service: TokenService, engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = verbs.pasted

    def person(begun: Begun) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(allows(service, begun)))
        return begin(begun)

    monkeypatch.setattr(verbs, "pasted", person)
    assert placemat("status")["targets"]["crm"]["state"] == "none"
    done = placemat("login", "crm", "--paste", "--by", "tess")
    assert (done["target"], done["about"]) == ("crm", {"workspace_name": "Here"})
    assert placemat("status")["targets"]["crm"]["state"] == "ready"
    assert placemat("logout", "crm", "--dry-run") == {"target": "crm", "dry_run": True, "had_token": True}
    assert placemat("logout", "crm", "--by", "tess")["had_token"]
    assert placemat("status")["targets"]["crm"]["state"] == "none"
    with engine.connect() as connection:
        entries = connection.execute(
            sqlalchemy.select(audit_entries.c.op, audit_entries.c.who, audit_entries.c.target).order_by("sequence")
        ).all()
    assert entries == [("login", "tess", "crm"), ("logout", "tess", "crm")]


@pytest.mark.parametrize("verb", ["login", "logout"])
def test_a_target_that_is_no_service_is_named(placemat: Callable[..., Any], verb: str) -> None:
    with pytest.raises(OperatorError, match="no target other that is a service") as refused:
        placemat(verb, "other")
    assert refused.value.try_ == "Choose one of: crm."
