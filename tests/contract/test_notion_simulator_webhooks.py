"""Webhooks of the simulator: the handshake, the signature, and all the ways in which they are not to be relied on."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from connectors.notion.simulator.webhooks import sign
from tests.fix_notion import Simulate, Simulated
from tests.notion_calls import title
from tests.notion_receiver import Receiver, receiver


def subscribe(notion: Simulated, subscriber: Receiver) -> Simulated:
    notion.simulator.webhooks.subscribe(subscriber.url)
    ((body, _),) = subscriber.got
    notion.simulator.webhooks.confirm(json.loads(body)["verification_token"])
    return notion


@pytest.fixture
def subscribed(notion: Simulated, subscriber: Receiver) -> Simulated:
    return subscribe(notion, subscriber)


def delivered(notion: Simulated) -> int:
    notion.clock.advance(30)
    return notion.simulator.webhooks.deliver_due()


def test_no_event_flows_before_the_token_was_confirmed(notion: Simulated, subscriber: Receiver) -> None:
    assert notion.simulator.webhooks.subscribe(subscriber.url) == 200
    notion.simulator.people.create("Projects", {})
    assert delivered(notion) == 0
    with pytest.raises(ValueError, match="not the verification token"):
        notion.simulator.webhooks.confirm("wrong")

    assert subscriber.events == []
    assert subscriber.got[0][1] is None


def test_an_event_is_signed_over_its_bytes_and_holds_no_content(subscribed: Simulated, subscriber: Receiver) -> None:
    page = subscribed.simulator.people.create("Projects", {"Name": "Garden"})
    delivered(subscribed)

    body, signature = subscriber.got[-1]
    key = subscribed.simulator.webhooks.token.encode()
    assert signature == sign(key.decode(), body) == f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}"
    event = json.loads(body)
    assert (event["type"], event["entity"]) == ("page.created", {"id": page.id, "type": "page"})
    assert event["authors"] == [{"id": subscribed.simulator.people.first.id, "type": "person"}]
    assert event["data"]["parent"]["data_source_id"] == subscribed.source("Projects")
    assert b"Garden" not in body


def test_edits_are_told_together_with_the_ids_of_the_properties(subscribed: Simulated, subscriber: Receiver) -> None:
    page = subscribed.simulator.people.create("Projects", {})
    delivered(subscribed)
    bea = subscribed.simulator.store.add_person("Bea")
    subscribed.simulator.people.edit(page, {"Budget": 1})
    subscribed.simulator.people.edit(page, {"Name": "x", "Budget": 2}, by=bea)
    delivered(subscribed)

    event = subscriber.events[-1]
    budget = subscribed.simulator.sources["Projects"].find("Budget")
    assert budget is not None
    assert event["type"] == "page.properties_updated"
    assert set(event["data"]["updated_properties"]) == {"title", budget.id}
    assert [author["id"] for author in event["authors"]] == [subscribed.simulator.people.first.id, bea.id]


def test_events_wait_for_their_delay(subscribed: Simulated, subscriber: Receiver) -> None:
    subscribed.simulator.people.create("Projects", {})
    subscribed.clock.advance(29)
    assert subscribed.simulator.webhooks.deliver_due() == 0
    subscribed.clock.advance(1)

    assert subscribed.simulator.webhooks.deliver_due() == 1


def test_every_kind_of_event(subscribed: Simulated, subscriber: Receiver) -> None:
    page = subscribed.calls.create(subscribed.source("Projects"), {"Name": title("Garden")}).json()["id"]
    people = subscribed.simulator.people
    people.edit(page, {"Budget": 1})
    people.trash(page)
    people.restore(page)
    people.lock(page)
    people.lock(page, locked=False)
    people.rename_property("Projects", "Budget", "Money")
    delivered(subscribed)

    assert sorted(event["type"] for event in subscriber.events) == [
        "data_source.schema_updated",
        "page.created",
        "page.deleted",
        "page.locked",
        "page.properties_updated",
        "page.undeleted",
        "page.unlocked",
    ]


def test_events_come_in_any_order(subscribed: Simulated, subscriber: Receiver) -> None:
    pages = [subscribed.simulator.people.create("Projects", {}).id for _ in range(20)]
    delivered(subscribed)

    told = [event["entity"]["id"] for event in subscriber.events]
    assert told != pages
    assert sorted(told) == sorted(pages)


def test_an_event_that_is_not_taken_comes_again_eight_times_in_all(subscribed: Simulated, subscriber: Receiver) -> None:
    subscriber.answers.extend([500] * 20)
    subscribed.simulator.people.create("Projects", {})
    delivered(subscribed)
    while subscribed.simulator.webhooks.waiting:
        subscribed.clock.advance(3600)
        subscribed.simulator.webhooks.deliver_due()

    events = subscriber.events
    assert [event["attempt_number"] for event in events] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len({event["id"] for event in events}) == 1
    assert subscribed.simulator.webhooks.given_up == 1


def test_an_edit_after_an_event_was_sent_is_another_event(subscribed: Simulated, subscriber: Receiver) -> None:
    page = subscribed.simulator.people.create("Projects", {})
    delivered(subscribed)
    subscriber.answers.append(500)
    subscribed.simulator.people.edit(page, {"Budget": 1})
    delivered(subscribed)
    subscribed.simulator.people.edit(page, {"Name": "Garden"})
    for _ in range(2):
        delivered(subscribed)

    told = [(event["attempt_number"], event["data"]["updated_properties"]) for event in subscriber.events[1:]]
    budget = subscribed.simulator.sources["Projects"].find("Budget")
    assert budget is not None
    assert sorted(told) == [(1, [budget.id]), (1, ["title"]), (2, [budget.id])]
    assert len({event["id"] for event in subscriber.events[1:]}) == 2


def test_a_subscriber_that_is_away_gets_its_events_later(notion: Simulated) -> None:
    with receiver() as away:
        subscribe(notion, away)
    notion.simulator.people.create("Projects", {})
    delivered(notion)

    assert notion.simulator.webhooks.sent[-1].status is None
    assert notion.simulator.webhooks.waiting == 1


def test_events_can_be_lost(subscribed: Simulated, subscriber: Receiver) -> None:
    subscribed.simulator.webhooks.lose(0.5)
    for _ in range(40):
        subscribed.simulator.people.create("Projects", {})
    delivered(subscribed)

    assert 5 < len(subscriber.events) < 35
    assert subscribed.simulator.webhooks.lost == 40 - len(subscriber.events)


@pytest.mark.parametrize("silent", [False, True])
def test_own_writes_may_be_told_too(contracted: Simulate, subscriber: Receiver, silent: bool) -> None:
    notion = subscribe(contracted(sends_no_events_of_own=silent), subscriber)
    notion.calls.create(notion.source("Projects"), {})
    delivered(notion)

    assert [event["authors"][0]["type"] for event in subscriber.events] == ([] if silent else ["bot"])


@pytest.mark.parametrize(("content", "type_"), [(False, "page.properties_updated"), (True, "page.content_updated")])
def test_an_edit_of_a_title_may_be_told_as_one_of_the_content(
    contracted: Simulate, subscriber: Receiver, content: bool, type_: str
) -> None:
    notion = contracted(title_is_content=content)
    page = notion.simulator.people.create("Projects", {})
    subscribe(notion, subscriber)
    notion.simulator.people.edit(page, {"Name": "Garden"})
    delivered(notion)

    assert [event["type"] for event in subscriber.events] == [type_]


def test_an_edit_of_the_body_is_told(subscribed: Simulated, subscriber: Receiver) -> None:
    page = subscribed.simulator.people.create("Projects", {})
    paragraph = {"paragraph": {"rich_text": [{"text": {"content": "one"}}]}}
    subscribed.calls.patch(f"blocks/{page.id}/children", {"children": [paragraph]})
    delivered(subscribed)

    assert {event["type"] for event in subscriber.events} == {"page.created", "page.content_updated"}


def test_only_the_types_that_were_subscribed_to_are_sent(subscribed: Simulated, subscriber: Receiver) -> None:
    subscribed.simulator.webhooks.types = frozenset(["page.deleted"])
    page = subscribed.simulator.people.create("Projects", {})
    subscribed.simulator.people.trash(page)
    delivered(subscribed)

    assert [event["type"] for event in subscriber.events] == ["page.deleted"]


def test_events_about_a_page_that_is_gone_are_still_told(subscribed: Simulated, subscriber: Receiver) -> None:
    page = subscribed.simulator.people.create("Projects", {})
    subscribed.simulator.people.delete_forever(page)
    delivered(subscribed)

    assert subscriber.events[0]["entity"]["id"] == page.id
