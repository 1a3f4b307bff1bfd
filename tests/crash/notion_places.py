"""Places of a hub that a simulated Notion shows, with real processes that tell it."""

from __future__ import annotations

import random
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from connectors.notion.simulator import NotionSimulator, Settings
from tests.fix_mirrored import Mirrored, made_mirrored
from tests.fix_servers import Kafka, Postgres


@dataclass
class Places:
    mirrored: Mirrored
    notion: NotionSimulator

    @property
    def keys(self) -> list[uuid.UUID]:
        """Of the rows that Notion is to have."""
        return [key for (key,) in self.mirrored.run("SELECT id FROM wanted.places ORDER BY id")]

    def spawn(self) -> subprocess.Popen[str]:
        """A process that tells Notion."""
        return self.mirrored.site.spawn("run", f"push:{self.mirrored.name}")

    def add(self, count: int) -> None:
        """New rows, as the hub's changes make them in the mirror."""
        self.mirrored.run(
            "INSERT INTO wanted.places (id, name)"
            " SELECT gen_random_uuid(), 'place ' || n FROM generate_series(1, %s) n",
            [count],
        )
        self.mirrored.run("NOTIFY placemat_queue")

    def write(self, stop: threading.Event, seed: int, keys: int) -> None:
        """Rows come, change and go until it is enough."""
        chance = random.Random(seed)
        some = [uuid.UUID(int=chance.getrandbits(128)) for _ in range(keys)]
        with psycopg.connect(self.mirrored.url, autocommit=True) as connection:
            while not stop.wait(0.02):
                key, name = chance.choice(some), f"place {chance.randrange(10**9)}"
                if chance.random() < 0.15:
                    connection.execute("DELETE FROM wanted.places WHERE id = %s", [key])
                else:
                    connection.execute(
                        "INSERT INTO wanted.places (id, name) VALUES (%s, %s)"
                        " ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name",
                        [key, name],
                    )

    def check(self) -> None:
        """Each row has one page, which shows it; counted in Notion's own store."""
        wanted = {str(key): [name] for key, name in self.mirrored.run("SELECT id, name FROM wanted.places")}
        store = self.notion.store
        shown = {
            key: [store.shown(page, "Name") for page in pages] for key, pages in store.by_key("Places").items()
        }  # fmt: skip
        assert shown == wanted
        assert all(len(pages) == 1 for pages in store.by_key("Places", in_trash=None).values()), "none twice"


@contextmanager
def places(postgres: Postgres, kafka: Kafka, directory: Path, per_minute: int) -> Iterator[Places]:
    """Prepared, and looked through once; nobody tells Notion yet."""
    with (
        made_mirrored(postgres, kafka, directory) as mirrored,
        NotionSimulator(Settings(connection_per_minute=per_minute)) as notion,
    ):
        target = mirrored.site.values["targets"][mirrored.name]
        target |= {
            "base_url": notion.url, "auth": {"kind": "token", "token": notion.token}, "requests_per_minute": per_minute,
            "entities": {
                "places": {
                    "table": "public.places", "data_source": notion.sources["Places"].id,
                    "fields": {"name": {"property": "title"}},
                }
            },
        }  # fmt: skip
        del mirrored.site.values["targets"][mirrored.back]
        mirrored.site.values["sources"][mirrored.site.source]["tables"] += ["public.places"]
        mirrored.hub.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO placemat_capture")
        mirrored.hub.execute("ALTER PUBLICATION placemat ADD TABLE places")
        mirrored.site.write()
        mirrored.init()
        with mirrored.running(f"fetch:{mirrored.name}"):
            mirrored.until("SELECT count(*) FROM placemat.cursors WHERE name = 'poll:public.places'", [(1,)])
        yield Places(mirrored, notion)
