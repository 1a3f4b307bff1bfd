"""The scenario on the demo's own servers, while its workers stand still; then its queue is worked off by command."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from daemon.embedded import demo_site
from daemon.embedded.demo_daemon import DemoDaemon
from daemon.embedded.scenario.act import Report, Stage
from daemon.embedded.scenario.act import perform as play_and_compare
from daemon.embedded.settling import Settling
from schemas import domain

ROWS = 2_400


def perform(dsns: Mapping[str, str], daemon: DemoDaemon, settling: Settling, seed: int) -> Report:
    """Edit rows on both sides at the same time, compare both with the ledger, and decide what waits."""
    with psycopg.connect(dsns["primary"]) as primary:
        columns = {table: demo_site.columns(primary, table) for table in domain.ROUTED_TABLES}
    stage = Stage(
        dsns["primary"], dsns["empathy_ledger"], columns, demo_site.RULES, demo_site.SKEW_SECONDS, daemon.held,
        settling.rest,
    )  # fmt: skip
    return play_and_compare(stage, seed, ROWS).report
