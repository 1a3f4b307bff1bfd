"""The scenario on the demo's own servers, while its workers stand still; then its queue is worked off by command."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from uuid import UUID

import psycopg

from daemon.embedded import demo_site
from daemon.embedded.demo_daemon import DemoDaemon
from daemon.embedded.scenario.act import Played, Report, Stage, work_off
from daemon.embedded.scenario.act import perform as play_and_compare
from daemon.embedded.scenario.ledger import Row, Side
from daemon.embedded.scenario.script import RowKey
from daemon.embedded.settling import Settling
from schemas import domain

ROWS = 2_400
OWN_WORDS = "Both of it is true."
DECIDED_BY = ("--by", "demo", "--reason", "the demo's own edits")
Command = Callable[..., str]
"""Runs `placemat` with these arguments; what it prints."""


def perform(dsns: Mapping[str, str], daemon: DemoDaemon, settling: Settling, seed: int) -> Report:
    """Edit rows on both sides at the same time, compare both with the ledger, and decide what waits."""
    with psycopg.connect(dsns["primary"]) as primary:
        columns = {table: demo_site.columns(primary, table) for table in domain.ROUTED_TABLES}
    stage = Stage(
        dsns["primary"], dsns["empathy_ledger"], columns, demo_site.RULES, demo_site.SKEW_SECONDS, daemon.held,
        settling.rest,
    )  # fmt: skip
    return decided(stage, play_and_compare(stage, seed, ROWS), daemon.placemat, spoke="empathy_ledger").report


def decided(stage: Stage, played: Played, placemat: Command, *, spoke: str) -> Played:
    """After each conflict of the queue was decided by the real command: one for the spoke, one by words of our own, the
    others for the hub."""
    found = json.loads(placemat("conflicts", "list", "--limit", "1000000", "--json"))["waiting"]
    choices: dict[RowKey, Side | Row] = {}
    commands: list[tuple[str, ...]] = []
    for number, one in enumerate(found):
        key = one["table"].removeprefix("public."), UUID(one["key"]["id"])
        fields = [name for name in one["fields"] if name is not None]
        choices[key] = "hub"
        if number == 0:
            choices[key] = "spoke"
            commands.append((str(one["id"]), "--take", spoke))
        elif number == 1 and fields:
            choices[key] = dict.fromkeys(fields, OWN_WORDS)
            commands.append((str(one["id"]), *(word for name in fields for word in ("--set", f"{name}={OWN_WORDS}"))))
    commands.append(("--all", "--take", "hub", "--yes"))

    def decide() -> None:
        for command in commands:
            placemat("conflicts", "resolve", *command, *DECIDED_BY)

    return work_off(stage, played, choices, decide)
