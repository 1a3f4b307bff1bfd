"""Erasing what a hub keeps once its tables go one way only, or its database is none of a hub any more."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from connectors.errors import Unavailable
from connectors.postgres.two_way.erasing import HubErasure
from daemon.audit import chain
from daemon.audit.entry import Draft
from tests.deciding import apart, text, verb
from tests.fix_linked import Linked
from tests.integration.test_audit_erase import asking, audited, erased, erasures, kept_of, prepare, unfinished
from tests.integration.test_audit_erase_names import values_of
from tests.people import a_teller, made

__all__ = ["prepare"]

SECRETS = ("secret of ours", "secret of theirs", "Wilhelmina")


@contextmanager
def one_way(both: Linked, **also: object) -> Iterator[None]:
    """The spoke is a target as others in the block, and nothing comes back; `also` is set, by path with `__`."""
    before = copy.deepcopy(both.site.values)
    targets: Any = both.site.values["targets"]
    targets.pop(both.hub_target)
    targets[both.spoke_name].pop("skew_seconds", None)
    for route in targets[both.spoke_name]["tables"].values():
        for name in ("both_ways", "rules", "updated_at"):
            route.pop(name, None)
    for path, value in also.items():
        both.site.set(path.replace("__", "."), value)
    both.site.write()
    try:
        yield
    finally:
        both.site.values.clear()
        both.site.values.update(before)
        both.site.write()


def to_the_hub(both: Linked) -> dict[str, object]:
    """A role that may read what the hub keeps."""
    return {f"sources__{both.site.source}__url": both.site.primary}


def a_life(both: Linked, workspace: uuid.UUID) -> uuid.UUID:
    """A conflict, a decision, and an end."""
    key = a_teller(both, both.hub, workspace, name="Wilhelmina", bio="secret of old")
    number = apart(both, key, {"bio": "secret of ours"}, {"bio": "secret of theirs"})
    verb(both, "resolve", number, "--take", both.spoke_name, "--by", "ada")
    both.rest()
    both.hub.execute("DELETE FROM storytellers WHERE id = %s", [key])
    both.rest()
    audited(both)
    return key


def left(both: Linked, key: uuid.UUID) -> list[str]:
    kept = kept_of(both, key)
    return [word for word in SECRETS if word in kept]


@pytest.mark.parametrize("under", ["the hub's name", "the spoke's name"])
def test_a_hub_that_is_none_any_more_is_reached_where_its_database_is_configured(
    both: Linked, workspace: uuid.UUID, under: str
) -> None:
    key = a_life(both, workspace)
    assert (left(both, key), len(values_of(both, key))) == (list(SECRETS), 2)
    with one_way(both, **to_the_hub(both)):
        source = both.site.source if under == "the hub's name" else both.spoke_name
        words = ("audit", "erase", "storytellers", str(key), "--source", source, "--reason", "she asked", "--json")
        done = both.site.placemat(*words)
        assert done.code == 0, done.err
        [hub] = done.json["hubs"]
        assert (hub["hub"], hub["conflicts"], hub["decisions"], hub["deleted_rows"]) == (both.site.source, 1, 1, 1)
        assert (done.json["left"], done.json["others"]) == ([], [])
        assert both.site.placemat("audit", "verify").code == 0
    assert left(both, key) == []
    assert values_of(both, key) == []


def test_a_former_hub_that_is_not_reached_is_named_and_the_erasure_is_not_finished(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_life(both, workspace)
    with one_way(both):
        would = erased(both, key, "--dry-run")
        done = erased(both, key, code=1)
        assert done == {**would, "dry_run": False}
        [not_reached] = done["left"]
        assert not_reached["hub"] == both.site.source
        assert "may not read and write schema placemat" in not_reached["reason"]
        assert (done["entries"] > 0, values_of(both, key)) == (True, [])
        asked = erasures(both)[1]
        assert (asked["outcome"], unfinished(both, key)) == ("asked", [asked["sequence"]])
        again = both.site.placemat(*asking(both, key))
        assert (again.code, f"Not reached: what {both.site.source} keeps" in again.err) == (1, True)
        assert "Finished" not in again.err
        assert both.site.placemat("audit", "verify").code == 0
    assert left(both, key) == list(SECRETS)
    ended = both.site.placemat(*asking(both, key))
    assert (ended.code, "Finished what" in ended.err) == (0, True), ended.err
    assert left(both, key) == []
    assert unfinished(both, key) == []
    assert both.site.placemat("audit", "verify").code == 0


def test_what_was_not_finished_is_not_finished_without_the_hub(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the spoke's name, when no route tells of the hub any more, and its database is not configured."""
    key = a_life(both, workspace)

    def away(self: HubErasure) -> None:
        self._connection.close()
        raise Unavailable("gone")

    with monkeypatch.context() as broken:
        broken.setattr(HubErasure, "erase", away)
        assert "nothing was erased" in erased(both, key, code=1)["error"]
    asked = unfinished(both, key)
    spoke = both.spoke_name
    words = ("audit", "erase", "storytellers", str(key), "--source", spoke, "--reason", "she asked", "--json")
    with one_way(both):
        both.site.values["targets"] = {}
        both.site.values["sources"].pop(both.site.source)
        both.site.write()
        done = both.site.placemat(*words)
        assert done.code == 1, done.err
        assert [one["hub"] for one in done.json["left"]] == [both.site.source]
        assert [one["source"] for one in done.json["names"]] == [spoke, both.site.source]
        assert values_of(both, key) == []
        told = both.site.placemat("audit", "verify", "--json").json["unfinished"]
        assert [one["sequence"] > asked[0] for one in told] == [True]
    assert left(both, key) == list(SECRETS)
    assert both.site.placemat(*words).code == 0
    assert (left(both, key), unfinished(both, key)) == ([], [])


def test_of_a_row_that_went_after_its_table_went_both_ways_nothing_is_kept(both: Linked, workspace: uuid.UUID) -> None:
    """Nobody has told the hub that it is gone."""
    keys = [made(both.hub, "storytellers", workspace_id=workspace, name="x", bio="secret of ours") for _ in range(2)]
    both.rest()
    audited(both)
    gone, stays = keys
    with both.held(), one_way(both, **to_the_hub(both)):
        both.hub.execute("DELETE FROM storytellers WHERE id = %s", [gone])
        [hub] = erased(both, gone)["hubs"]
        assert (hub["deleted_rows"], hub["there"]) == (1, False)
        [hub] = erased(both, stays)["hubs"]
        assert (hub["deleted_rows"], hub["there"]) == (0, True)
        assert "secret" not in kept_of(both, gone)
        query = "SELECT state FROM placemat.hub_rows WHERE key = %s"
        (state, other) = (str(both.hub.execute(query, [text(key)]).fetchone()) for key in keys)
        assert ('"erased":true' in state, '"alive":true' in other) == (True, True)
    both.rest()


@pytest.mark.parametrize("given", ["hub", "spoke"])
def test_a_hub_tells_who_has_had_the_row_where_neither_routes_nor_entries_do(
    both: Linked, workspace: uuid.UUID, given: str
) -> None:
    """As where the spoke is no target any more, and the months of the log are sealed."""
    hub, spoke = both.site.source, both.spoke_name
    key = uuid.uuid4()
    state = '{"alive":false,"rver":[1,2,3],"lo":4,"hi":5,"values":{"bio":"\\"secret\\""}}'
    link = '{"at":[1,2,3],"row_seen":[1,2,3]}'
    with one_way(both, **to_the_hub(both)):
        both.site.values["targets"] = {}
        both.site.write()
        both.hub.execute("INSERT INTO placemat.hub_rows VALUES ('public.storytellers', %s, %s)", [text(key), state])
        both.hub.execute(
            "INSERT INTO placemat.links VALUES ('public.storytellers', %s, %s, %s)", [text(key), spoke, link]
        )
        asked = {"hub": hub, "spoke": spoke}[given]
        words = ("audit", "erase", "storytellers", str(key), "--source", asked, "--reason", "r", "--json")
        done = both.site.placemat(*words)
        assert done.code == 0, done.err
        assert {one["source"] for one in done.json["names"]} == {hub, spoke}
        assert done.json["hubs"][0]["deleted_rows"] == 1
    assert "secret" not in kept_of(both, key)


def test_what_waits_at_a_former_hub_is_told_with_the_way_back(both: Linked, workspace: uuid.UUID) -> None:
    key = a_teller(both, both.hub, workspace, bio="as it was")
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    with one_way(both, **to_the_hub(both)):
        refused = erased(both, key, code=1)["error"]
    assert f"configure again that its table goes both ways, and placemat conflicts resolve {number}" in refused
    verb(both, "resolve", number, "--take", "hub")
    both.rest()


def test_entries_of_such_a_key_of_which_nobody_knows_whose_they_are_are_named(
    both: Linked, workspace: uuid.UUID
) -> None:
    key = a_life(both, workspace)
    draft = Draft("event", "u", "applied", "x", source="elsewhere", target="ledger", entity="public.storytellers",
                  key=text(key), content='{"before":null,"after":{"name":"x"}}')  # fmt: skip
    with chain.opened(both.site.state) as connection:
        chain.append(connection, [draft])
        connection.commit()
    ended = both.site.placemat(*asking(both, key), "--dry-run")
    assert f"Not reached: 1 entry of public.storytellers {text(key)} at elsewhere" in ended.err
    assert "repeat this with --source elsewhere" in ended.err
    done = erased(both, key)
    other = {"source": "elsewhere", "entity": "public.storytellers", "key": {"id": str(key)}, "entries": 1}
    assert done["others"] == [other]
    assert values_of(both, key) == [("elsewhere", "public.storytellers", text(key))]
