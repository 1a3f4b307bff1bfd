"""A request of a service marks what it names, once, when it is the service's; no other request does anything."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy
from cryptography.fernet import Fernet

from connectors.notion.hooks import NotionHooks
from connectors.notion.simulator.webhooks import sign
from connectors.postgres.mirror.hook_store import KEEP_DAYS
from daemon.observe import metrics
from daemon.state import engine as state
from daemon.state.tokens import Tokens
from daemon.webhooks import verification
from daemon.webhooks.verification import Configured, Handshakes, Known, Stored
from schemas import tables
from tests.fix_heard import PROJECTS, SECRET, SOURCE, Heard, event, post
from tests.plain_hooks import HeaderHooks, SignedHooks, signed


def page() -> str:
    return str(uuid.uuid4())


def counted(outcome: str, target: str = "notion") -> float:
    return float(metrics.WEBHOOKS.labels(target, outcome)._value.get())


def test_a_page_of_ours_is_marked_and_who_reads_is_woken(heard: Heard) -> None:
    heard.run("LISTEN placemat_dirty")
    one = page()
    assert heard.notion(event(one)) == 200
    assert heard.dirty == [(PROJECTS, one, 1)]
    assert [told.channel for told in heard.mirror.notifies(timeout=20, stop_after=1)] == ["placemat_dirty"]


def test_a_delivery_that_comes_again_is_one(heard: Heard) -> None:
    one, before = page(), counted("repeated")
    body = event(one)
    assert [heard.notion(body) for _ in range(3)] == [200, 200, 200]
    assert heard.dirty == [(PROJECTS, one, 1)]
    assert counted("repeated") - before == 2
    with ThreadPoolExecutor(8) as pool:
        several = event(page())
        assert set(pool.map(heard.notion, [several] * 16)) == {200}
    assert [changes for *_, changes in heard.dirty] == [1, 1]
    assert heard.notion(event(one)) == 200
    assert (PROJECTS, one, 2) in heard.dirty, "another delivery of the same page counts"


def test_a_delivery_that_is_older_than_what_is_remembered_is_no_news(heard: Heard) -> None:
    old = datetime.now(UTC) - timedelta(days=KEEP_DAYS, hours=1)
    assert heard.notion(event(page(), timestamp=old.isoformat())) == 200
    assert heard.dirty == []
    young = event(page(), timestamp=(old + timedelta(hours=2)).isoformat())
    assert heard.notion(young) == 200
    assert len(heard.dirty) == 1
    heard.run("UPDATE placemat.deliveries SET at = at - make_interval(days => %s)", [KEEP_DAYS])
    heard.ways["notion"].marks.forget_old()
    assert heard.notion(young) == 200
    assert heard.dirty[0][2] == 1, "it is remembered for as long as it is young enough"
    heard.run("UPDATE placemat.deliveries SET at = at - interval '1 day'")
    heard.ways["notion"].marks.forget_old()
    assert heard.deliveries == 0


def test_a_page_that_is_not_ours_is_not_marked_unless_we_know_it(heard: Heard) -> None:
    known, elsewhere = page(), {"parent": {"data_source_id": str(uuid.uuid4())}}
    heard.run("INSERT INTO placemat.remotes (table_name, key, remote_id) VALUES (%s, '{}', %s)", [PROJECTS, known])
    heard.run("INSERT INTO placemat.remotes (table_name, key, remote_id) VALUES ('public.stories', '{}', %s)", [known])
    assert heard.notion(event(page(), data=elsewhere)) == 200
    assert heard.dirty == []
    assert heard.notion(event(known, type="page.moved", data=elsewhere)) == 200
    assert heard.dirty == [(PROJECTS, known, 1)], "in tables that are read, and in no others"


@pytest.mark.parametrize(
    ("alter", "why"),
    [
        (lambda body: (body, ""), "without a signature"),
        (lambda body: (body, sign("another", body)), "with another secret"),
        (lambda body: (body + b" ", sign(SECRET, body)), "of another body"),
        (lambda body: (json.dumps(json.loads(body), indent=1).encode(), sign(SECRET, body)), "written anew"),
        (lambda body: (b"", sign(SECRET, body)), "without a body"),
        (lambda body: (b"{" * 50_000, sign(SECRET, body)), "that must not be parsed"),
        (lambda _: (json.dumps({"verification_token": "x" * 40}).encode(), ""), "that hands over a secret unasked"),
    ],
)
def test_what_is_not_signed_by_the_service_does_nothing(
    heard: Heard, alter: Callable[[bytes], tuple[bytes, str]], why: str
) -> None:
    body, signature = alter(event(page()))
    assert heard.notion(body, signature) == 401, why
    assert (heard.dirty, heard.deliveries) == ([], 0)


def test_nobody_is_told_more_than_that_there_is_such_a_target(heard: Heard) -> None:
    body = event(page())
    places = ["/webhooks/other", "/webhooks/", "/webhooks", "/", "/webhooks/notion/x", "/webhooks/Notion", "/metrics"]
    assert {heard.notion(body, path=path) for path in places} == {404}
    heard.notion(body, path="/webhooks/notion?x=1")
    assert len(heard.dirty) == 1


def test_what_is_signed_and_cannot_be_read_is_not_sent_again(heard: Heard) -> None:
    before = counted("unreadable")
    assert heard.notion(b"{}") == 200
    assert counted("unreadable") - before == 1
    assert heard.deliveries == 0


def test_a_flood_is_turned_away_before_it_is_looked_at(bare: Heard) -> None:
    bare.way("notion", NotionHooks({PROJECTS: SOURCE}), Configured(SECRET), rate=0.001)
    bare.way("other", NotionHooks({PROJECTS: SOURCE}), Configured(SECRET))
    assert bare.notion(event(page()), "forged") == 401
    assert {bare.notion(event(page()), "forged") for _ in range(5)} == {429}
    assert bare.notion(event(page())) == 429, "it is sent again later, and polls make good"
    assert bare.notion(event(page()), path="/webhooks/other") == 200, "no other target is held up"


def test_while_the_mirror_is_down_the_service_is_to_come_again(heard: Heard) -> None:
    body = event(page())
    assert heard.notion(event(page())) == 200
    heard.run("ALTER TABLE placemat.dirty RENAME TO gone")
    assert heard.notion(body) == 503
    heard.run("ALTER TABLE placemat.gone RENAME TO dirty")
    heard.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'placemat webhooks notion'"
    )
    assert heard.notion(body) == 503, "the session was ended"
    assert len(heard.dirty) == 1, "nothing half done"
    assert heard.notion(body) == 200
    assert len(heard.dirty) == 2


def test_a_mirror_that_is_not_there_is_answered_for(bare: Heard) -> None:
    url = "postgresql://x:planted@127.0.0.1:1/x"
    bare.way("notion", NotionHooks({PROJECTS: SOURCE}), Configured(SECRET), url=url)
    assert bare.notion(event(page())) == 503


def test_a_mirror_that_does_not_answer_holds_up_nobody_for_long(heard: Heard) -> None:
    with psycopg.connect(heard.url) as busy:
        busy.execute("LOCK TABLE placemat.dirty IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(heard.notion, [event(page()) for _ in range(4)])) == {503}
    assert heard.notion(event(page())) == 200


def test_nothing_that_came_is_in_the_log(bare: Heard, capfd: pytest.CaptureFixture[str]) -> None:
    from daemon.observe import logs
    from daemon.webhooks.receiver import Receiver

    logs.configure("debug", "json")
    bare.way("notion", NotionHooks({PROJECTS: SOURCE}), Configured(SECRET))
    receiver = Receiver(bare.ways)
    from daemon.webhooks.head import Head

    planted = "planted-7c1f"
    for body in (event(page(), planted=planted), b'{"planted-7c1f', event(planted)):
        for signature in (sign(SECRET, body), planted):
            head = Head("POST", "/webhooks/notion", {"x-notion-signature": signature, "x": planted})
            receiver.answer(head, body)
    receiver.admit(Head("POST", f"/webhooks/{planted}", {}))
    bare.run("ALTER TABLE placemat.dirty RENAME TO gone")
    body = event(page(), planted=planted)
    receiver.answer(Head("POST", "/webhooks/notion", {"x-notion-signature": sign(SECRET, body)}), body)
    receiver.tell()
    said = capfd.readouterr().err
    assert "webhooks were turned away" in said
    assert '"count": 3' in said
    assert "could not be taken" in said
    assert planted not in said
    assert SECRET not in said
    assert sign(SECRET, body) not in said


# Services that are still to come


def test_a_service_that_tries_out_whether_signatures_are_looked_at_is_content(bare: Heard) -> None:
    bare.way("books", SignedHooks({"CONTACT": PROJECTS}), Configured("key"))
    empty = b'{"events":[],"firstEventSequence":0,"lastEventSequence":0,"entropy":"x"}'
    assert post(bare.port, empty, signed("key", empty), "/webhooks/books") == 200
    assert post(bare.port, empty, signed("other", empty), "/webhooks/books") == 401
    one, two = page(), page()
    events = [{"eventCategory": "CONTACT", "resourceId": one}, {"eventCategory": "INVOICE", "resourceId": two}]
    body = json.dumps({"events": events}).encode()
    assert [post(bare.port, body, signed("key", body), "/webhooks/books") for _ in range(2)] == [200, 200]
    assert bare.dirty == [(PROJECTS, one, 1)]


def test_a_service_that_tells_by_headers_only_has_its_table_looked_at(bare: Heard) -> None:
    bare.way("calendar", HeaderHooks({"c1": PROJECTS}), Configured("channel-token"))

    def told(token: str, number: int, state: str) -> int:
        headers = {
            "X-Goog-Channel-ID": "c1", "X-Goog-Channel-Token": token, "X-Goog-Message-Number": str(number),
            "X-Goog-Resource-State": state,
        }  # fmt: skip
        return post(bare.port, b"", headers, "/webhooks/calendar")

    assert told("channel-token", 1, "sync") == 200
    assert told("forged", 2, "exists") == 401
    assert bare.dirty == []
    assert [told("channel-token", 2, "exists") for _ in range(2)] == [200, 200]
    assert bare.dirty == [(PROJECTS, "", 1)]


# Secrets that are handed over


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 3, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(verification, "FRESH_SECONDS", -1)
    return Clock()


@pytest.fixture
def handshakes(database_factory: Callable[..., str], state_template: str, clock: Clock) -> Iterator[Handshakes]:
    with state.opened(database_factory("state", state_template)) as engine:
        yield Handshakes(Tokens(engine, [Fernet.generate_key()]), "notion", clock)


@pytest.fixture
def unknown(bare: Heard, handshakes: Handshakes) -> Heard:
    """Notion, of which no secret is known."""
    bare.way("notion", NotionHooks({PROJECTS: SOURCE}), Stored(handshakes))
    return bare


def handed(secret: str) -> bytes:
    return json.dumps({"verification_token": secret}).encode()


def test_a_secret_is_taken_once_from_whoever_comes_while_it_is_awaited(unknown: Heard, handshakes: Handshakes) -> None:
    assert unknown.notion(handed(SECRET), None) == 401
    assert post(unknown.port, handed(SECRET), {}) == 401, "nobody waits for it"
    assert unknown.notion(event(page())) == 401, "nobody can be known yet"
    handshakes.wait_for(60)
    assert unknown.notion(event(page())) == 401
    assert unknown.notion(handed(SECRET)) == 401, "a handshake is not signed"
    assert post(unknown.port, handed(SECRET), {}) == 200
    assert handshakes.known().secret == SECRET
    assert post(unknown.port, handed("x" * 40), {}) == 401, "the next one is a stranger"
    assert handshakes.known().secret == SECRET
    assert unknown.notion(event(page())) == 200
    assert len(unknown.dirty) == 1


def test_a_secret_that_is_known_holds_until_another_has_come(unknown: Heard, handshakes: Handshakes) -> None:
    handshakes.wait_for(60)
    assert post(unknown.port, handed(SECRET), {}) == 200
    handshakes.wait_for(60)
    assert unknown.notion(event(page())) == 200
    handshakes.stop_waiting()
    assert post(unknown.port, handed("x" * 40), {}) == 401
    assert unknown.notion(event(page())) == 200
    handshakes.wait_for(60)
    assert post(unknown.port, handed("x" * 40), {}) == 200
    assert unknown.notion(event(page())) == 401
    handshakes.forget()
    assert handshakes.known() == Known()
    body = event(page())
    assert post(unknown.port, body, {"X-Notion-Signature": sign("x" * 40, body)}) == 401


def test_nobody_waits_longer_than_was_said(unknown: Heard, handshakes: Handshakes, clock: Clock) -> None:
    handshakes.wait_for(60)
    clock.at += timedelta(seconds=61)
    assert post(unknown.port, handed(SECRET), {}) == 401
    assert not handshakes.accept(SECRET)
    handshakes.stop_waiting()
    assert handshakes.known() == Known()


def test_of_two_that_come_at_once_one_is_taken(handshakes: Handshakes) -> None:
    handshakes.wait_for(60)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(handshakes.accept, [f"{one}" * 40 for one in range(4)]))
    assert sorted(found) == [False, False, False, True]
    assert handshakes.known().secret == f"{found.index(True)}" * 40


def test_a_secret_is_stored_encrypted_and_outlives_a_state_that_is_away(
    unknown: Heard, handshakes: Handshakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    handshakes.wait_for(60)
    post(unknown.port, handed(SECRET), {})
    tokens: Any = handshakes._tokens
    assert isinstance(tokens, Tokens)
    with tokens._engine.connect() as connection:
        [(name, content)] = connection.execute(
            sqlalchemy.select(tables.tokens.c.connection, tables.tokens.c.content)
        ).fetchall()
    assert name == "notion:webhooks"
    assert SECRET.encode() not in content
    assert unknown.notion(event(page())) == 200
    away = sqlalchemy.create_engine("postgresql+psycopg://x@127.0.0.1:1/x")
    monkeypatch.setattr(tokens, "_engine", away)
    assert unknown.notion(event(page())) == 200, "what was read last holds"
    stranger = Stored(handshakes)
    unknown.way("stranger", NotionHooks({PROJECTS: SOURCE}), stranger)
    assert unknown.notion(event(page()), path="/webhooks/stranger") == 503, "it never was read here"
