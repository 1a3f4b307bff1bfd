"""What `placemat snapshot --delete-gone` says of rows that do not leave a target."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.cli.gone import Deleted
from daemon.errors import OperatorError
from daemon.resync.gone import Gone
from tests.command import command

AGAIN = "placemat snapshot items --delete-gone"
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
        (Gone("public.items", 3, 0, 2, parked=True), False, "placemat dlq list --target copy"),
        (Gone("public.items", 3, 0, 2), True, "placemat run apply:copy"),
        (Gone("public.items", 3, 0, 2), False, "placemat status"),
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
