"""An office: projects of the hub and of a simulated Notion that go both ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from connectors.notion.simulator import NotionSimulator, Settings
from tests.contract.notion_contract import Contract
from tests.fix_mirrored import WORKSPACE, Mirrored, made_mirrored
from tests.fix_servers import Kafka, Postgres
from tests.people import made
from tests.waiting import until

TOKEN = {"kind": "token", "token": "ntn_simulator"}
STATUS = {"planned": "Planned", "active": "Active", "paused": "Paused"}


@dataclass
class Office:
    mirrored: Mirrored
    notion: NotionSimulator

    def hub_rows(self) -> list[tuple[Any, ...]]:
        rows = self.mirrored.hub.execute("SELECT name, status, budget::float8 FROM projects ORDER BY name")
        return rows.fetchall()

    def pages(self) -> list[tuple[Any, ...]]:
        store = self.notion.store
        found = []
        for page in store.pages("Projects"):
            status = store.shown(page, "Status")
            values = {name: value for value, name in STATUS.items()}
            found.append((store.shown(page, "Name"), values.get(str(status)), store.shown(page, "Budget")))
        return sorted(found)

    def until_both(self, *expected: tuple[Any, ...]) -> None:
        def there() -> bool:
            return self.hub_rows() == sorted(expected) == self.pages()

        try:
            until(there, 30)
        except AssertionError:
            assert (self.hub_rows(), self.pages()) == (sorted(expected), sorted(expected))
            raise

    def project(self, **values: Any) -> UUID:
        return made(self.mirrored.hub, "projects", workspace_id=WORKSPACE, **values)


@contextmanager
def made_office(
    postgres: Postgres, kafka: Kafka, directory: Path, contract: Contract, settings: Settings, *, prepared: bool = True
) -> Iterator[Office]:
    """Not running; without `prepared` nothing knows of the hub's rows yet."""
    with made_mirrored(postgres, kafka, directory) as mirrored, NotionSimulator(settings) as notion:
        contract.attach(notion, every_request=True)
        target = mirrored.site.values["targets"][mirrored.name]
        target |= {"base_url": notion.url, "auth": TOKEN, "requests_per_minute": 6_000, "poll_seconds": 0.2}
        target["entities"] = {
            "projects": {
                "table": "public.projects", "data_source": notion.sources["Projects"].id, "both_ways": True,
                "updated_at": "updated_at", "defaults": {"workspace_id": str(WORKSPACE)},
                "fields": {
                    "name": {"property": "title"}, "status": {"property": "Status", "options": STATUS},
                    "budget": {"property": "Budget"}, "description": {"property": "Description"},
                    "area": {"property": "Area"},
                },
            }
        }  # fmt: skip
        mirrored.hub.execute("ALTER TABLE projects REPLICA IDENTITY FULL")
        mirrored.site.write()
        if prepared:
            mirrored.init()
        yield Office(mirrored, notion)


@pytest.fixture
def office(
    postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path, notion_contract: Contract
) -> Iterator[Office]:
    settings = Settings(connection_per_minute=6_000)
    with made_office(postgres_server, kafka_server, tmp_path, notion_contract, settings) as found:
        yield found


@pytest.fixture
def at_work(office: Office) -> Iterator[Office]:
    with office.mirrored.running():
        yield office
