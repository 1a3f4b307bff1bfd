"""`placemat audit`, and what other verbs leave in it."""

from __future__ import annotations

import csv
import io
import json
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from daemon.audit import chain
from daemon.audit.configuration import note_changes
from daemon.audit.entry import Draft
from tests.asking import ask
from tests.fix_audit_log import JUNE, Log
from tests.fix_site import Site

STORIES = "public.stories"


@pytest.fixture
def ready(site: Site) -> Site:
    ended = site.placemat("init")
    assert ended.code == 0, ended.err
    return site


def add(site: Site, *drafts: Draft) -> None:
    with chain.opened(site.state) as connection:
        chain.append(connection, drafts)
        connection.commit()


def change(number: int, who: str = "ada", outcome: str = "applied") -> Draft:
    content = json.dumps({"before": {"title": f"old {number}"}, "after": {"id": "a", "title": f"new {number}"}})
    return Draft(
        "event", "u", outcome, who, source="p", target="empathy_ledger", entity=STORIES, key='{"id":"a"}',
        fields=["title"], topic="t", partition=0, offset=number, content=content,
    )  # fmt: skip


def shown(site: Site, *arguments: str) -> list[dict[str, Any]]:
    ended = site.placemat("audit", "show", "--json", *arguments)
    assert ended.code == 0, ended.err
    found: list[dict[str, Any]] = json.loads(ended.out)["entries"]
    return found


def test_verbs_that_act_leave_who_and_why(ready: Site) -> None:
    for words in (
        ("pause", STORIES, "--wait", "0", "--by", "ada", "--reason", "moving house"),
        ("resume", STORIES, "--wait", "0", "--by", "grace", "--reason", "moved"),
        ("snapshot", "stories", "--no-wait", "--by", "ada"),
        ("resync", ready.source, "--dry-run"),
        ("pause", STORIES, "--dry-run"),
    ):
        ready.placemat(*words)
    found = shown(ready)
    assert [(one["op"], one["who"], one["reason"]) for one in found] == [
        ("snapshot", "ada", None), ("resume", "grace", "moved"), ("pause", "ada", "moving house"),
    ]  # fmt: skip
    assert [(one["entity"], one["target"], one["outcome"]) for one in found[1:]] == [
        (STORIES, "empathy_ledger", "asked")
    ] * 2
    assert found[0]["details"] == {"tables": [STORIES], "delete_gone": False}
    assert [one["op"] for one in shown(ready, "--action", "pause")] == ["pause"]
    assert ask(ready.state, "SELECT requested_by FROM placemat.snapshots WHERE kind = 'asked'") == [("ada",)]


def test_the_condition_of_a_snapshot_stands_apart_from_the_chain_and_can_be_erased(ready: Site) -> None:
    """It may name a person, as that of a restore does."""
    words = ("snapshot", "stories", "--where", "title = 'Ruth''s'", "--no-wait")
    assert ready.placemat(*words).code == 0
    [entry] = shown(ready)
    assert (entry["details"], entry["after"]) == (
        {"tables": [STORIES], "delete_gone": False}, {"where": "title = 'Ruth''s'"},
    )  # fmt: skip
    add(ready, replace(change(1), source=ready.source))
    erase = ("audit", "erase", "stories", "a", "--reason", "r", "--json")
    told = {"sequence": entry["sequence"], "op": "snapshot", "text": False, "values": True}
    assert json.loads(ready.placemat(*erase).out)["look_at"] == [told]
    assert shown(ready, "--action", "snapshot") == [entry], "nobody knows whose it is"
    add(ready, replace(change(2), source=ready.source))
    assert json.loads(ready.placemat(*erase, "--entry", str(entry["sequence"])).out)["also"] == [entry["sequence"]]
    assert "Ruth" not in ready.placemat("audit", "export").out
    assert ready.placemat("audit", "verify").code == 0


def test_what_cannot_be_entered_is_not_done(ready: Site) -> None:
    ready.set("state.url", "postgresql://nobody@127.0.0.1:1/none")
    ended = ready.placemat("pause", STORIES, "--wait", "0")
    assert ended.code == 1
    assert "The state database cannot be reached" in ended.err
    assert ask(ready.ledger, "SELECT * FROM placemat.pauses") == []


def test_nothing_is_entered_where_the_log_is_off(ready: Site) -> None:
    ready.set("audit.enabled", False)
    ready.placemat("pause", STORIES, "--wait", "0")
    assert ask(ready.state, "SELECT 1 FROM placemat.audit_entries") == []
    assert note_changes(ready.settings, "ada") == []


def test_entries_are_found_by_who_what_when_and_outcome_and_shown_in_pages(ready: Site) -> None:
    add(ready, change(1), change(2, "grace"), change(3, outcome="parked"), Draft("action", "pause", "asked", "ada"))
    assert [one["sequence"] for one in shown(ready)] == [4, 3, 2, 1]
    assert [one["sequence"] for one in shown(ready, "--who", "ada", "--entity", "stories", "--key", "a")] == [3, 1]
    assert [one["sequence"] for one in shown(ready, "--outcome", "parked")] == [3]
    assert [one["sequence"] for one in shown(ready, "--target", "empathy_ledger")] == [3, 2, 1]
    assert [one["sequence"] for one in shown(ready, "--limit", "2", "--before", "4")] == [3, 2]
    assert shown(ready, "--to", "2020-01-01T00:00:00Z") == []
    assert len(shown(ready, "--from", "2020-01-01T00:00:00Z")) == 4
    first = shown(ready, "--limit", "1", "--before", "2")[0]
    assert (first["before"], first["after"]["title"], first["key"]) == ({"title": "old 1"}, "new 1", {"id": "a"})
    page = ready.placemat("audit", "show", "--limit", "2", "--values")
    assert "WHO" in page.out
    assert 'title: "old 3" → "new 3"' in page.out
    assert "add --before 3" in page.err
    assert ready.placemat("audit", "show", "--key", "a").code == 2
    for option, text in (("--from", "0/16"), ("--from", "offset:0:1"), ("--to", "yesterday")):
        refused = ready.placemat("audit", "show", option, text)
        assert (refused.code, f"{option} {text} is" in refused.err) == (2, True)


def test_export_is_json_lines_or_csv_oldest_first(ready: Site) -> None:
    add(ready, change(1), change(2))
    lines = ready.placemat("audit", "export").out.splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == [1, 2]
    rows = list(csv.DictReader(io.StringIO(ready.placemat("audit", "export", "--format", "csv").out)))
    assert [(row["sequence"], row["who"], json.loads(row["after"])["title"]) for row in rows] == [
        ("1", "ada", "new 1"), ("2", "ada", "new 2"),
    ]  # fmt: skip


def test_verify_ends_with_3_when_something_is_found(ready: Site) -> None:
    add(ready, change(1), change(2))
    clean = ready.placemat("audit", "verify", "--json")
    assert (clean.code, json.loads(clean.out)["clean"]) == (0, True)
    assert "no signature was checked" in clean.out
    with psycopg.connect(ready.state, autocommit=True) as connection:
        connection.execute("DELETE FROM placemat.audit_values WHERE sequence = 2")
    found = ready.placemat("audit", "verify", "--json")
    assert (found.code, json.loads(found.out)["listed"][0]["kind"]) == (3, "values_gone")
    assert "Found: the values of entry 2" in ready.placemat("audit", "verify").out


def test_erase_takes_a_persons_values_and_says_so(ready: Site) -> None:
    add(ready, change(1), change(2))
    words = ("audit", "erase", "stories", "a", "--source", "p", "--reason", "asked")
    would = json.loads(ready.placemat(*words, "--dry-run", "--json").out)
    assert (would["entries"], would["dry_run"], would["key"]) == (2, True, {"id": "a"})
    assert len(shown(ready)) == 2, "nothing is entered"
    assert ready.placemat(*words, "--by", "grace").code == 0
    done, asked, *before = shown(ready)
    for one in (asked, done):
        assert (one["op"], one["who"], one["reason"], one["source"]) == ("erase", "grace", "asked", "p")
    assert (asked["outcome"], asked["details"]) == ("asked", {"entries": 2})
    assert (done["outcome"], done["details"]) == ("done", {"entries": 2, "asked": asked["sequence"]})
    assert [(one["erased"], one["after"]) for one in before] == [(True, None)] * 2
    assert "new 1" not in ready.placemat("audit", "export").out
    assert ready.placemat("audit", "verify").code == 0
    assert ready.placemat("audit", "erase", "stories", "b", "--source", "p", "--reason", "r").code == 1


def test_erase_asks_for_the_source_where_several_have_such_a_table(ready: Site) -> None:
    """Another one's row may have the same key."""
    add(ready, change(1), replace(change(2), source=ready.source))
    words = ("audit", "erase", "stories", "a", "--reason", "r", "--json")
    refused = ready.placemat(*words)
    assert refused.code == 2
    assert f"Several sources have a table public.stories: {ready.source}, p." in refused.err
    unknown = ready.placemat(*words, "--source", "q")
    assert (unknown.code, f"Name one of: {ready.source}, p." in unknown.err) == (2, True)
    assert len(shown(ready)) == 2
    done = json.loads(ready.placemat(*words, "--source", "p").out)
    assert (done["entries"], done["names"]) == (1, [{"source": "p", "entity": STORIES, "key": {"id": "a"}}])
    other, mine = shown(ready, "--outcome", "applied")
    assert (mine["source"], mine["erased"], other["source"], other["erased"]) == ("p", True, ready.source, False)
    add(ready, replace(change(3), entity="public.notes"))
    assert json.loads(ready.placemat("audit", "erase", "notes", "a", "--reason", "r", "--json").out)["source"] == "p"
    assert ready.placemat("audit", "verify").code == 0
    with psycopg.connect(ready.state) as connection:
        connection.execute("DELETE FROM placemat.audit_values")
    assert "1 findings" in ready.placemat("audit", "verify").out, "of another source nothing was erased"


def test_key_makes_a_file_for_its_owner_only(ready: Site, tmp_path: Path) -> None:
    file = tmp_path / "signing.pem"
    made = ready.placemat("audit", "key", str(file))
    assert (made.code, len(made.out.strip())) == (0, 64)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ready.placemat("audit", "key", str(file)).code == 1
    ready.set("audit.signing_key", str(file))
    unsaid = ready.placemat("audit", "verify", "--json")
    assert (unsaid.code, [one["kind"] for one in unsaid.json["listed"]]) == (3, ["unsigned"])
    assert ready.placemat("init", "--new-audit-log", "--reason", "signed from now on", "--by", "ada").code == 0
    verified = ready.placemat("audit", "verify", "--json")
    assert (verified.code, verified.json["proven"]) == (0, 1), verified.out
    assert [(one["op"], one["who"], one["reason"]) for one in shown(ready)] == [
        ("new-audit-log", "ada", "signed from now on")
    ]


def test_seal_takes_months_that_are_over(ready: Site, tmp_path: Path) -> None:
    log = Log.__new__(Log)
    log.settings, log.url = ready.settings, ready.state
    log.add(4, JUNE)
    add(ready, change(1))
    words = ("audit", "seal", "--before", "2999-01-01")
    assert ready.placemat(*words).code == 2
    dry = ready.placemat(*words, "--to", str(tmp_path), "--dry-run", "--json")
    assert json.loads(dry.out) == {"dry_run": True, "months": ["2026-06"], "sealed": []}
    done = ready.placemat(*words, "--to", str(tmp_path), "--by", "ada", "--json")
    (sealed,) = json.loads(done.out)["sealed"]
    assert (sealed["month"], sealed["first"], sealed["last"], sealed["signed"]) == ("2026-06", 1, 4, False)
    assert Path(sealed["file"]).is_file()
    verified = ready.placemat("audit", "verify", "--segments", str(tmp_path))
    assert verified.code == 0, verified.out
    assert [(one["op"], one["who"]) for one in shown(ready)] == [("seal", "ada"), ("u", "ada")]
    assert "No month lies before that" in ready.placemat(*words, "--to", str(tmp_path)).err


def test_a_changed_setting_is_named_at_the_next_start_and_no_secret(ready: Site) -> None:
    assert note_changes(ready.settings, "ada") == []
    ready.set("http.port", 1)
    ready.set("targets.empathy_ledger.batch_rows", 7)
    url = ready.settings.targets["empathy_ledger"].url.get_secret_value()
    ready.set("targets.empathy_ledger.url", url + "?application_name=x")
    names = ["http.port", "targets.empathy_ledger.batch_rows", "targets.empathy_ledger.url"]
    assert note_changes(ready.settings, "ada") == names
    assert note_changes(ready.settings, "ada") == []
    changed, first = shown(ready, "--action", "configuration")
    assert (changed["details"], changed["who"]) == ({"changed": names}, "ada")
    assert first["details"] == {"first": True}
    kept = str(ask(ready.state, "SELECT settings, secrets FROM placemat.audit_configuration"))
    assert "only-for-tests" not in kept
    assert "application_name" not in kept


def test_workers_that_start_with_nothing_changed_do_not_wait_for_who_enters(ready: Site) -> None:
    note_changes(ready.settings, "ada")
    with chain.opened(ready.settings.state.url.get_secret_value()) as other:
        other.execute("SET idle_in_transaction_session_timeout = 0")
        chain.lock_head(other)
        found: list[list[str]] = []
        start = threading.Thread(target=lambda: found.append(note_changes(ready.settings, "ada")), daemon=True)
        start.start()
        start.join(20)
    assert found == [[]]


def test_a_change_that_many_daemons_start_with_at_once_is_entered_once(ready: Site) -> None:
    note_changes(ready.settings, "ada")
    ready.set("masking.key", "another key of 16 bytes")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: note_changes(ready.settings, "ada"), range(4)))
    assert sorted(found) == [[], [], [], ["masking.key"]]
    assert len(shown(ready, "--action", "configuration")) == 2


def test_secrets_of_before_they_were_kept_are_no_change(ready: Site) -> None:
    note_changes(ready.settings, "ada")
    ask(ready.state, "UPDATE placemat.audit_configuration SET secrets = NULL")
    assert note_changes(ready.settings, "ada") == []
    ready.set("masking.key", "another key of 16 bytes")
    assert note_changes(ready.settings, "ada") == ["masking.key"]


def test_a_restore_says_all_that_was_asked_for_and_no_masked_value(ready: Site) -> None:
    ready.set(f"sources.{ready.source}.restore_url", ready.primary)
    ready.set("targets.empathy_ledger.tables", {STORIES: {"masks": {"summary": "drop"}}})
    ready.placemat(
        "restore", "stories", "--at", "2020-01-01T00:00:00Z", "--key", "7", "--where", "title=Mary", "--where",
        "summary=secret", "--partial", "--reason", "asked",
    )  # fmt: skip
    [found] = shown(ready)
    told = found["details"]
    assert (found["op"], told["partial"], told["keys"]) == ("restore", True, ["7"])
    assert told["where"] == ["public.stories.summary", "public.stories.title"]
    assert found["after"] == {"public.stories.title": ["Mary"]}
    assert "secret" not in str(found)
    assert 'title: ? → ["Mary"]' in ready.placemat("audit", "show", "--values").out


def test_turning_the_log_off_is_entered_before_it_is_obeyed(ready: Site) -> None:
    note_changes(ready.settings, "ada")
    ready.set("audit.enabled", False)
    ready.placemat("pause", STORIES, "--wait", "0", "--by", "ruth")
    ready.placemat("resume", STORIES, "--wait", "0", "--by", "ruth")
    assert [(one["who"], one["details"]) for one in shown(ready)] == [
        ("ruth", {"changed": ["audit.enabled"]}), ("ada", {"first": True}),
    ]  # fmt: skip
    ready.set("audit.enabled", True)
    assert note_changes(ready.settings, "ada") == ["audit.enabled"]
    ready.set("audit.enabled", False)
    ready.set("http.port", 1)
    assert note_changes(ready.settings, "ada") == ["audit.enabled", "http.port"]
    ready.set("http.port", 2)
    assert note_changes(ready.settings, "ada") == []
    ready.set("audit.enabled", True)
    assert note_changes(ready.settings, "ada") == ["audit.enabled", "http.port"]
