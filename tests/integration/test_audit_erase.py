"""Erasing reaches what a hub keeps beside its rows, and what was erased stays so."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from connectors.errors import Unavailable
from connectors.postgres.turns import LOCK_CLASS
from connectors.postgres.two_way.erasing import HubErasure
from daemon import seams
from daemon.audit import chain
from daemon.audit.entry import Draft
from daemon.audit.erasing import erase as erase_module
from tests.asking import ask
from tests.deciding import apart, assert_settled, text, verb
from tests.fix_linked import Linked
from tests.people import a_teller, put, seen
from tests.waiting import until


def prepare(linked: Linked) -> None:
    """The later edit wins, however near. Of biographies a person decides."""
    linked.route("storytellers", rules={"bio": "manual"}, title="name")
    linked.site.set(f"targets.{linked.spoke_name}.skew_seconds", 0)


def asking(both: Linked, key: object) -> tuple[str, ...]:
    return "audit", "erase", "storytellers", str(key), "--source", both.site.source, "--reason", "she asked"


def erased(both: Linked, key: uuid.UUID, *words: str, code: int = 0) -> Any:
    ended = both.site.placemat(*asking(both, key), "--json", *words)
    assert ended.code == code, ended.err + ended.out
    return ended.json if ended.out else {"error": ended.err}


def kept_of(both: Linked, key: uuid.UUID) -> str:
    """All that the hub keeps of a row, but for the row."""
    queries = [
        f"SELECT coalesce(string_agg(t::text, ' '), '') FROM placemat.{table} AS t WHERE key = %s"
        for table in ("conflicts", "conflict_log", "decisions", "hub_rows", "links")
    ]
    return " ".join(str(both.hub.execute(query.encode(), [text(key)]).fetchone()) for query in queries)


def audited(both: Linked) -> None:
    """Wait until the audit log has everything."""
    for connection in (both.hub, both.spoke):
        until(lambda c=connection: c.execute("SELECT FROM placemat.outbox").fetchone() is None)  # type: ignore[misc]


def test_erasing_reaches_what_the_hub_keeps_of_a_row_that_is_gone(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace, name="Wilhelmina", bio="secret of old")
    number = apart(both, key, {"bio": "secret of ours", "name": "Mina"}, {"bio": "secret of theirs", "name": "Willa"})
    refused = erased(both, key, code=1)["error"]
    assert f"Conflict {number}" in refused
    assert f"Try: Decide it first: placemat conflicts resolve {number}" in refused
    assert "secret of theirs" in kept_of(both, key)
    verb(both, "resolve", number, "--take", both.spoke_name, "--by", "ada")
    both.rest()
    both.hub.execute("DELETE FROM storytellers WHERE id = %s", [key])
    both.rest()
    audited(both)
    would = erased(both, key, "--dry-run")
    told = both.site.placemat(*asking(both, key), "--dry-run").err
    assert f"Would erase the values of public.storytellers {text(key)} from {would['entries']} entries." in told
    kept = "2 conflicts that were met, 1 decision, and what was kept of the deleted row."
    assert f"Would erase at {both.site.source}: {kept}" in told
    assert "secret of theirs" in kept_of(both, key)
    done = erased(both, key, "--by", "grace")
    assert {**would, "dry_run": False} == done
    hub = {
        "hub": both.site.source,
        "conflicts": 2,
        "decisions": 1,
        "deleted_rows": 1,
        "links": 0,
        "there": False,
        "kept": [],
    }
    assert done["hubs"] == [hub]
    assert done["entries"] > 0
    left = kept_of(both, key)
    assert not [word for word in ("secret", "Wilhelmina", "Mina", "Willa") if word in left]
    entry = erasures(both)[0]
    counts = {name: hub[name] for name in ("conflicts", "decisions", "deleted_rows", "links")}
    said = {"entries": done["entries"], "hubs": {both.site.source: counts}}
    names = [[both.spoke_name, "public.storytellers", text(key)]]
    assert (entry["op"], entry["who"], entry["outcome"]) == ("erase", "grace", "done")
    assert entry["details"] == {**said, "names": names, "asked": entry["sequence"] - 1}
    assert both.site.placemat("audit", "verify").code == 0
    again = erased(both, key, code=1)["error"]
    assert f"neither does what is kept at {both.site.source}" in again

    shown = verb(both, "show", number)
    assert {(one["kind"], one["rule"], one["ours"], one["theirs"]) for one in shown["history"]} == {
        ("update_origin_differs", rule, None, None) for rule in ("manual", "latest")
    }
    assert all(one["erased_at"] for one in [*shown["history"], *shown["decisions"]])
    [decision] = shown["decisions"]
    assert (decision["by"], decision["fields"], decision["before"]) == ("ada", {"bio": None}, {"bio": None})
    for_people = both.site.placemat("conflicts", "show", str(number)).out
    assert "by ada: bio; values were erased" in for_people
    assert "manual: manual; values were erased" in for_people
    assert "values of the decision" in verb(both, "undo", number, code=1)["error"]


def erasures(both: Linked) -> list[Any]:
    """What the audit log says of them, newest first."""
    found: list[Any] = both.site.placemat("audit", "show", "--action", "erase", "--json").json["entries"]
    return found


def test_a_row_that_was_erased_is_not_brought_back_by_a_late_edit_and_can_be_made_anew(
    both: Linked, workspace: uuid.UUID
) -> None:
    for erases in (False, True):
        key = a_teller(both, both.hub, workspace, name="Wilhelmina", cultural_background="secret")
        with both.held():
            both.hub.execute("DELETE FROM storytellers WHERE id = %s", [key])
            assert erased(both, key, *([] if erases else ["--dry-run"]))["hubs"][0]["deleted_rows"] == 1
            put(both.spoke, "storytellers", key, name="secret, later")
        both.rest()
        comes_back = not erases
        assert [seen(at, "storytellers", key) for at in (both.hub, both.spoke)] == [comes_back] * 2
    assert "secret" not in kept_of(both, key)
    listed = "SELECT kind, rule, resolution, won FROM placemat.conflict_log WHERE key = %s"
    assert both.hub.execute(listed, [text(key)]).fetchall() == [("update_deleted", "hub", "keep_local", "ours")]
    query = "INSERT INTO storytellers (id, workspace_id, name) VALUES (%s, %s, 'Made anew')"
    both.spoke.execute(query, [key, workspace])
    assert_settled(both, key, name="Made anew", bio=None)
    put(both.hub, "storytellers", key, bio="hers again")
    assert_settled(both, key, name="Made anew", bio="hers again")


def test_of_a_row_that_is_there_conflicts_and_decisions_are_erased_and_nothing_else(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_teller(both, both.hub, workspace, bio="as it was")
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    verb(both, "resolve", number, "--take", "hub")
    both.rest()
    before = both._written()
    done = erased(both, key)["hubs"][0]
    assert (done["conflicts"], done["decisions"], done["deleted_rows"]) == (1, 1, 0)
    assert (done["there"], done["kept"]) == (True, [both.spoke_name])
    assert both._written() == before
    assert "theirs" not in kept_of(both, key)
    number = apart(both, key, {"bio": "ours again"}, {"bio": "theirs again"})
    [field] = verb(both, "show", number)["waiting"]
    assert field["spokes"][0]["base"] == "ours"
    verb(both, "resolve", number, "--take", both.spoke_name)
    assert_settled(both, key, bio="theirs again")


def test_what_is_kept_of_a_table_that_no_route_has_any_more_is_erased_too(both: Linked) -> None:
    """The audit log knows nothing of it either, as months that were sealed are gone from it."""
    state = '{"alive":false,"rver":[1,2,3],"lo":4,"hi":5,"common":[[1,2,1],[1,2,1],3,3],"fields":{"x":"AAAAAAAAAAA="},'
    store = "INSERT INTO placemat.hub_rows (table_name, key, state) VALUES ('public.former', %s, %s)"
    for key in ('{"a":1,"b":"x"}', '{"a":1,"b":"y"}'):
        both.hub.execute(store, [key, state + '"values":{"x":"\\"secret\\""}}'])
    link = '{"at":[1,2,3],"row_seen":[1,2,3],"shadow":{"x":"AAAAAAAAAAA="},"kept":{"x":"\\"secret\\""}}'
    keep = "INSERT INTO placemat.links (table_name, key, spoke, state) VALUES ('public.former', %s, 'former', %s)"
    both.hub.execute(keep, ['{"a":1,"b":"x"}', link])
    words = ("audit", "erase", "former", '{"b":"x","a":1}', "--reason", "she asked", "--json")
    done = both.site.placemat(*words).json
    [hub] = done["hubs"]
    assert (done["entries"], hub["deleted_rows"], hub["links"], hub["there"]) == (0, 1, 1, False)
    assert "secret" not in str(both.hub.execute("SELECT state FROM placemat.links WHERE spoke = 'former'").fetchall())
    query = "SELECT state FROM placemat.hub_rows WHERE table_name = 'public.former' ORDER BY key"
    one, other = both.hub.execute(query).fetchall()
    assert one == ('{"alive":false,"rver":[1,2,3],"lo":4,"hi":5,"erased":true}',)
    assert "secret" in other[0]
    for table in ("hub_rows", "links"):
        both.hub.execute(f"DELETE FROM placemat.{table} WHERE table_name = 'public.former'".encode())


def test_what_cannot_be_a_key_is_told(both: Linked, workspace: uuid.UUID) -> None:
    a_teller(both, both.hub, workspace)
    audited(both)
    ended = both.site.placemat(*asking(both, "mistyped"))
    assert ended.code == 2
    assert '{"id":"mistyped"} is no key of public.storytellers' in ended.err
    unknown = both.site.placemat(*asking(both, uuid.uuid4()))
    assert (unknown.code, "holds no values" in unknown.err) == (1, True)


def test_a_key_whose_events_wait_as_parked_is_not_erased_before_they_are_discarded(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_teller(both, both.hub, workspace, bio="secret")
    both.spoke.execute("ALTER TABLE storytellers ADD CONSTRAINT short CHECK (bio <> 'refused')")
    put(both.hub, "storytellers", key, bio="refused")
    query = "SELECT id FROM placemat.parked WHERE key = %s"
    until(lambda: both.spoke.execute(query, [text(key)]).fetchone(), what="the key to be parked")
    (parked,) = both.spoke.execute(query, [text(key)]).fetchone() or (None,)
    refused = erased(both, key, "--dry-run", code=1)["error"]
    assert f"is parked at target {both.spoke_name} under {parked}" in refused
    assert f"Try: placemat dlq discard {parked} --target {both.spoke_name}" in refused
    both.spoke.execute("ALTER TABLE storytellers DROP CONSTRAINT short")
    assert both.site.placemat("dlq", "redrive", str(parked), "--target", both.spoke_name).code == 0
    assert_settled(both, key, bio="refused")
    assert erased(both, key)["entries"] > 0


@contextmanager
def unobserved(both: Linked) -> Iterator[None]:
    """Nobody takes in what the hub's own stream tells."""
    with psycopg.connect(both.site.primary) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LOCK_CLASS, both.site.source])
        yield


def test_what_is_away_is_told_and_nothing_is_erased(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = a_teller(both, both.hub, workspace)
    audited(both)
    before = erasures(both)
    for target in (both.hub_target, both.spoke_name):
        with monkeypatch.context() as away:
            away.setenv(f"PLACEMAT_TARGETS__{target.upper()}__URL", "postgresql://nobody@127.0.0.1:1/none")
            assert "Nothing was erased." in erased(both, key, code=1)["error"]
    monkeypatch.setattr("daemon.audit.erasing.erase.OBSERVED_SECONDS", 0.1)
    with unobserved(both):
        both.hub.execute("DELETE FROM storytellers WHERE id = %s", [key])
        assert "are not all known yet): nothing was erased" in erased(both, key, code=1)["error"]
    assert erasures(both) == before
    both.rest()
    audited(both)
    assert erased(both, key)["hubs"][0]["deleted_rows"] == 1


def test_a_hub_that_goes_away_halfway_leaves_the_log_as_it_was_and_a_repetition_does_the_rest(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = a_teller(both, both.hub, workspace, bio="secret")
    both.hub.execute("DELETE FROM storytellers WHERE id = %s", [key])
    both.rest()
    audited(both)

    def away(self: HubErasure) -> None:
        self._connection.close()
        raise Unavailable("gone")

    for step, sentence in (("erase", "(gone): nothing was erased"), ("commit", "and the audit log's values are not.")):
        with monkeypatch.context() as broken:
            broken.setattr(HubErasure, step, away)
            assert sentence in erased(both, key, code=1)["error"]
        assert "secret" in kept_of(both, key)
    with monkeypatch.context() as broken:
        broken.setattr(HubErasure, "commit", committed_and_gone)
        assert "Repeat this once it answers" in erased(both, key, code=1)["error"]
    assert "secret" not in kept_of(both, key)
    done = erased(both, key)
    assert (done["entries"] > 0, done["hubs"][0]["deleted_rows"]) == (True, 0)
    assert both.site.placemat("audit", "verify").code == 0


def test_a_hub_that_refuses_is_told_with_what_is_entered_and_the_same_command_finishes_it(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_teller(both, both.hub, workspace, bio="secret")
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    verb(both, "resolve", number, "--take", "hub")
    both.rest()
    both.hub.execute("DELETE FROM storytellers WHERE id = %s", [key])
    both.rest()
    audited(both)
    both.hub.execute(b"REVOKE UPDATE ON placemat.conflict_log FROM placemat_apply")
    ended = both.site.placemat(*asking(both, key))
    both.hub.execute(b"GRANT UPDATE ON placemat.conflict_log TO placemat_apply")
    asked = erasures(both)[0]["sequence"]
    assert ended.code == 1
    assert f": nothing was erased, but entry {asked} says that it was asked for." in ended.err
    assert "Then repeat this: what is erased already stays so, and the rest is finished." in ended.err
    assert unfinished(both, key) == [asked]
    assert erased(both, key)["entries"] > 0
    assert ("theirs" in kept_of(both, key), unfinished(both, key)) == (False, [])


def test_a_state_database_that_goes_away_after_the_hub_is_told_and_a_repetition_does_the_rest(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = a_teller(both, both.hub, workspace, bio="secret")
    both.hub.execute("DELETE FROM storytellers WHERE id = %s", [key])
    both.rest()
    audited(both)
    commit, asks = HubErasure.commit, erase_module._ask
    pids: list[int] = []

    def by_whom(connection: psycopg.Connection[Any], *rest: Any) -> int:
        pids.append(connection.info.backend_pid)
        return asks(connection, *rest)

    def and_away(self: HubErasure) -> None:
        commit(self)
        assert ask(both.site.state, "SELECT pg_terminate_backend(%s)", pids) == [(True,)]

    with monkeypatch.context() as broken:
        broken.setattr(erase_module, "_ask", by_whom)
        broken.setattr(HubErasure, "commit", and_away)
        refused = erased(both, key, code=1)["error"]
    assert f"what {both.site.source} kept is erased, the audit log's values may be or not." in refused
    assert "secret" not in kept_of(both, key)
    assert unfinished(both, key) == [erasures(both)[0]["sequence"]]
    assert erased(both, key)["entries"] > 0
    assert unfinished(both, key) == []


def unfinished(both: Linked, key: uuid.UUID) -> list[int]:
    """Erasures that were asked for and not finished, as both verbs tell them; nothing else is found in the log."""
    verified = both.site.placemat("audit", "verify", "--json")
    assert verified.code == 0, verified.out
    numbers = [int(one["sequence"]) for one in verified.json["unfinished"] if one["key"] == text(key)]
    shown = both.site.placemat("audit", "show", "--entity", "storytellers", "--key", str(key), "--json").json
    assert shown["unfinished"] == numbers
    for_people = both.site.placemat("audit", "show", "--entity", "storytellers", "--key", str(key)).err
    assert ("is not finished: run placemat audit erase again" in for_people) == bool(numbers)
    assert ("Not finished: the erasure of public.storytellers" in both.site.placemat("audit", "verify").out) == bool(
        verified.json["unfinished"]
    )
    return numbers


@pytest.mark.parametrize("seam", [seams.AFTER_ERASURE_ASKED, seams.AFTER_HUB_ERASED])
def test_an_erasure_that_died_says_who_asked_and_why_and_the_same_command_finishes_it(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch, seam: str
) -> None:
    key = a_teller(both, both.hub, workspace, bio="secret")
    both.hub.execute("DELETE FROM storytellers WHERE id = %s", [key])
    both.rest()
    audited(both)
    with monkeypatch.context() as deadly:
        deadly.setenv(seams.VARIABLE, seam)
        killed = both.site.spawn(*asking(both, key), "--by", "grace")
        assert killed.wait(60) == -signal.SIGKILL
    gone_at_hub = seam == seams.AFTER_HUB_ERASED
    assert ("secret" not in kept_of(both, key)) == gone_at_hub
    nothing: dict[str, Any] = dict.fromkeys(("outcome", "who", "reason", "key"))
    asked = next(iter(erasures(both)), nothing)
    assert (asked["outcome"], asked["who"], asked["reason"], asked["key"]) == (
        "asked", "grace", "she asked", {"id": str(key)},
    )  # fmt: skip
    assert asked["details"]["hubs"][both.site.source]["deleted_rows"] == 1
    assert unfinished(both, key) == [asked["sequence"]]
    ended = both.site.placemat(*asking(both, key), "--by", "hedy")
    assert (ended.code, f"Finished what grace had asked for in entry {asked['sequence']}." in ended.err) == (0, True)
    assert "secret" not in kept_of(both, key)
    assert unfinished(both, key) == []
    done = erasures(both)[0]
    assert (done["outcome"], done["who"], done["details"]["entries"] > 0) == ("done", "hedy", True)
    assert "holds no values" in erased(both, key, code=1)["error"]


def test_an_erasure_of_which_only_the_last_entry_is_missing_is_finished_too(both: Linked, workspace: uuid.UUID) -> None:
    """The hub has it, and the log has no values of that key, as where its months are sealed."""
    key = uuid.uuid4()
    with chain.opened(both.site.state) as connection:
        names = [[both.spoke_name, "public.storytellers", text(key)]]
        asked = Draft("action", "erase", "asked", "grace", source=both.site.source, entity="public.storytellers",
                      key=text(key), reason="r", details={"entries": 0, "names": names})  # fmt: skip
        chain.append(connection, [asked])
        connection.commit()
    assert len(unfinished(both, key)) == 1
    assert erased(both, key)["entries"] == 0
    assert unfinished(both, key) == []


def committed_and_gone(self: HubErasure) -> None:
    """As where the answer to a commit does not arrive."""
    self._connection.commit()
    raise Unavailable("gone")
