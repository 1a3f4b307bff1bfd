"""Notion tells by webhooks, all of which is real but Notion: late, twice, in any order, forged or never. Numbers are
those of the ways in which a naive connector goes wrong."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from cryptography.fernet import Fernet

from connectors.notion.simulator import NotionSimulator
from connectors.notion.simulator.records import Page
from daemon.embedded.ports import LOOPBACK, free_port
from daemon.webhooks.listener import BODY_BYTES
from tests.fix_heard import post
from tests.fix_office import Office
from tests.people import put
from tests.waiting import until

SELDOM = 3_600
"""Seconds between two polls: longer than any test."""


@dataclass
class Told:
    """An office whose Notion tells of changes as soon as `webhooks.deliver_due` is called, to `port`."""

    office: Office
    port: int

    @property
    def notion(self) -> NotionSimulator:
        return self.office.notion

    @property
    def path(self) -> str:
        return f"/webhooks/{self.office.mirrored.name}"

    def subscribe(self) -> None:
        """As a person does it, with a command in one window and Notion in another."""
        mirrored = self.office.mirrored
        url = f"http://{LOOPBACK}:{self.port}{self.path}"
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(mirrored.site.placemat, "webhooks", "await", mirrored.name, "--json")
            until(lambda: self.notion.webhooks.subscribe(url) == 200, 30, what="a handshake that is taken")
            done = waiting.result(30)
        assert done.code == 0, done.err
        self.notion.webhooks.confirm(json.loads(done.out)["secret"])

    @contextmanager
    def at_work(self, **settings: float) -> Iterator[Page]:
        """With one project in step, known to both sides."""
        mirrored = self.office.mirrored
        mirrored.site.values["targets"][mirrored.name] |= settings
        mirrored.site.write()
        with mirrored.running():
            self.subscribe()
            self.office.project(name="Garden", budget=0)
            self.office.until_both(("Garden", "planned", 0))
            self.rest()
            [page] = self.notion.store.pages("Projects")
            yield page

    def rest(self) -> None:
        """Until all that was sent was read, and all that was to be told has been."""

        def quiet() -> bool:
            self.notion.webhooks.deliver_due()
            read = self.notion.counts()["get_page"]
            settled = self.office.mirrored.settled() and self.notion.webhooks.waiting == 0
            return settled and self.notion.counts()["get_page"] == read

        until(quiet, 30, what="rest")

    def versions(self) -> Callable[[], list[float]]:
        """The budgets that were seen from now on, in order, as a trigger has them."""
        run = self.office.mirrored.run
        run("CREATE TABLE public.versions (at bigserial PRIMARY KEY, budget numeric)")
        run(
            "CREATE FUNCTION public.version() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO public.versions (budget) VALUES (NEW.budget); RETURN NULL; END $$"
        )
        run("CREATE TRIGGER version AFTER UPDATE ON public.projects FOR EACH ROW EXECUTE FUNCTION public.version()")
        return lambda: [float(budget) for (budget,) in run("SELECT budget FROM public.versions ORDER BY at")]


@pytest.fixture
def told(office: Office) -> Told:
    mirrored, port = office.mirrored, free_port()
    office.notion.store.settings = replace(office.notion.store.settings, webhook_delay=0)
    values = mirrored.site.values
    values["targets"][mirrored.name] |= {"poll_seconds": SELDOM, "webhooks": {}}
    values["state"]["token_key"] = Fernet.generate_key().decode()
    values["webhooks"] = {"port": port, "requests_per_second": 1_000}
    mirrored.site.write()
    return Told(office, port)


def test_what_people_do_is_at_the_hub_long_before_the_next_poll(told: Told) -> None:
    with told.at_work() as page:
        people = told.notion.people
        people.edit(page, {"Budget": 7, "Status": "Active"})
        told.notion.webhooks.deliver_due()
        told.office.until_both(("Garden", "active", 7))
        people.create("Projects", {"Name": "Orchard", "Status": "Active", "Budget": 1})
        told.notion.webhooks.deliver_due()
        until(lambda: len(told.office.hub_rows()) == 2, 30)
        people.trash(page)
        told.notion.webhooks.deliver_due()
        until(lambda: [name for name, *_ in told.office.hub_rows()] == ["Orchard"], 30)
        people.restore(page)
        told.notion.webhooks.deliver_due()
        until(lambda: len(told.office.hub_rows()) == 2, 30)


@pytest.mark.parametrize("poll_seconds", [SELDOM, 0.1], ids=["webhooks alone", "beside polls"])
def test_10_an_older_state_never_follows_a_newer_one(told: Told, poll_seconds: float) -> None:
    """Every delivery comes twice, in any order; the page is edited all the while."""
    with told.at_work(poll_seconds=poll_seconds) as page:
        seen, webhooks, deliveries = told.versions(), told.notion.webhooks, []
        for budget in range(1, 41):
            told.notion.people.edit(page, {"Budget": budget})
            if budget % 3 == 0:
                first = len(webhooks.sent)
                webhooks.deliver_due()
                deliveries += webhooks.sent[first:]
                for sent in deliveries[-1:-4:-1]:
                    assert webhooks.send(sent.body, sent.signature) == 200
        told.rest()
        told.office.until_both(("Garden", "planned", 40))
        found = seen()
        assert found == sorted(set(found)), "each newer than the one before"
        assert found[-1] == 40


def test_10_a_page_is_what_it_is_in_the_end_whatever_the_order_of_what_is_told(told: Told) -> None:
    with told.at_work() as page:
        for at in range(5):
            told.notion.people.trash(page)
            told.notion.people.restore(page)
            told.notion.people.edit(page, {"Budget": at})
            told.notion.webhooks.deliver_due()
        told.rest()
        told.office.until_both(("Garden", "planned", 4))


def test_a_webhook_that_is_lost_is_made_good_by_the_poll(told: Told) -> None:
    with told.at_work(poll_seconds=0.2) as page:
        told.notion.webhooks.loses = lambda _: True
        told.notion.people.edit(page, {"Budget": 7})
        told.notion.webhooks.deliver_due()
        told.office.until_both(("Garden", "planned", 7))
        assert told.notion.webhooks.lost > 0


def test_a_webhook_that_was_not_taken_comes_again(told: Told) -> None:
    with told.at_work() as page:
        run = told.office.mirrored.run
        run("ALTER TABLE placemat.deliveries RENAME TO away")
        told.notion.people.edit(page, {"Budget": 7})
        told.notion.webhooks.deliver_due()
        assert told.notion.webhooks.sent[-1].status == 503
        run("ALTER TABLE placemat.away RENAME TO deliveries")
        told.notion.store.settings = replace(told.notion.store.settings, webhook_retries=(0,) * 7)
        assert told.notion.webhooks.waiting == 1
        for one in told.notion.webhooks._pending:
            one.due = told.notion.store.clock()
        told.notion.webhooks.deliver_due()
        told.office.until_both(("Garden", "planned", 7))


def test_10_what_is_replayed_or_forged_or_written_anew_or_too_long_or_slow_does_nothing(told: Told) -> None:
    with told.at_work() as page:
        webhooks, mirrored = told.notion.webhooks, told.office.mirrored
        told.notion.people.edit(page, {"Budget": 7})
        told.rest()
        told.office.until_both(("Garden", "planned", 7))
        told.rest()
        last = webhooks.sent[-1]
        asked, [[taken]] = told.notion.counts(), mirrored.run("SELECT count(*) FROM placemat.deliveries")
        # Were any of these believed, the page would be read, and this would be at the hub.
        told.notion.people.edit(page, {"Budget": 8})
        for sent in list(webhooks.sent)[-5:]:
            assert webhooks.send(sent.body, sent.signature) in (200, 401), "the handshake is of no use any more"
        anew = json.dumps(json.loads(last.body)).encode()
        assert anew != last.body
        assert webhooks.send(anew, last.signature) == 401
        again = json.dumps(json.loads(last.body) | {"id": "another"}).encode()
        assert webhooks.send(again, last.signature) == 401
        assert webhooks.send(again, "sha256=" + "0" * 64) == 401
        assert webhooks.send(json.dumps({"verification_token": "x" * 40}).encode(), "") == 401
        assert post(told.port, b"x" * (BODY_BYTES + 1), {"X-Notion-Signature": last.signature}, told.path) == 413
        with socket.create_connection((LOOPBACK, told.port), 30) as slow:
            slow.sendall(f"POST {told.path} HTTP/1.1\r\nContent-Length: {len(last.body)}\r\n".encode())
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        assert mirrored.run("SELECT count(*) FROM placemat.deliveries") == [(taken,)]
        assert told.notion.counts() == asked
        assert told.office.hub_rows() == [("Garden", "planned", 7)]


def test_9_what_we_write_ourselves_is_told_too_and_comes_to_rest(told: Told) -> None:
    with told.at_work():
        [(key,)] = told.office.mirrored.hub.execute("SELECT id FROM projects").fetchall()
        for budget in range(1, 4):
            put(told.office.mirrored.hub, "projects", key, budget=budget)
            told.office.until_both(("Garden", "planned", budget))
            told.rest()
        writes = told.notion.counts()["update_page"]
        told.rest()
        assert told.office.hub_rows() == [("Garden", "planned", 3)]
        assert told.notion.counts()["update_page"] == writes
        assert any(b'"type":"bot"' in sent.body for sent in told.notion.webhooks.sent)
