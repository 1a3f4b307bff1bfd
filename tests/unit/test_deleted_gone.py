"""What `placemat snapshot --delete-gone` says of rows that do not leave a target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.cli.gone import Deleted
from daemon.errors import OperatorError
from daemon.resync.gone import Gone
from tests.command import command

AGAIN = "placemat snapshot items --delete-gone"
OWN = "rows of the target's own, whose keys the source's columns cannot hold"
CONFIG = """
state.url = "postgresql://nowhere/state"
kafka.bootstrap_servers = "nowhere:9092"
sources.primary = {url = "postgresql://nowhere/a", slot = "s", tables = ["public.items", "public.beat"]}
targets.copy = {url = "postgresql://nowhere/b", source = "primary", tables = {"public.items" = {}}}
"""


@pytest.mark.parametrize(
    ("found", "idle", "step"),
    [
        (Gone("public.items", 3, 0, 2, paused="public.items"), False, "placemat resume copy public.items"),
        (Gone("public.items", 3, 0, 2, paused="public.sorts"), False, "placemat resume copy public.sorts"),
        (Gone("public.items", 3, 0, 2, paused="public.items", resuming=True), False, "placemat status"),
        (Gone("public.items", 3, 0, 2, parked=True), False, "placemat dlq list --target copy"),
        (Gone("public.items", 3, 0, 2), True, "placemat run apply:copy"),
        (Gone("public.items", 3, 0, 2), False, "placemat status"),
        (Gone("public.items", 3, 0, 2, own=2), True, "placemat verify public.items names them; delete them at copy"),
    ],
)
def test_each_reason_for_rows_that_stay_has_its_advice(found: Gone, idle: bool, step: str) -> None:
    deleted = Deleted({"copy": [found]}, idle={"copy"} if idle else set())
    with pytest.raises(OperatorError) as raised:
        deleted.check(AGAIN)
    assert (raised.value.exit_code, raised.value.try_) == (1, f"{step}; then: {AGAIN}")
    assert "2 rows or parked keys are left" in deleted.render()[-1]


def test_a_target_that_does_not_answer_is_named_and_the_others_are_told_of() -> None:
    away = OperatorError("The target other cannot be reached.", "Start it.")
    deleted = Deleted({"copy": [Gone("public.items", 3, 1, 0)], "other": []}, {"other": away})
    with pytest.raises(OperatorError, match=r"in other\. The target other") as raised:
        deleted.check(AGAIN)
    assert raised.value.try_ == f"Start it; then: {AGAIN}"
    assert len(deleted.render()) == 2


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Gone("public.items", 0, 0, 2, paused="public.items"), "public.items is paused"),
        (Gone("public.items", 0, 0, 2, paused="public.items", resuming=True), "public.items catches up after a pause"),
        (
            Gone("public.items", 0, 0, 2, parked=True, after="public.parts"),
            "they were only counted, since those of public.parts do not leave",
        ),
        (
            Gone("public.items", 0, 0, 2, own=1),
            f"nothing more has left for a minute; {OWN}: 1",
        ),
        (Gone("public.items", 0, 0, 0), None),
    ],
)
def test_each_reason_for_rows_that_stay_is_the_true_one(found: Gone, why: str | None) -> None:
    told = json.loads(json.dumps(Deleted({"copy": [found]}).to_json()))
    assert [one["why"] for one in told["gone"]] == [why]


def test_a_table_that_was_only_counted_needs_no_step_of_its_own() -> None:
    stuck = Gone("public.parts", 0, 0, 1, parked=True)
    counted = Gone("public.items", 0, 0, 2, after="public.parts")
    with pytest.raises(OperatorError, match="3 rows") as raised:
        Deleted({"copy": [stuck, counted]}).check(AGAIN)
    assert raised.value.try_ == f"placemat dlq list --target copy; then: {AGAIN}"


def test_nothing_is_raised_when_nothing_is_left() -> None:
    Deleted({"copy": [Gone("public.items", 3, 1, 0)]}).check(AGAIN)


@pytest.mark.parametrize(
    "arguments", [["items", "--where", "true"], ["items", "--from", "1"], ["items", "--no-wait"], ["beat"]]
)
def test_rows_that_are_gone_are_looked_for_in_whole_routed_tables_only(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "placemat.toml").write_text(CONFIG)
    ended = command("--config", str(tmp_path / "placemat.toml"), "snapshot", *arguments, "--delete-gone")
    assert (ended.code, ended.err.count("Error: "), ended.err.count("--delete-gone")) == (2, 1, 1), ended.err
    assert all(option in ended.err for option in arguments if option.startswith("--"))
