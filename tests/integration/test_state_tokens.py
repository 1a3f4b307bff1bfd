"""Tokens in the state database: encrypted, renewed by one process at a time, stored before they are used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from cryptography.fernet import Fernet

from connectors.http.auth.code_flow import CodeFlow, Door
from connectors.http.auth.endpoint import Application, TokenEndpoint
from connectors.http.auth.stored import StoredBearer
from connectors.http.auth.token import Change, Kept, Token
from connectors.http.client import HttpClient
from connectors.http.outcome import Answered
from connectors.http.request import Request
from daemon.errors import OperatorError, Unavailable
from daemon.state import engine as state
from daemon.state.tokens import Tokens, make_key
from schemas import tables
from tests.plain_dialect import PlainDialect
from tests.token_service import CLIENT, SECRET, TokenService, token_service
from tests.waiting import until
from tests.wire import status, wire

KEY = Fernet.generate_key()
LOGIN = "Run: placemat auth login crm"


@pytest.fixture
def url(database_factory: Callable[..., str], state_template: str) -> str:
    return database_factory("state", state_template)


@pytest.fixture
def process(url: str) -> Iterator[Callable[..., Tokens]]:
    """A function: the tokens as a further process sees them."""
    with ExitStack() as stack:
        yield lambda *keys: Tokens(stack.enter_context(state.opened(url)), keys or (KEY,))


@pytest.fixture
def service() -> Iterator[TokenService]:
    with token_service() as found:
        yield found


def bearer(tokens: object, service: TokenService) -> StoredBearer:
    application = Application(CLIENT, SECRET)
    endpoint = TokenEndpoint(service.url, application, connection="crm", settings="targets.crm.auth")
    door = Door("https://crm.example/authorize", "http://localhost:8976/callback")
    flow = CodeFlow(door, endpoint, application, login=LOGIN)
    return StoredBearer(tokens, "crm", flow, login=LOGIN)  # type: ignore[arg-type]


def expired(service: TokenService) -> Token:
    """One that was good until now."""
    service.refresh.append("refresh-1-tok-5ecret")
    return Token("access-0-tok-5ecret", "refresh-1-tok-5ecret", datetime.now(UTC))


def test_what_is_stored_is_read_as_it_was(process: Callable[..., Tokens]) -> None:
    token = Token("a", "r", datetime(2026, 11, 22, 19, tzinfo=UTC), {"workspace_name": "Here"})
    assert process().read("crm") is None
    process().replace("crm", token)
    process().replace("other", Token("b"))
    assert process().read("crm") == Kept(token)
    assert process().read("other") == Kept(Token("b"))
    assert process().forget("crm", dry_run=True)
    assert process().forget("crm")
    assert not process().forget("crm")
    assert process().read("crm") is None


def test_the_database_holds_no_token_in_the_clear(process: Callable[..., Tokens], url: str) -> None:
    process().replace("crm", Token("access-5ecret", "refresh-5ecret"))
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT content, tokens::text FROM placemat.tokens").fetchone()
    assert found is not None
    assert b"5ecret" not in found[0]
    assert "5ecret" not in found[1]


def test_another_key_reads_nothing_and_says_what_to_do(process: Callable[..., Tokens]) -> None:
    process().replace("crm", Token("a"))
    with pytest.raises(OperatorError, match="cannot be read with the key that is set") as refused:
        process(Fernet.generate_key()).read("crm")
    assert "state.token_key" in refused.value.try_


def test_a_new_key_is_put_before_the_former_one(process: Callable[..., Tokens]) -> None:
    process().replace("crm", Token("a"))
    new = Fernet.generate_key()
    both = process(new, KEY)
    assert both.read("crm") == Kept(Token("a"))
    both.replace("crm", Token("b"))
    assert process(new).read("crm") == Kept(Token("b"))


def test_the_row_of_another_connection_is_none_of_ours(process: Callable[..., Tokens], url: str) -> None:
    process().replace("crm", Token("a"))
    process().replace("other", Token("b"))
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE placemat.tokens SET content = (SELECT content FROM placemat.tokens WHERE connection = 'other')"
            " WHERE connection = 'crm'"
        )
    with pytest.raises(OperatorError, match="cannot be read"):
        process().read("crm")


def test_a_key_that_is_none_is_refused(process: Callable[..., Tokens]) -> None:
    with pytest.raises(OperatorError, match="is none") as refused:
        process(b"short")
    assert refused.value.exit_code == 2


def test_a_key_is_made_for_its_owner_alone_and_never_over_another(
    process: Callable[..., Tokens], tmp_path: Path
) -> None:
    file = tmp_path / "tokens.key"
    make_key(file)
    assert file.stat().st_mode & 0o777 == 0o600
    process(file.read_bytes().strip()).replace("crm", Token("a"))
    with pytest.raises(OperatorError, match="is there already"):
        make_key(file)
    with pytest.raises(OperatorError, match="cannot be written"):
        make_key(tmp_path / "none" / "tokens.key")


def test_a_token_is_renewed_before_its_end(process: Callable[..., Tokens], service: TokenService) -> None:
    process().replace("crm", expired(service))
    auth = bearer(process(), service)
    assert [auth.token(), auth.token()] == ["access-1-tok-5ecret"] * 2
    assert service.issued == 1
    kept = process().read("crm")
    assert kept is not None
    assert (kept.token.access, kept.token.refresh) == ("access-1-tok-5ecret", "refresh-2-tok-5ecret")


def test_two_processes_that_need_a_new_token_renew_it_once(
    process: Callable[..., Tokens], service: TokenService, url: str
) -> None:
    """The first waits in the service until the second waits for the row, or has come as far."""
    service.grace = 1
    process().replace("crm", expired(service))
    arrived: list[int] = []
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    def second_waits() -> None:
        arrived.append(1)
        with psycopg.connect(url) as connection:
            until(
                lambda: len(arrived) == 2 or connection.execute(waits).fetchone() == (1,),
                what="a second process at the row",
            )

    service.before = second_waits
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(bearer(process(), service).token) for _ in range(2)]
        assert [one.result() for one in found] == ["access-1-tok-5ecret"] * 2
    assert service.issued == 1


def test_threads_of_one_process_renew_once(process: Callable[..., Tokens], service: TokenService) -> None:
    process().replace("crm", expired(service))
    auth = bearer(process(), service)
    with ThreadPoolExecutor(8) as pool:
        assert {one.result() for one in [pool.submit(auth.token) for _ in range(8)]} == {"access-1-tok-5ecret"}
    assert service.issued == 1


def test_a_refused_token_that_another_process_has_renewed_is_not_renewed_again(
    process: Callable[..., Tokens], service: TokenService
) -> None:
    process().replace("crm", expired(service))
    first, second = bearer(process(), service), bearer(process(), service)
    token = first.token()
    assert second.token() == token
    assert first.renewed(token) == "access-2-tok-5ecret"
    assert second.renewed(token) == "access-2-tok-5ecret"
    assert service.issued == 2


def test_a_new_token_is_stored_before_it_is_used(process: Callable[..., Tokens], service: TokenService) -> None:
    process().replace("crm", Token("access-0", "r1"))
    service.refresh.append("r1")
    stored: list[str] = []

    def look(connection: object, wire_: object) -> None:
        kept = process().read("crm")
        assert kept is not None
        stored.append(kept.token.access)
        status(200, {})(connection, wire_)  # type: ignore[arg-type]

    with wire() as crm:
        crm.answer(status(401), look)
        http = HttpClient(crm.url, PlainDialect(), connection="crm", auth=bearer(process(), service))
        assert isinstance(http.send(Request("POST", "/x", "creates", body={})), Answered)
        http.close()
        assert crm.header("Authorization") == "Bearer access-1-tok-5ecret"
    assert stored == ["access-1-tok-5ecret"]


class LostAtCommit:
    """A store that dies as the transaction ends, `times` times."""

    def __init__(self, tokens: Tokens, times: int) -> None:
        self._tokens = tokens
        self._times = times

    def change(self, connection: str, change: Change) -> Kept | None:
        if self._times == 0:
            return self._tokens.change(connection, change)
        self._times -= 1

        def dies(kept: Kept | None) -> Kept | None:
            change(kept)
            raise Unavailable("it died")

        return self._tokens.change(connection, dies)


def test_a_process_that_dies_before_it_has_stored_leaves_the_former_token_to_the_next(
    process: Callable[..., Tokens], service: TokenService
) -> None:
    service.grace = 1
    process().replace("crm", expired(service))
    with pytest.raises(Unavailable):
        bearer(LostAtCommit(process(), 1), service).token()
    assert bearer(process(), service).token() == "access-2-tok-5ecret"
    assert [asked["refresh_token"] for asked in service.asked] == ["refresh-1-tok-5ecret"] * 2


def test_what_could_not_be_stored_is_stored_later_and_not_asked_for_again(
    process: Callable[..., Tokens], service: TokenService
) -> None:
    process().replace("crm", expired(service))
    auth = bearer(LostAtCommit(process(), 2), service)
    for _ in range(2):
        with pytest.raises(Unavailable):
            auth.token()
    assert auth.token() == "access-1-tok-5ecret"
    assert service.issued == 1
    assert bearer(process(), service).token() == "access-1-tok-5ecret"


def test_a_service_that_fails_leaves_what_is_kept(process: Callable[..., Tokens], service: TokenService) -> None:
    token = expired(service)
    process().replace("crm", token)
    service.refuse = 503, "x"
    auth = bearer(process(), service)
    with pytest.raises(Unavailable):
        auth.token()
    assert process().read("crm") == Kept(token)
    service.refuse = None
    auth.token()


def test_a_connection_that_is_broken_asks_for_a_login_and_the_service_no_more(
    process: Callable[..., Tokens], service: TokenService
) -> None:
    token = expired(service)
    service.refresh.clear()
    process().replace("crm", token)
    for _ in range(2):
        with pytest.raises(OperatorError, match=r"crm is broken: .*\(invalid_grant\)") as refused:
            bearer(process(), service).token()
        assert refused.value.try_ == LOGIN
    assert len(service.asked) == 1
    assert process().read("crm") == Kept(token, "invalid_grant")
    process().replace("crm", Token("new"))
    assert bearer(process(), service).token() == "new"


def test_nobody_has_logged_in_and_nothing_is_kept(
    process: Callable[..., Tokens], service: TokenService, url: str
) -> None:
    with pytest.raises(OperatorError, match="Nobody has logged in"):
        bearer(process(), service).token()
    with state.opened(url) as engine, engine.connect() as connection:
        assert connection.execute(sqlalchemy.select(tables.tokens)).all() == []


def test_a_process_that_stands_still_at_the_row_keeps_nobody_for_good(
    process: Callable[..., Tokens], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.state.tokens.RENEWAL_SECONDS", 0.3)
    process().replace("crm", Token("a"))
    held, end = threading.Event(), threading.Event()

    def stands_still(kept: Kept | None) -> Kept | None:
        held.set()
        end.wait()
        return Kept(Token("late"))

    with ThreadPoolExecutor(1) as pool:
        frozen = pool.submit(process().change, "crm", stands_still)
        held.wait()
        monkeypatch.setattr("daemon.state.tokens.RENEWAL_SECONDS", 30)
        process().change("crm", lambda _: Kept(Token("b")))
        end.set()
        with pytest.raises(Unavailable):
            frozen.result()
    assert process().read("crm") == Kept(Token("b"))


def test_a_state_database_that_is_away_is_no_end(service: TokenService) -> None:
    with state.opened("postgresql://nobody@127.0.0.1:1/none") as engine:
        with pytest.raises(Unavailable):
            Tokens(engine, [KEY]).read("crm")
        with pytest.raises(Unavailable):
            bearer(Tokens(engine, [KEY]), service).token()


def test_a_token_is_fresh_until_shortly_before_its_end() -> None:
    now = datetime.now(UTC)
    assert Token("a").fresh(now)
    assert Token("a", expires_at=now + timedelta(seconds=61)).fresh(now)
    assert not Token("a", expires_at=now + timedelta(seconds=60)).fresh(now)
