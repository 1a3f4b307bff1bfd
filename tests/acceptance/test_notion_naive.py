"""Ten ways a naive connector goes wrong with Notion: on the simulator it does go wrong in each of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest

from connectors.notion.simulator import Fault
from connectors.notion.simulator.webhooks import sign
from tests.acceptance.notion_naive import TRIES, GaveUp, Naive
from tests.fix_notion import Simulate, Simulated
from tests.notion_receiver import Receiver

KEY = "k"
Script = Callable[..., Naive]


@pytest.fixture
def script() -> Iterator[Script]:
    """Makes a naive client of a simulator, with one row in its hub."""
    with ExitStack() as stack:

        def start(notion: Simulated, **more: Any) -> Naive:
            found = Naive(notion.simulator.url, notion.simulator.token, notion.source("Projects"), **more)
            stack.callback(found.close)
            found.hub[KEY] = {"Name": "Garden", "Budget": 5, "Description": "green"}
            return found

        yield start


def pages(notion: Simulated, *, in_trash: bool | None = False) -> int:
    return len(notion.simulator.store.by_key("Projects", in_trash=in_trash).get(KEY, []))


def shown(notion: Simulated, script: Naive, name: str = "Budget") -> object:
    return notion.simulator.store.shown(notion.simulator.store.page(script.links[KEY]), name)


def events(notion: Simulated, subscriber: Receiver) -> list[bytes]:
    """What was sent since the subscription, after its delay."""
    notion.clock.advance(60)
    notion.simulator.webhooks.deliver_due()
    return [body for body, signature in subscriber.got if signature]


def subscribe(notion: Simulated, subscriber: Receiver) -> None:
    notion.simulator.webhooks.subscribe(subscriber.url)
    notion.simulator.webhooks.confirm(notion.simulator.webhooks.token)


def test_1_a_reply_that_is_lost_after_a_create_becomes_a_second_page(simulate: Simulate, script: Script) -> None:
    notion = simulate()
    notion.simulator.faults.add(Fault("cut_after", route="create_page"))

    script(notion).push(KEY)

    assert pages(notion) == 2


def test_2_a_create_that_was_saved_and_answered_503_becomes_a_second_page(simulate: Simulate, script: Script) -> None:
    notion = simulate()
    notion.simulator.faults.add(Fault("saved_503", route="create_page"))

    script(notion).push(KEY)

    assert pages(notion) == 2


def test_3_the_second_of_two_edits_in_one_minute_is_lost(simulate: Simulate, script: Script) -> None:
    notion = simulate()
    naive = script(notion)
    naive.push(KEY)
    notion.clock.advance(60)
    notion.simulator.people.edit(naive.links[KEY], {"Budget": 6})
    naive.poll()
    notion.clock.advance(10)
    notion.simulator.people.edit(naive.links[KEY], {"Budget": 7})

    for _ in range(5):
        notion.clock.advance(60)
        naive.poll()

    assert (naive.hub[KEY]["Budget"], shown(notion, naive)) == (6, 7)


def test_4_beyond_10_000_rows_what_is_not_seen_is_deleted(simulate: Simulate, script: Script) -> None:
    """With a limit of 20 rows here; that it is 10,000 has its own test."""
    notion = simulate(query_rows=20)
    naive = script(notion)
    naive.hub.clear()
    for at in range(25):
        notion.simulator.people.create("Projects", {"Sync Key": f"{at}"})
        naive.hub[f"{at}"] = {"Name": "", "Budget": None, "Description": ""}

    naive.compare()

    assert len(naive.hub) == 20
    assert len(notion.simulator.store.pages("Projects")) == 25


def test_5_an_overload_ends_it_and_every_worker_asks_again_at_once_when_told_to_wait(
    simulate: Simulate, script: Script
) -> None:
    notion = simulate(connection_per_minute=1)
    notion.simulator.faults.add(Fault("overloaded"))
    naive = script(notion)
    with pytest.raises(GaveUp, match="service_overload"):
        naive.push(KEY)

    naive.push(KEY)
    workers = [script(notion) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        for ended in [pool.submit(worker.push, KEY) for worker in workers]:
            with pytest.raises(GaveUp):
                ended.result()

    assert notion.simulator.statuses()[429] == 3 * TRIES
    assert len({seen.at for seen in notion.simulator.log if seen.status == 429}) == 1


@pytest.mark.parametrize("text", ["x" * 2001, "🌱" * 1001])
def test_6_a_long_text_keeps_the_whole_row_out(simulate: Simulate, script: Script, text: str) -> None:
    notion = simulate()
    naive = script(notion)
    naive.hub[KEY]["Description"] = text

    with pytest.raises(GaveUp, match="should be ≤ `2000`"):
        naive.push(KEY)

    assert pages(notion) == 0


def test_7_a_property_that_is_renamed_stops_it_and_empties_the_hub(simulate: Simulate, script: Script) -> None:
    notion = simulate()
    naive = script(notion)
    naive.push(KEY)
    notion.simulator.people.rename_property("Projects", "Budget", "Money")

    with pytest.raises(GaveUp, match="Budget is not a property that exists"):
        naive.push(KEY)
    naive.poll()

    assert naive.hub[KEY]["Budget"] is None
    assert shown(notion, naive, "Money") == 5


def test_7_a_property_whose_type_is_changed_empties_the_hub(simulate: Simulate, script: Script) -> None:
    notion = simulate()
    naive = script(notion)
    naive.push(KEY)
    notion.simulator.people.change_type("Projects", "Budget", "rich_text")

    naive.poll()

    assert naive.hub[KEY]["Budget"] is None
    assert shown(notion, naive) == "5"


def test_8_a_page_that_a_person_trashed_is_made_anew_and_restored_there_are_two(
    simulate: Simulate, script: Script
) -> None:
    notion = simulate()
    naive = script(notion)
    naive.push(KEY)
    page = notion.simulator.store.page(naive.links[KEY])
    notion.simulator.people.trash(page)

    naive.push(KEY)
    notion.simulator.people.restore(page)

    assert pages(notion) == 2


def test_9_its_own_edits_come_back_for_ever(simulate: Simulate, script: Script) -> None:
    notion = simulate()
    naive = script(notion)
    naive.push(KEY)

    for rounds in range(1, 6):
        notion.clock.advance(60)
        naive.round()
        assert notion.simulator.done("update_page") == rounds


def test_9_the_webhook_of_its_own_edit_makes_it_write_again(
    simulate: Simulate, script: Script, subscriber: Receiver
) -> None:
    notion = simulate()
    naive = script(notion)
    subscribe(notion, subscriber)
    naive.push(KEY)

    for body in events(notion, subscriber):
        naive.believe(body)

    assert notion.simulator.done("update_page") == 1


def test_9_an_edit_of_a_person_right_after_its_own_is_swallowed_as_an_echo(simulate: Simulate, script: Script) -> None:
    notion = simulate()
    naive = script(notion, echo="same minute")
    naive.push(KEY)
    notion.clock.advance(10)
    notion.simulator.people.edit(naive.links[KEY], {"Budget": 99})

    taken = []
    for _ in range(3):
        notion.clock.advance(60)
        taken.append(naive.poll())

    assert taken == [[], [], []]
    assert (naive.hub[KEY]["Budget"], shown(notion, naive)) == (5, 99)


def test_10_a_forged_webhook_is_believed(simulate: Simulate, script: Script) -> None:
    notion = simulate()
    naive = script(notion)
    naive.push(KEY)
    forged = {"id": str(uuid4()), "type": "page.deleted", "entity": {"id": naive.links[KEY], "type": "page"}}

    naive.believe(json.dumps(forged).encode())

    assert KEY not in naive.hub
    assert pages(notion) == 1


def test_10_a_webhook_that_comes_twice_is_acted_on_twice(
    simulate: Simulate, script: Script, subscriber: Receiver
) -> None:
    notion = simulate()
    naive = script(notion)
    naive.push(KEY)
    subscribe(notion, subscriber)
    subscriber.answers.append(500)
    notion.simulator.people.edit(naive.links[KEY], {"Budget": 6})
    (first,) = events(notion, subscriber)
    _, second = events(notion, subscriber)

    naive.believe(first)
    naive.believe(second)

    assert len(naive.applied) == 2
    assert len(set(naive.applied)) == 1


def test_10_webhooks_out_of_order_leave_the_wrong_state(
    simulate: Simulate, script: Script, subscriber: Receiver
) -> None:
    notion = simulate()
    naive = script(notion)
    naive.push(KEY)
    subscribe(notion, subscriber)
    notion.simulator.people.trash(naive.links[KEY])
    notion.simulator.people.restore(naive.links[KEY])
    by_type = {json.loads(body)["type"]: body for body in events(notion, subscriber)}

    naive.believe(by_type["page.undeleted"])
    naive.believe(by_type["page.deleted"])

    assert KEY not in naive.hub
    assert pages(notion) == 1


def test_10_a_genuine_webhook_is_refused_where_its_body_is_written_anew(
    simulate: Simulate, script: Script, subscriber: Receiver
) -> None:
    notion = simulate()
    naive = script(notion)
    subscribe(notion, subscriber)
    notion.simulator.people.create("Projects", {"Sync Key": KEY})
    (body,) = events(notion, subscriber)
    token = notion.simulator.webhooks.token
    signature = subscriber.got[-1][1]

    assert signature == sign(token, body)
    assert not naive.trusts(body, str(signature), token)
