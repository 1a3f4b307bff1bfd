"""Erasing where a row has several names, while others are at work, and what people have typed of it elsewhere."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from connectors.postgres.session import open_session
from connectors.postgres.two_way import erasing
from connectors.postgres.two_way.hub import LOCK_CLASS
from daemon.audit import chain
from daemon.audit.entry import Draft
from tests.asking import ask
from tests.deciding import conflict, text, verb
from tests.fix_linked import Linked
from tests.integration.test_audit_erase import audited, kept_of
from tests.people import made, put
from tests.waiting import until

TELLERS, FOLK = "public.storytellers", "public.folk"


def prepare(linked: Linked) -> None:
    """The spoke has another name for the table of storytellers, and for its key."""
    linked.spoke.execute("ALTER TABLE storytellers RENAME TO folk")
    linked.spoke.execute("ALTER TABLE folk RENAME COLUMN id TO teller_id")
    linked.route("storytellers", table=FOLK, columns={"id": "teller_id"}, rules={"bio": "manual"})
    captured = linked.site.values["sources"][linked.spoke_name]["tables"]
    captured[captured.index(TELLERS)] = FOLK
    linked.site.write()


def gone(both: Linked, workspace: uuid.UUID) -> uuid.UUID:
    """A row that people on both sides have changed, and that was deleted."""
    key = made(both.hub, "storytellers", workspace_id=workspace, name="secret one")
    both.rest()
    both.spoke.execute("UPDATE folk SET name = 'secret two' WHERE teller_id = %s", [key])
    both.rest()
    both.hub.execute("DELETE FROM storytellers WHERE id = %s", [key])
    both.rest()
    audited(both)
    return key


def erased(both: Linked, *words: object, code: int = 0) -> Any:
    ended = both.site.placemat("audit", "erase", *map(str, words), "--reason", "she asked", "--json")
    assert ended.code == code, ended.err + ended.out
    return ended.json if ended.out else {"error": ended.err}


def values_of(both: Linked, key: uuid.UUID) -> list[Any]:
    """Where the audit log has values of a row, under all of its names."""
    query = """
        SELECT DISTINCT source, entity, entry.key FROM placemat.audit_entries AS entry
        JOIN placemat.audit_values USING (sequence, month) WHERE entry.key LIKE %s ORDER BY 2 DESC
    """
    return ask(both.site.state, query, [f"%{key}%"])


@pytest.mark.parametrize("named", ["at the hub", "at the spoke", "as JSON at the spoke"])
def test_a_row_is_erased_under_all_of_its_names_whichever_is_given(
    both: Linked, workspace: uuid.UUID, named: str
) -> None:
    key = gone(both, workspace)
    hub, spoke = (both.site.source, TELLERS, text(key)), (both.spoke_name, FOLK, f'{{"teller_id":"{key}"}}')
    assert values_of(both, key) == [hub, spoke]
    words: tuple[object, ...] = {
        "at the hub": ("storytellers", key),
        "at the spoke": ("folk", key),
        "as JSON at the spoke": ("folk", f'{{"teller_id": "{key}"}}'),
    }[named]
    done = erased(both, *words, "--by", "grace")
    mine, other = (hub, spoke) if named == "at the hub" else (spoke, hub)
    assert [(one["source"], one["entity"]) for one in done["names"]] == [mine[:2], other[:2]]
    assert (done["source"], done["entity"], list(done["key"].values())) == (*mine[:2], [str(key)])
    assert values_of(both, key) == []
    assert "secret" not in kept_of(both, key)
    assert (done["hubs"][0]["deleted_rows"], done["hubs"][0]["there"]) == (1, False)
    verified = both.site.placemat("audit", "verify", "--json").json
    assert (verified["clean"], verified["unfinished"]) == (True, [])
    for table in ("storytellers", "folk"):
        shown = both.site.placemat("audit", "show", "--entity", table, "--key", str(key), "--json").json["entries"]
        assert shown
        assert all(one["erased"] for one in shown if one["kind"] == "event" and one["fields"])


def test_what_waits_under_the_row_s_other_name_is_told(both: Linked, workspace: uuid.UUID) -> None:
    key = made(both.hub, "storytellers", workspace_id=workspace, name="Ruth", bio="as it was")
    both.rest()
    with both.held():
        put(both.hub, "storytellers", key, bio="ours")
        both.spoke.execute("UPDATE folk SET bio = 'theirs' WHERE teller_id = %s", [key])
    both.rest()
    number = conflict(both, key)
    assert f"Conflict {number}" in erased(both, "folk", key, code=1)["error"]
    verb(both, "resolve", number, "--take", "hub")
    both.rest()
    both.hub.execute("ALTER TABLE storytellers ADD CONSTRAINT short CHECK (bio <> 'refused')")
    both.spoke.execute("UPDATE folk SET bio = 'refused' WHERE teller_id = %s", [key])
    query = "SELECT id FROM placemat.parked WHERE table_name = %s"
    parked = until(lambda: both.hub.execute(query, [FOLK]).fetchall(), what="the key to be parked")[0][0]
    refused = erased(both, "storytellers", key, code=1)["error"]
    both.hub.execute("ALTER TABLE storytellers DROP CONSTRAINT short")
    assert f"is parked at target {both.hub_target} under {parked}" in refused
    both.rest()


def test_while_a_hub_is_busy_the_log_takes_entries_and_the_erasure_gives_up_in_time(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = gone(both, workspace)
    monkeypatch.setattr(
        "connectors.postgres.two_way.erasing.open_session", lambda *words: open_session(*words, lock_timeout="2s")
    )
    before = ask(both.site.state, "SELECT count(*) FROM placemat.audit_entries WHERE op = 'erase'")
    with ThreadPoolExecutor(1) as pool, psycopg.connect(both.site.primary) as busy:
        busy.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LOCK_CLASS, both.site.source])
        asked = pool.submit(erased, both, "storytellers", key, code=1)
        until(lambda: waits_at_the_hub(both), what="the erasure to wait for the hub")
        with chain.opened(both.site.state) as connection:
            connection.execute("SET lock_timeout = '100ms'")
            chain.append(connection, [Draft("action", "pause", "asked", "ada")])
            connection.commit()
        assert not asked.done(), "it still waits, and nobody for it"
        refused = asked.result(60)["error"]
    assert "was busy (55P03)): nothing was erased." in refused
    assert "then repeat this" in refused
    assert ask(both.site.state, "SELECT count(*) FROM placemat.audit_entries WHERE op = 'erase'") == before
    assert erased(both, "storytellers", key)["entries"] > 0


def waits_at_the_hub(both: Linked) -> bool:
    query = """
        SELECT FROM pg_stat_activity
        WHERE application_name = 'placemat erase' AND wait_event_type = 'Lock' AND datname = current_database()
    """
    return both.hub.execute(query.encode()).fetchone() is not None


def test_a_log_that_is_busy_is_told_and_the_same_command_finishes_it(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = gone(both, workspace)
    monkeypatch.setattr("daemon.audit.erasing.erase.PATIENCE_MS", 100)
    commit = erasing.HubErasure.commit
    with psycopg.connect(both.site.state) as busy:

        def and_others_enter(self: erasing.HubErasure) -> None:
            commit(self)
            busy.execute("SELECT FROM placemat.audit_head FOR UPDATE")

        with monkeypatch.context() as late:
            late.setattr(erasing.HubErasure, "commit", and_others_enter)
            refused = erased(both, "storytellers", key, code=1)["error"]
        assert f"what {both.site.source} kept is erased, the audit log's values are not." in refused
        assert "nothing was erased" in erased(both, "storytellers", key, code=1)["error"]
    assert erased(both, "storytellers", key)["entries"] > 0
    assert both.site.placemat("audit", "verify", "--json").json["unfinished"] == []


def test_what_people_have_typed_is_listed_and_conditions_are_erased_where_they_are_named(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = gone(both, workspace)
    conditions = '{"before":null,"after":{"public.storytellers.name":["secret one"]}}'
    typed: dict[str, Any] = {"source": both.site.source, "reason": "Ruth has called"}
    drafts = [
        Draft("action", "restore", "asked", "ada", **typed, details={"tables": [TELLERS]}, content=conditions),
        Draft("action", "snapshot", "asked", "ada", source=both.site.source, details={"tables": [TELLERS, "public.x"]},
              content='{"before":null,"after":{"where":"name = \'secret one\'"}}'),
        Draft("action", "dlq discard", "asked", "ada", **typed, entity=TELLERS, key=text(key)),
        Draft("action", "pause", "asked", "ada", target=both.hub_target, entity=FOLK, reason="for Ruth"),
        Draft("action", "resync", "asked", "ada", **typed),
        # Of others, or without anything that somebody has typed:
        Draft("action", "restore", "asked", "ada", **typed, details={"tables": ["public.stories"]}, content=conditions),
        Draft("action", "pause", "asked", "ada", target=both.spoke_name, entity="public.stories", reason="for Ruth"),
        Draft("action", "restore", "asked", "ada", source="elsewhere", content=conditions, details={"tables": [FOLK]}),
        Draft("action", "resync", "asked", "ada", source=both.site.source),
    ]  # fmt: skip
    with chain.opened(both.site.state) as connection:
        first = chain.append(connection, drafts).sequence - len(drafts) + 1
        connection.commit()
    would = erased(both, "storytellers", key, "--dry-run")
    listed = {one["sequence"] - first: one for one in would["look_at"] if one["sequence"] >= first}
    assert {at: (one["op"], one["text"], one["values"]) for at, one in listed.items()} == {
        0: ("restore", True, True), 1: ("snapshot", False, True), 2: ("dlq discard", True, False),
        3: ("pause", True, False), 4: ("resync", True, False),
    }  # fmt: skip
    words = ("audit", "erase", "storytellers", str(key), "--reason", "r")
    said = both.site.placemat(*words, "--dry-run").err
    assert f"{first}, {first + 2}, {first + 3}, {first + 4}. It stays" in said
    assert f"{first}, {first + 1}, as nobody knows whose values they name" in said
    refused = both.site.placemat(*words, "--entry", str(first + 5))
    assert (refused.code, f"Entry {first + 5} is none with conditions" in refused.err) == (2, True)
    done = erased(both, "storytellers", key, "--entry", first, "--entry", first + 1)
    assert done["also"] == [first, first + 1]
    left = ask(both.site.state, "SELECT sequence FROM placemat.audit_values WHERE sequence >= %s ORDER BY 1", [first])
    assert left == [(first + 5,), (first + 7,)]
    assert both.site.placemat("audit", "verify").code == 0
