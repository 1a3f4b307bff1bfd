"""Two people at the same conflict: the later one is told what the other has done."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from connectors.postgres.two_way.waiting import HubWaitlist
from daemon.conflicts.desk import Desk
from tests.deciding import apart, assert_settled, verb
from tests.fix_linked import Linked
from tests.people import a_teller


def prepare(linked: Linked) -> None:
    """Of storytellers a person decides."""
    linked.route("storytellers", rule="manual")


def test_of_two_who_take_a_decision_back_at_once_the_later_is_told_of_the_other(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = a_teller(both, both.hub, workspace)
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    verb(both, "resolve", number, "--take", both.spoke_name, "--by", "ada")
    assert_settled(both, key, bio="theirs")
    with monkeypatch.context() as meanwhile:
        goes_between(meanwhile, HubWaitlist, "decisions", lambda: verb(both, "undo", number, "--by", "hedy"))
        refused = verb(both, "undo", number, "--by", "grace", code=1)["error"]
    assert f"The decision of ada in conflict {number} was taken back by hedy 2" in refused
    assert f"Try: placemat conflicts show {number} shows what was done." in refused
    assert_settled(both, key, bio="ours")
    [decision] = verb(both, "show", number)["decisions"]
    assert decision["undone_by"] == "hedy"


def test_of_two_who_decide_at_once_the_later_is_told_of_the_other(
    both: Linked, workspace: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = a_teller(both, both.hub, workspace)
    number = apart(both, key, {"bio": "ours"}, {"bio": "theirs"})
    with monkeypatch.context() as meanwhile:
        decides = ("resolve", number, "--take", both.spoke_name, "--by", "hedy")
        goes_between(meanwhile, Desk, "look", lambda: verb(both, *decides))
        ended = both.site.placemat("conflicts", "resolve", str(number), "--take", "hub", "--by", "grace")
    assert ended.code == 1
    assert f"Conflict {number} does not wait any more: hedy has decided it 2" in ended.err
    late = verb(both, "resolve", number, "--take", "hub", code=1)["error"]
    assert f"Conflict {number} does not wait any more: hedy has decided it 2" in late
    assert_settled(both, key, bio="theirs")


def goes_between(patch: pytest.MonkeyPatch, of: type, method: str, other: Callable[[], object]) -> None:
    """Somebody does the other thing, in a session of their own, when this method has found something the first time."""
    first, calls = getattr(of, method), [0]

    def and_then(*words: Any) -> Any:
        found = first(*words)
        calls[0] += 1
        if calls[0] == 1:
            other()
        return found

    patch.setattr(of, method, and_then)
