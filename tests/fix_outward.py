"""A hub whose places and artifacts Notion shows, and nothing comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors.notion.simulator import NotionSimulator, Settings
from tests.contract.notion_contract import Contract
from tests.fix_mirrored import Mirrored, made_mirrored
from tests.fix_servers import Kafka, Postgres
from tests.waiting import until

TOKEN = {"kind": "token", "token": "ntn_simulator"}


@dataclass
class Outward:
    """The hub, and a workspace of Notion that shows its places and artifacts."""

    mirrored: Mirrored
    notion: NotionSimulator

    def pages(self, source: str) -> list[dict[str, Any]]:
        """Values of its pages by property, without those that are empty."""
        store = self.notion.store
        names = [name for name in ("Name", "Status", "Budget", "Region", "Project", "Content", "Sync Key")]
        found = []
        for page in store.pages(source):
            shown = {name: store.shown(page, name) for name in names if store.source(source).find(name) is not None}
            found.append({name: value for name, value in shown.items() if value})
        return found

    def until_named(self, source: str, *names: str) -> None:
        def named() -> bool:
            return sorted(str(one.get("Name")) for one in self.pages(source)) == sorted(names)

        until(named, 30, what=f"{source} {names}")


@pytest.fixture
def outward(
    postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path, notion_contract: Contract
) -> Iterator[Outward]:
    with (
        made_mirrored(postgres_server, kafka_server, tmp_path) as mirrored,
        NotionSimulator(Settings(connection_per_minute=6_000)) as notion,
    ):
        notion_contract.attach(notion, every_request=True)
        target = mirrored.site.values["targets"][mirrored.name]
        target |= {"base_url": notion.url, "auth": TOKEN, "requests_per_minute": 6_000}
        target["entities"] = {
            "places": {
                "table": "public.places", "data_source": notion.sources["Places"].id,
                "fields": {"name": {"property": "title"}, "region": {"property": "Region"}},
            },
            "artifacts": {
                "table": "public.artifacts", "data_source": notion.sources["Artifacts"].id,
                "fields": {
                    "name": {"property": "title"}, "kind": {"property": "Kind"},
                    "place_id": {"property": "Place", "relation": "places"},
                },
            },
        }  # fmt: skip
        del mirrored.site.values["targets"][mirrored.back]
        mirrored.site.values["sources"][mirrored.site.source]["tables"] += ["public.places", "public.artifacts"]
        mirrored.hub.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO placemat_capture")
        mirrored.hub.execute("ALTER PUBLICATION placemat ADD TABLE places, artifacts")
        mirrored.site.write()
        mirrored.init()
        yield Outward(mirrored, notion)
