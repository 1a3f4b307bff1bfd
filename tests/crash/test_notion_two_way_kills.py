"""All who stand between the hub and Notion are killed again and again, while Notion loses replies and people work on
both sides: each row has one page, and nothing that anybody did is lost."""

from __future__ import annotations

import random
import subprocess
import threading
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from daemon import wiring
from tests.crash.notion_faults import LOSSES, slow
from tests.fix_mirrored import WORKSPACE
from tests.fix_office import Office
from tests.waiting import until
from tests.working import beside

KILLS = 100
SEED = 20261123
PARTS = ("capture", "apply", "push", "fetch")
ROWS = 15
"""Made on each side at the beginning."""
FAULTS = (*LOSSES, *slow(0.3, 0.5, 0.2))


@dataclass
class People:
    """Those at the hub set budgets, those at Notion areas; both make rows, and take away such that nobody edits. `rows`
    are those that stay, by name: budget and area as they were set last."""

    office: Office
    chance: random.Random
    rows: dict[str, list[Any]] = field(default_factory=dict)
    doomed: set[str] = field(default_factory=set)
    done: int = 0

    def begin(self) -> None:
        with psycopg.connect(self.office.mirrored.site.primary, autocommit=True) as hub:
            for _ in range(ROWS):
                self._make_at_hub(hub, self._kept("hub"))
        for _ in range(ROWS):
            self._make_at_notion(self._kept("notion"))

    def _kept(self, side: str) -> str:
        name = f"{side} {len(self.rows)}"
        self.rows[name] = [None, None]
        return name

    def _doomed(self, side: str) -> str:
        self.done += 1
        name = f"doomed at {side} {self.done}"
        self.doomed.add(name)
        return name

    def _make_at_hub(self, hub: psycopg.Connection[Any], name: str) -> None:
        hub.execute("INSERT INTO projects (workspace_id, name) VALUES (%s, %s)", [WORKSPACE, name])

    def _make_at_notion(self, name: str) -> None:
        self.office.notion.people.create("Projects", {"Name": name, "Status": "Planned"})

    def at_hub(self, stop: threading.Event) -> None:
        chance = random.Random(self.chance.random())
        with psycopg.connect(self.office.mirrored.site.primary, autocommit=True) as hub:
            while not stop.wait(0.05):
                draw, there = (
                    chance.random(),
                    [name for (name,) in hub.execute("SELECT name FROM projects ORDER BY id")],
                )
                if draw < 0.85 and (kept := [name for name in there if name in self.rows]):
                    name, budget = chance.choice(kept), chance.randrange(10**6)
                    hub.execute("UPDATE projects SET budget = %s WHERE name = %s", [budget, name])
                    self.rows[name][0] = float(budget)
                elif draw < 0.88:
                    self._make_at_hub(hub, self._kept("hub"))
                elif draw < 0.94:
                    self._make_at_hub(hub, self._doomed("hub"))
                elif doomed := [name for name in there if name in self.doomed]:
                    hub.execute("DELETE FROM projects WHERE name = %s", [chance.choice(doomed)])

    def at_notion(self, stop: threading.Event) -> None:
        chance, notion = random.Random(self.chance.random()), self.office.notion
        while not stop.wait(0.05):
            pages = {str(notion.store.shown(page, "Name")): page for page in notion.store.pages("Projects")}
            draw = chance.random()
            if draw < 0.85 and (kept := sorted(name for name in pages if name in self.rows)):
                name, area = chance.choice(kept), f"area {chance.randrange(10**6)}"
                notion.people.edit(pages[name], {"Area": area})
                self.rows[name][1] = area
            elif draw < 0.88:
                self._make_at_notion(self._kept("notion"))
            elif draw < 0.94:
                self._make_at_notion(self._doomed("notion"))
            elif doomed := sorted(name for name in pages if name in self.doomed):
                notion.people.trash(pages[chance.choice(doomed)])


@dataclass
class Processes:
    """Each of them a part of the daemon, by what it does."""

    office: Office
    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def start(self) -> None:
        settings = self.office.mirrored.site.settings
        names = [one.name for one in wiring.workers(settings, wiring.choose(settings, ()))]
        workers = {part: [name for name in names if name.startswith(f"{part}:")] for part in PARTS}
        for part, names in workers.items():
            if part not in self.running:
                self.running[part] = self.office.mirrored.site.spawn("run", *names)

    def kill(self, part: str) -> None:
        process = self.running.pop(part)
        assert process.poll() is None, (part, process.communicate())
        process.kill()
        process.wait()


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_nothing_that_people_did_on_either_side_is_lost_or_done_twice(office: Office) -> None:
    chance = random.Random(SEED)
    people, processes, notion = People(office, chance), Processes(office), office.notion
    for target in office.mirrored.site.values["targets"]:  # they take away more in these minutes than it lets through
        office.mirrored.site.set(f"targets.{target}.delete_guard", {"enabled": False})
    people.begin()
    notion.faults.add(*FAULTS)
    with beside(people.at_hub, people.at_notion):
        for _ in range(KILLS):
            processes.start()
            before = len(notion.log)
            until(lambda before=before: len(notion.log) > before + 10, 120, what="requests")  # type: ignore[misc]
            threading.Event().wait(chance.random())
            processes.kill(chance.choice(PARTS))
    notion.faults.clear()
    processes.start()
    for part in list(processes.running):
        processes.kill(part)
    with office.mirrored.running():
        until(lambda: office.mirrored.settled(600), 600, what="rest")
        query = "SELECT name, budget::float8, area FROM projects ORDER BY name"
        rows = {name: [*values] for name, *values in office.mirrored.hub.execute(query)}
        left = {name for name in rows if name in people.doomed}
        assert {name: values for name, values in rows.items() if name not in left} == people.rows
        by_key = notion.store.by_key("Projects")
        assert all(len(pages) == 1 for pages in by_key.values()), "none twice"
        shown = {
            str(notion.store.shown(page, "Name")): [notion.store.shown(page, one) for one in ("Budget", "Area")]
            for [page] in by_key.values()
        }  # fmt: skip
        assert {name: values for name, values in shown.items() if name not in left} == people.rows
        assert left == {name for name in shown if name in people.doomed}
        assert {str(key) for (key,) in office.mirrored.hub.execute("SELECT id FROM projects")} == set(by_key)
        ever = notion.store.by_key("Projects", in_trash=None)
        ever.pop("", None)  # made and taken away by people before they had a key
        assert [key for key, pages in ever.items() if len(pages) != 1] == [], "none twice in the trash either"
        conflicts = office.mirrored.hub.execute("SELECT kind, count(*) FROM placemat.conflict_log GROUP BY 1")
        assert conflicts.fetchall() == [], "nobody has touched what others have"
