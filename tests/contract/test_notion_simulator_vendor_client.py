"""The vendor's Python client drives the simulator: it speaks the dialect that this client expects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from notion_client import APIErrorCode, APIResponseError, Client
from notion_client.client import ClientOptions
from notion_client.errors import HTTPResponseError
from notion_client.helpers import collect_paginated_api, is_full_data_source, is_full_page

from connectors.notion.simulator import Fault
from tests.fix_notion import Simulate, Simulated

OPTIONS: dict[str, Any] = {"notion_version": "2026-03-11"}


def client_of(notion: Simulated, **options: Any) -> Client:
    http = httpx.Client()
    given = ClientOptions(auth=notion.simulator.token, base_url=notion.simulator.url, **(OPTIONS | options))
    return Client(given, client=http)


@pytest.fixture
def client(notion: Simulated) -> Iterator[Client]:
    with client_of(notion) as found:
        yield found


def create(client: Client, notion: Simulated, key: str = "k", **more: Any) -> Any:
    return client.pages.create(
        parent={"type": "data_source_id", "data_source_id": notion.source("Projects")},
        properties={
            "Name": {"title": [{"text": {"content": "Garden"}}]},
            "Sync Key": {"rich_text": [{"text": {"content": key}}]},
            "Budget": {"number": 5},
        },
        **more,
    )


def rows(client: Client, notion: Simulated, **more: Any) -> list[Any]:
    found = collect_paginated_api(client.data_sources.query, data_source_id=notion.source("Projects"), **more)
    return list(found)


def test_a_scenario(client: Client, notion: Simulated) -> None:
    source = notion.simulator.sources["Projects"]
    database: Any = client.databases.retrieve(source.database)
    described: Any = client.data_sources.retrieve(database["data_sources"][0]["id"])
    me: Any = client.users.me()

    page = create(client, notion, children=[{"paragraph": {"rich_text": [{"text": {"content": "one"}}]}}])
    found = rows(client, notion, filter={"property": "Sync Key", "rich_text": {"equals": "k"}})
    updated: Any = client.pages.update(page["id"], properties={described["properties"]["Budget"]["id"]: {"number": 6}})
    number: Any = client.pages.properties.retrieve(page["id"], described["properties"]["Budget"]["id"])
    children: Any = client.blocks.children.list(page["id"])
    client.pages.update(page["id"], in_trash=True)
    hidden, trashed = rows(client, notion), rows(client, notion, in_trash=True)
    client.pages.update(page["id"], in_trash=False)

    assert is_full_data_source(described)
    assert is_full_page(page)
    assert me["id"] == page["created_by"]["id"]
    assert [one["id"] for one in found] == [page["id"]] == [one["id"] for one in rows(client, notion)]
    assert updated["properties"]["Budget"]["number"] == number["number"] == 6
    assert children["results"][0]["paragraph"]["rich_text"][0]["plain_text"] == "one"
    assert (hidden, [one["id"] for one in trashed]) == ([], [page["id"]])


def test_its_paging_finds_every_row(client: Client, notion: Simulated) -> None:
    made = {notion.simulator.people.create("Projects", {"Name": f"{at}"}).id for at in range(230)}

    assert {one["id"] for one in rows(client, notion)} == made
    assert notion.simulator.counts()["query_data_source"] == 3


def test_it_waits_as_long_as_it_is_told_and_goes_on(contracted: Simulate) -> None:
    notion = contracted()
    notion.simulator.faults.add(Fault("throttled", retry_after=1))

    with client_of(notion) as client:
        page = create(client, notion)

    assert notion.simulator.statuses() == {429: 1, 200: 1}
    assert [one.id for one in notion.simulator.store.pages("Projects")] == [page["id"]]


def test_it_understands_what_is_refused(client: Client, notion: Simulated) -> None:
    with pytest.raises(APIResponseError, match="is not a property that exists") as refused:
        client.pages.create(parent={"data_source_id": notion.source("Projects")}, properties={"Nobody": {"number": 1}})
    with pytest.raises(APIResponseError) as missing:
        client.pages.retrieve("00000000-0000-4000-8000-000000000000")

    assert refused.value.code == APIErrorCode.ValidationError
    assert missing.value.code == APIErrorCode.ObjectNotFound
    assert missing.value.request_id == notion.simulator.log[-1].request_id


def test_it_learns_what_a_failed_write_has_saved(client: Client, notion: Simulated) -> None:
    notion.simulator.faults.add(Fault("saved_503", route="create_page"))

    with pytest.raises(APIResponseError) as failed:
        create(client, notion)

    (page,) = notion.simulator.store.pages("Projects")
    assert failed.value.additional_data is not None
    assert failed.value.additional_data["committed_resource_id"] == page.id


def test_it_does_not_know_529(contracted: Simulate) -> None:
    """Measured, and one reason for a client of our own."""
    notion = contracted()
    notion.simulator.faults.add(Fault("overloaded"))

    with client_of(notion, retry=False) as client, pytest.raises(HTTPResponseError) as failed:
        client.users.me()

    assert failed.value.status == 529


def test_it_sends_a_write_once_when_the_reply_is_lost(client: Client, notion: Simulated) -> None:
    notion.simulator.faults.add(Fault("cut_after", route="create_page"))

    with pytest.raises(httpx.TransportError):
        create(client, notion)

    assert notion.simulator.counts()["create_page"] == len(notion.simulator.store.pages("Projects")) == 1


def test_its_version_of_before_works_too(notion: Simulated) -> None:
    with client_of(notion, notion_version="2025-09-03") as client:
        page = create(client, notion)
        archived: Any = client.pages.update(page["id"], archived=True)

    assert archived["in_trash"] is True


def test_it_logs_in(client: Client, notion: Simulated) -> None:
    own = notion.simulator.oauth
    code = own.approve("http://localhost/callback")
    token: Any = client.oauth.token(
        own.client_id, own.client_secret, grant_type="authorization_code", code=code,
        redirect_uri="http://localhost/callback",
    )  # fmt: skip
    looked_up: Any = client.oauth.introspect(own.client_id, own.client_secret, token=token["access_token"])

    assert looked_up["active"] is True
