"""Somebody is told that conflicts wait: over real HTTP and SMTP, by a clock of the test's own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY

from connectors.postgres import session
from daemon import wiring
from daemon.errors import Unavailable
from daemon.notify.worker import NotifyWorker
from daemon.state.workers import WorkerState
from tests.fix_linked import Linked, made_linked
from tests.fix_servers import Kafka, Postgres
from tests.people import made
from tests.receivers import Mails, Webhooks, mails, webhooks
from tests.supervised import Supervised
from tests.waiting import until

SECRET = "a value of a person"


class Clock:
    """Stands still until it is moved; `asked` counts who looked."""

    def __init__(self) -> None:
        self.now = datetime(2031, 5, 1, tzinfo=UTC)
        self.asked = 0

    def __call__(self) -> datetime:
        self.asked += 1
        return self.now


class Told:
    """A worker in a thread."""

    def __init__(self, linked: Linked, clock: Clock, look_seconds: float) -> None:
        settings = linked.site.settings
        self.clock = clock
        self.states: list[tuple[WorkerState, str | None]] = []
        self._stop = threading.Event()
        worker = NotifyWorker(
            settings,
            linked.site.source,
            wiring.conflicts,
            clock=clock,
            look_seconds=look_seconds,
            longest_delay_seconds=0,
        )
        self.name = worker.name
        self._thread = threading.Thread(target=worker.run, args=(self._stop, self._report))

    def _report(self, state: WorkerState, detail: str | None) -> None:
        self.states.append((state, detail))

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def looked(self) -> None:
        """Wait until it has looked from beginning to end, as the clock is now."""
        before = self.clock.asked
        until(lambda: self.clock.asked >= before + 3, what="the worker to look")

    def said(self, state: WorkerState, word: str) -> bool:
        return any(known == state and word in (detail or "") for known, detail in self.states)


@pytest.fixture(scope="module")
def prepared(
    postgres_server: Postgres, kafka_server: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Linked]:
    with made_linked(postgres_server, kafka_server, tmp_path_factory.mktemp("notify")) as linked:
        linked.route("storytellers", title="name")
        linked.init()
        yield linked


@pytest.fixture
def hub(prepared: Linked) -> Iterator[Linked]:
    yield prepared
    prepared.hub.execute("DELETE FROM placemat.conflicts")
    prepared.hub.execute("DELETE FROM placemat.parked")
    prepared.site.values.pop("notify", None)
    prepared.site.write()


@pytest.fixture
def hook(hub: Linked) -> Iterator[Webhooks]:
    with webhooks() as found:
        hub.site.set("notify.webhook_url", found.url)
        yield found


@pytest.fixture
def post(hub: Linked) -> Iterator[Mails]:
    with mails() as found:
        hub.site.values["notify"] = {
            "email_to": "ada@example.org, grace@example.org", "email_from": "placemat@example.org",
            "smtp_host": "127.0.0.1", "smtp_port": found.port, "smtp_security": "none",
        }  # fmt: skip
        hub.site.write()
        yield found


@contextmanager
def telling(linked: Linked, look_seconds: float = 0.01) -> Iterator[Told]:
    told = Told(linked, Clock(), look_seconds)
    told.start()
    try:
        yield told
    finally:
        told.end()


def waiting(linked: Linked, *titles: str) -> list[int]:
    """Conflicts about storytellers with these names; their numbers."""
    state = f'{{"revision":1,"fields":{{"{linked.spoke_name}":{{"bio":["\\"{SECRET}\\"",1,1,null]}}}}}}'
    found = []
    workspace = made(linked.hub, "workspaces", name="Commons", slug=uuid.uuid4().hex)
    for title in titles:
        key = made(linked.hub, "storytellers", workspace_id=workspace, name=title, bio=SECRET)
        row = linked.hub.execute(
            "INSERT INTO placemat.conflicts (table_name, key, state, waits)"
            " VALUES ('public.storytellers', %s, %s, true) RETURNING id",
            [f'{{"id":"{key}"}}', state],
        ).fetchone()
        assert row is not None
        found.append(row[0])
    return found


def refusing(linked: Linked, title: str) -> int:
    """A storyteller of the spoke with this name, which the hub has not taken; its number."""
    row = linked.hub.execute(
        "INSERT INTO placemat.parked (source, table_name, key, kind, sqlstate, reason)"
        " VALUES (%s, 'public.storytellers', %s, 'refused', '23514', %s) RETURNING id",
        [linked.spoke_name, f'{{"id":"{uuid.uuid4()}"}}', f"it does not hold of {SECRET}"],
    ).fetchone()
    assert row is not None
    linked.hub.execute(
        "INSERT INTO placemat.parked_events VALUES (%s, 1, 'topic', 0, 1, %s)",
        [row[0], f'{{"op":"c","after":{{"name":"{title}","bio":"{SECRET}"}}}}'],
    )
    return int(row[0])


def failures(linked: Linked, channel: str) -> float:
    labels = {"hub": linked.site.source, "channel": channel}
    return REGISTRY.get_sample_value("placemat_notification_failures_total", labels) or 0.0


def test_one_message_tells_of_all_that_is_new_and_holds_no_value_of_a_field(hub: Linked, hook: Webhooks) -> None:
    with hub.hub.transaction():
        numbers = waiting(hub, *(f"Teller {number}" for number in range(12)))
    with telling(hub) as told:
        until(lambda: hook.got)
        told.looked()
    [message] = hook.got
    assert (message["event"], message["hub"], message["new"], message["still_waiting"]) == (
        "conflicts_waiting", hub.site.source, 12, 0,
    )  # fmt: skip
    assert [one["id"] for one in message["conflicts"]] == numbers[:10]
    assert message["conflicts"][0]["title"] == "Teller 0"
    assert (message["conflicts"][0]["table"], message["conflicts"][0]["fields"]) == ("public.storytellers", ["bio"])
    assert SECRET not in str(message)
    assert "token=secret" not in str(told.states)


def test_a_row_is_named_by_its_key_alone_where_no_route_says_what_names_it(hub: Linked, hook: Webhooks) -> None:
    route = hub.site.values["targets"][hub.spoke_name]["tables"]["public.storytellers"]
    route.pop("title")
    hub.site.write()
    try:
        waiting(hub, "Ruth")
        with telling(hub):
            until(lambda: hook.got)
    finally:
        hub.route("storytellers", title="name")
    assert "Ruth" not in str(hook.got)
    assert hook.got[0]["conflicts"][0]["title"] is None


def test_what_comes_within_a_minute_waits_for_the_next_message(hub: Linked, hook: Webhooks) -> None:
    with telling(hub) as told:
        waiting(hub, "first")
        until(lambda: hook.got)
        waiting(hub, "second")
        told.looked()
        told.clock.now += timedelta(seconds=59)
        told.looked()
        assert len(hook.got) == 1
        told.clock.now += timedelta(seconds=1)
        until(lambda: len(hook.got) == 2)
    assert [one["title"] for one in hook.got[1]["conflicts"]] == ["second"]


def test_what_waits_still_after_a_day_is_told_again_and_what_was_decided_is_not(hub: Linked, hook: Webhooks) -> None:
    kept, decided = waiting(hub, "kept", "decided")
    with telling(hub) as told:
        until(lambda: hook.got)
        hub.hub.execute("UPDATE placemat.conflicts SET waits = false WHERE id = %s", [decided])
        told.clock.now += timedelta(hours=24, seconds=-1)
        told.looked()
        assert len(hook.got) == 1
        told.clock.now += timedelta(seconds=1)
        until(lambda: len(hook.got) == 2)
    assert (hook.got[1]["new"], hook.got[1]["still_waiting"]) == (0, 1)
    assert [one["id"] for one in hook.got[1]["conflicts"]] == [kept]


def test_what_the_hub_refuses_is_told_without_a_value_and_again_after_a_day(hub: Linked, hook: Webhooks) -> None:
    with hub.hub.transaction():
        number, [conflict] = refusing(hub, "Ruth"), waiting(hub, "Mary")
    with telling(hub) as told:
        until(lambda: [one for message in hook.got for one in message["refused"]])
        told.clock.now += timedelta(minutes=1)
        told.looked()
        refused = [one for message in hook.got for one in message["refused"]]
        assert [(one["id"], one["dlq"], one["title"], one["kind"]) for one in refused] == [
            (f"dlq-{number}", number, "Ruth", "refused")
        ]
        assert (refused[0]["target"], refused[0]["spoke"]) == (hub.hub_target, hub.spoke_name)
        assert sum(message["new"] for message in hook.got) == 2
        assert [one["id"] for message in hook.got for one in message["conflicts"]] == [conflict]
        told.clock.now += timedelta(hours=24)
        until(lambda: hook.got[-1]["still_waiting"])
    assert [one["id"] for one in hook.got[-1]["refused"]] == [f"dlq-{number}"]
    assert SECRET not in str(hook.got)


def test_what_the_hub_refuses_is_counted_with_what_waits(hub: Linked, hook: Webhooks) -> None:
    with hub.hub.transaction():
        waiting(hub, "Mary")
        refusing(hub, "Ruth")
    with telling(hub) as told:
        told.looked()
        labels = {"hub": hub.site.source}
        assert REGISTRY.get_sample_value("placemat_conflicts_waiting", labels) == 2


def test_what_the_hub_may_take_before_the_next_look_is_not_told_yet(hub: Linked, hook: Webhooks) -> None:
    refusing(hub, "fresh")
    kept = refusing(hub, "kept")
    hub.hub.execute("UPDATE placemat.parked SET parked_at = now() - interval '61 minutes' WHERE id = %s", [kept])
    with telling(hub, look_seconds=3_600):
        until(lambda: hook.got)
    assert [one["dlq"] for message in hook.got for one in message["refused"]] == [kept]


def test_a_webhook_that_fails_for_a_moment_gets_the_same_message_again(hub: Linked, hook: Webhooks) -> None:
    hook.answers.extend([503, -1, 429])
    waiting(hub, "one")
    with telling(hub):
        until(lambda: hook.got)
    assert len(hook.ids) == 4
    assert len(set(hook.ids)) == 1
    assert len(hook.got) == 1


@pytest.mark.parametrize("answers", [[400], [302], [500] * 4], ids=["refused", "moved", "broken"])
def test_a_webhook_that_does_not_take_it_is_a_metric_and_a_sentence_and_is_tried_again_later(
    hub: Linked, hook: Webhooks, answers: list[int]
) -> None:
    before = failures(hub, "webhook")
    hook.answers.extend(answers)
    waiting(hub, "one")
    with telling(hub) as told:
        until(lambda: told.said("running", f"the webhook answered {answers[0]}"))
        assert failures(hub, "webhook") == before + 1
        assert (len(hook.ids), hook.got) == (len(answers), [])
        hub.hub.execute("UPDATE placemat.conflicts SET state = state")
        told.clock.now += timedelta(minutes=1)
        until(lambda: hook.got)
        until(lambda: told.states[-1] == ("running", None))


def test_an_email_names_what_waits(hub: Linked, post: Mails) -> None:
    waiting(hub, "Ruth", "Märy")
    with telling(hub):
        until(lambda: post.got)
    [mail] = post.got
    assert mail["Subject"] == f"placemat: conflicts at {hub.site.source}: 2 new"
    assert (mail["To"], mail["From"]) == ("ada@example.org, grace@example.org", "placemat@example.org")
    text = mail.get_content()
    assert "Ruth: bio" in text
    assert "Märy: bio" in text
    assert SECRET not in text


def test_an_email_names_what_the_hub_refuses(hub: Linked, post: Mails) -> None:
    number = refusing(hub, "Ruth")
    with telling(hub):
        until(lambda: post.got)
    [mail] = post.got
    assert f"dlq-{number}  public.storytellers  Ruth: refused of {hub.spoke_name}, refused" in mail.get_content()
    assert SECRET not in mail.get_content()


def test_a_mail_server_that_is_busy_is_asked_again(hub: Linked, post: Mails) -> None:
    post.answers.append(451)
    waiting(hub, "one")
    with telling(hub):
        until(lambda: post.got)
    assert len(post.got) == 1


def test_no_email_goes_out_in_the_clear_unless_that_is_asked_for(hub: Linked, post: Mails) -> None:
    hub.site.set("notify.smtp_security", "starttls")
    waiting(hub, "one")
    with telling(hub) as told:
        until(lambda: told.said("running", "the mail server offers no TLS"))
    assert post.got == []


def test_who_was_told_by_one_way_is_not_told_again_because_the_other_has_failed(hub: Linked, hook: Webhooks) -> None:
    with mails() as post:
        post.answers.append(550)
        hub.site.values["notify"] |= {
            "email_to": "ada@example.org", "smtp_host": "127.0.0.1", "smtp_port": post.port, "smtp_security": "none",
        }  # fmt: skip
        hub.site.write()
        waiting(hub, "one")
        with telling(hub) as told:
            until(lambda: told.said("running", "the mail server answered 550"))
            told.clock.now += timedelta(minutes=2)
            told.looked()
    assert (len(hook.got), post.got) == (1, [])


def test_a_second_instance_stands_by(hub: Linked, hook: Webhooks) -> None:
    with telling(hub) as first:
        until(lambda: first.states)
        with telling(hub) as second:
            until(lambda: second.said("standby", ""))
            waiting(hub, "one")
            until(lambda: hook.got)
            first.end()
            until(lambda: second.said("running", ""))
            second.looked()
    assert len(hook.got) == 1


def test_a_hub_that_is_away_is_waited_for(hub: Linked, hook: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"PLACEMAT_TARGETS__{hub.hub_target.upper()}__URL", "postgresql://127.0.0.1:1/nothing")
    worker = NotifyWorker(hub.site.settings, hub.site.source, wiring.conflicts)
    with pytest.raises(Unavailable, match="cannot be reached"):
        worker.run(threading.Event(), lambda *_: None)


def test_a_hub_that_goes_while_it_is_looked_at_is_waited_for(hub: Linked, hook: Webhooks) -> None:
    def cut(*_: Any) -> None:
        hub.hub.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'placemat conflicts'"
        )

    worker = NotifyWorker(hub.site.settings, hub.site.source, wiring.conflicts, look_seconds=0)
    with pytest.raises(Unavailable):
        worker.run(threading.Event(), cut)


def test_a_hub_that_is_busy_is_looked_at_again(hub: Linked, hook: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(session._SETTINGS, "lock_timeout", "50ms")
    waiting(hub, "one")
    worker = NotifyWorker(hub.site.settings, hub.site.source, wiring.conflicts)
    with Supervised(worker) as told:
        with psycopg.connect(hub.site.primary) as somebody:
            somebody.execute("LOCK TABLE placemat.conflicts")
            until(lambda: told.count("waiting") > 1, what="it is busy, and busy still")
        until(lambda: hook.got)
    assert "was busy (55P03)" in told.details
    assert told.error is None


def test_there_is_a_worker_for_it_only_where_somebody_is_to_be_told(hub: Linked) -> None:
    assert not [name for name in wiring.worker_names(hub.site.settings) if name.startswith("notify")]
    hub.site.set("notify.webhook_url", "https://example.org/hook")
    assert wiring.choose(hub.site.settings, ["notify"]) == [f"notify:{hub.site.source}"]
    [worker] = wiring.workers(hub.site.settings, [f"notify:{hub.site.source}"])
    assert worker.name == f"notify:{hub.site.source}"
