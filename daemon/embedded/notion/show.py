"""People at work on both sides, and how long it takes until the others see it: the acts of the demo with Notion."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import psycopg

from daemon.embedded.notion.compare import compare, read
from daemon.embedded.notion.office import Office
from daemon.embedded.notion.person import text, title
from daemon.embedded.notion.report import PROMISED_SECONDS, NotionReport, Step, Way
from daemon.embedded.notion.site import ENTITIES, TARGET

POLL_SECONDS = 0.02
MISMATCHES_SHOWN = 10
Connection = psycopg.Connection[Any]


class Show:
    """`dsns` are superusers', by database; `say` tells a line as soon as it is known; `check` raises where a worker
    has ended."""

    def __init__(
        self, dsns: Mapping[str, str], office: Office, workspace: UUID, placemat: Callable[..., str],
        say: Callable[[str], None], check: Callable[[], None],
    ) -> None:  # fmt: skip
        self._dsns = dsns
        self._office = office
        self._workspace = workspace
        self._placemat = placemat
        self._say = say
        self._check = check
        self._steps: list[Step] = []
        self._missed: list[str] = []

    def perform(self, quiet: Callable[[], None]) -> NotionReport:
        """`quiet` returns once all is told that was committed. Raises as `Person` does, and psycopg.Error."""
        with (
            psycopg.connect(self._dsns["primary"], autocommit=True) as primary,
            psycopg.connect(self._dsns["empathy_ledger"], autocommit=True) as ledger,
        ):
            self._outward(primary)
            self._back(primary, ledger)
            self._made_there(primary, ledger)
            conflicts = self._both(primary)
            self._leaves(primary)
        quiet()
        compared = compare(read(self._dsns["primary"], self._workspace), self._office.store)
        for mismatch in compared.mismatches[:MISMATCHES_SHOWN]:
            self._say(str(mismatch))
        return NotionReport(tuple(self._steps), dict(self._office.counts), conflicts, tuple(self._missed), compared)

    # Acts

    def _outward(self, primary: Connection) -> None:
        """Rows that are made in the primary, and changed there."""
        self._say("  The primary is changed:")
        project = _insert(primary, "projects", name="Seed library", status="active", workspace_id=self._workspace)
        self._pages_until("a new project is in Notion", "Projects", project, {"Name": "Seed library"})
        _update(primary, "projects", project, lead="Kirra Wattleton")
        self._pages_until("its new lead is", "Projects", project, {"Lead": "Kirra Wattleton"})
        for what, table, database, column, value, shown in (
            ("an opportunity's stage", "opportunities", "Opportunities", "stage", "withdrawn", {"Stage": "Withdrawn"}),
            ("a person's name", "contacts", "People", "given_name", "Marigold", None),
            ("a story's title", "stories", "Stories", "title", "Seen in Notion", {"Name": "Seen in Notion"}),
        ):
            key = self._some(primary, database)
            _update(primary, table, key, **{column: value})
            if shown is None:
                (name,) = _one(primary, "SELECT full_name FROM contacts WHERE id = %s", key) or ("",)
                shown = {"Name": name}
            self._pages_until(f"{what} is", database, key, shown)
        contact = _insert(primary, "contacts", given_name="Noor", workspace_id=self._workspace)
        interaction = _insert(
            primary, "interactions", contact_id=contact, message_id="<first@mail.example>", direction="inbound",
            occurred_at="2026-03-02T09:00:00Z", workspace_id=self._workspace,
        )  # fmt: skip
        self._pages_until("a contact is, with its first interaction", "People", contact, {"Name": "Noor"})
        primary.execute("DELETE FROM interactions WHERE id = %s", [interaction])
        self._until("and leaves with its last", "out", lambda: not self._office.store.by_key("People").get(contact))

    def _back(self, primary: Connection, ledger: Connection) -> None:
        """People edit pages."""
        self._say("  Ada edits pages in Notion:")
        project, opportunity = self._some(primary, "Projects"), self._some(primary, "Opportunities")
        self._office.ada.edit(self._page("Projects", project), {"Lead": text("Ada's choice"), "Budget": {"number": 77}})
        began = time.monotonic()
        wanted = ("Ada's choice", 77)
        self._rows_until("a project's lead and budget are in the primary", "back", began, primary, project, wanted)
        self._rows_until("and in the Empathy Ledger", "onward", began, ledger, project, wanted)
        self._office.ada.edit(self._page("Opportunities", opportunity), {"Stage": {"select": {"name": "Won"}}})
        stage = "SELECT stage FROM opportunities WHERE id = %s"
        self._until(
            "an opportunity's stage is in the primary", "back", lambda: _one(primary, stage, opportunity) == ("won",)
        )

    def _made_there(self, primary: Connection, ledger: Connection) -> None:
        """A page without a key is a new row."""
        source = self._office.workspace.sources["Projects"]
        page = self._office.ada.make(
            source, {"Name": title("Ada's orchard"), "Status": {"status": {"name": "Planned"}}}
        )
        began = time.monotonic()
        found = "SELECT count(*) FROM projects WHERE name = %s AND status = 'planned'"
        there: tuple[tuple[str, Way, Connection], ...] = (
            ("a project that she makes is a row of the primary", "back", primary),
            ("and one of the Empathy Ledger", "onward", ledger),
        )
        for what, way, side in there:
            self._until(what, way, lambda side=side: _one(side, found, "Ada's orchard") == (1,), began)  # type: ignore[misc]
        (key,) = _one(primary, "SELECT id::text FROM projects WHERE name = %s", "Ada's orchard") or ("",)
        store = self._office.store
        self._until("and its page has the row's key", "out", lambda: store.shown(store.page(page), "Sync Key") == key)

    def _both(self, primary: Connection) -> int:
        """Both at once: different fields, then the same one. How many conflicts were listed."""
        self._say("  Ada and the primary at the same time:")
        first, second = self._some(primary, "Projects", 1), self._some(primary, "Projects", 2)
        with primary.transaction():  # until its end nothing of Ada's comes to the row: it is at the same time
            _update(primary, "projects", first, name="Renamed meanwhile")
            self._office.ada.edit(self._page("Projects", first), {"Budget": {"number": 1234.5}})
        began = time.monotonic()
        self._pages_until(
            "different fields of a project: both are kept in Notion", "Projects", first,
            {"Name": "Renamed meanwhile", "Budget": 1234.5},
        )  # fmt: skip
        kept = "SELECT name, budget FROM projects WHERE id = %s"
        self._until(
            "and in the primary", "back", lambda: _one(primary, kept, first) == ("Renamed meanwhile", 1234.5), began
        )
        with primary.transaction():
            _update(primary, "projects", second, lead="As the primary says")
            self._office.ada.edit(self._page("Projects", second), {"Lead": text("As Ada says")})
        began = time.monotonic()
        self._until(
            "the same field: nobody can tell who was later, the primary's is in Notion, and Ada's is listed", "out",
            lambda: self._lead(second) == "As the primary says" and self._listed(second) > 0, began,
        )  # fmt: skip
        (lead,) = _one(primary, "SELECT lead FROM projects WHERE id = %s", second) or (None,)
        if lead != "As the primary says":
            self._missed.append(f"the primary's lead is {lead!r}")
        return self._listed(None)

    def _leaves(self, primary: Connection) -> None:
        """Stories that may not be shown any more, and may again."""
        self._say("  Stories that may not be shown any more:")
        own = next(iter(self._live("Stories")))
        store, page = self._office.store, self._page("Stories", own)
        _update(primary, "stories", own, privacy="private")
        self._until("one that was made private is in Notion's trash", "out", lambda: store.page(page).in_trash)
        _update(primary, "stories", own, privacy="public")
        self._until("public again, the same page is back", "out", lambda: not store.page(page).in_trash)
        teller, keys = self._teller(primary)
        gone = [self._page("Stories", key) for key in keys]
        _update(primary, "storytellers", teller, consent_given=False)
        self._until(
            f"a storyteller has withdrawn consent, and all {len(keys)} stories are in the trash", "out",
            lambda: all(store.page(one).in_trash for one in gone),
        )  # fmt: skip

    # Rows and pages

    def _live(self, database: str) -> list[str]:
        """Keys of pages that are shown, in order."""
        return sorted(key for key in self._office.store.by_key(database) if key)

    def _some(self, primary: Connection, database: str, number: int = 0) -> str:
        """The key of a row that is there."""
        table = next(one.table for one in ENTITIES.values() if one.database == database)
        keys = self._live(database)
        found = primary.execute(
            f"SELECT id::text FROM {table} WHERE id::text = ANY(%s) ORDER BY id LIMIT 1 OFFSET %s".encode(),
            [keys, number],
        ).fetchone()
        assert found is not None
        return str(found[0])

    def _teller(self, primary: Connection) -> tuple[str, list[str]]:
        """The storyteller of most stories that are shown, and these."""
        statement = """
            SELECT storyteller_id::text, array_agg(id::text) FROM stories WHERE id::text = ANY(%s)
            GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1
        """
        teller, keys = _one(primary, statement, self._live("Stories")) or ("", [])
        return teller, keys

    def _page(self, database: str, key: str) -> str:
        [page] = self._office.store.by_key(database)[key]
        return page.id

    def _lead(self, project: str) -> object:
        store = self._office.store
        return store.shown(store.page(self._page("Projects", project)), "Lead")

    def _listed(self, project: str | None) -> int:
        """Conflicts with Notion that rules have decided, of one project or of all."""
        told = json.loads(self._placemat("conflicts", "list", "--all", "--limit", "1000", "--json"))
        return sum(
            one["spoke"] == TARGET and (project is None or one["key"] == {"id": project}) for one in told["decided"]
        )

    # What is waited for

    def _pages_until(self, what: str, database: str, key: str, shown: Mapping[str, object]) -> None:
        """One live page has that key, and shows this."""
        store = self._office.store

        def there() -> bool:
            pages = store.by_key(database).get(key, [])
            return len(pages) == 1 and all(store.shown(pages[0], name) == value for name, value in shown.items())

        self._until(what, "out", there)

    def _rows_until(
        self, what: str, way: Way, began: float, side: Connection, project: str, wanted: tuple[object, ...]
    ) -> None:
        statement = "SELECT lead, budget FROM projects WHERE id = %s"
        self._until(what, way, lambda: _one(side, statement, project) == wanted, began)

    def _until(self, what: str, way: Way, there: Callable[[], bool], began: float | None = None) -> None:
        began = time.monotonic() if began is None else began
        seconds: float | None = None
        while seconds is None and time.monotonic() - began <= PROMISED_SECONDS:
            if there():
                seconds = time.monotonic() - began
            else:
                self._check()
                time.sleep(POLL_SECONDS)
        self._steps.append(Step(what, way, seconds))
        self._say(f"    {what}: {'NOT in time' if seconds is None else f'{seconds:.1f} s'}")


def _one(connection: Connection, statement: str, value: object) -> tuple[Any, ...] | None:
    return connection.execute(statement.encode(), [value]).fetchone()


def _insert(connection: Connection, table: str, **values: object) -> str:
    names, places = ", ".join(values), ", ".join(["%s"] * len(values))
    statement = f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING id::text"
    row = connection.execute(statement.encode(), list(values.values())).fetchone()
    assert row is not None
    return str(row[0])


def _update(connection: Connection, table: str, key: str, **values: object) -> None:
    assigned = ", ".join(f"{name} = %s" for name in values)
    connection.execute(f"UPDATE {table} SET {assigned} WHERE id = %s".encode(), [*values.values(), key])
