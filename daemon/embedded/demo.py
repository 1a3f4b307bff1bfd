"""`placemat demo`: servers, data and the daemon on one machine, watched by the witness."""

from __future__ import annotations

import itertools
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import orjson
import psycopg

from daemon.config.load import load
from daemon.embedded import demo_audit, demo_notion, demo_scenario, demo_site, latency, running, witness
from daemon.embedded.demo_daemon import DemoDaemon
from daemon.embedded.demo_outcome import PACED_CHANGES_PER_SECOND, TARGET, Outcome
from daemon.embedded.load import LoadReport, run_load
from daemon.embedded.notion.office import Office
from daemon.embedded.notion.site import MIRROR
from daemon.embedded.servers import Servers
from daemon.embedded.settling import FOLLOWERS, WITH_NOTION, Settling
from daemon.embedded.tate import TateReport, load_tate
from daemon.errors import OperatorError
from daemon.reconcile import verify
from daemon.state import engine as state
from daemon.state import sources
from schemas import domain
from schemas.topics import table_topic

SEED = 2026
BURST_CHANGES = 6_000
PACED_SECONDS = 8.0
GENTLE_CHANGES_PER_SECOND = 5
GENTLE_SECONDS = 5.0
SETTLE_SECONDS = 300.0
POLL_SECONDS = 0.05
MISMATCHES_SHOWN = 10

_COPIED = "SELECT count(*) FROM placemat.snapshots WHERE done_at IS NULL"


def run_demo(*, once: bool, data: Path | None, json: bool) -> int:
    """The whole demo; the exit status. Everything it started is stopped and removed, on Ctrl-C and SIGTERM too.

    Raises OperatorError when a part of it cannot be set up or ends.
    """
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    started = time.monotonic()
    say = _Said(silent=json)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="placemat-demo-")))
        say("Starting PostgreSQL (primary), PostgreSQL (Empathy Ledger), Kafka and a simulated Notion …")
        servers = stack.enter_context(Servers(settings=demo_site.SETTINGS))
        config = directory / "placemat.toml"
        # Files of a folder have no workspace whose rows Notion could show.
        office = stack.enter_context(Office()) if data is None else None
        notion = None if office is None else office.workspace
        counts = demo_site.install(servers, config, sample=data is None, both_ways=True, notion=notion)
        if counts:
            say(f"Loaded sample data: {sum(counts.values()):,} rows in {len(counts)} tables of the primary.")
        entry = running.describe(
            "demo", dsns=servers.dsns, bootstrap_servers=servers.kafka.bootstrap_servers, config=config
        )
        stack.enter_context(running.register(entry))
        daemon = stack.enter_context(DemoDaemon(config, directory, notion=notion is not None))
        demo = _Demo(servers, config, daemon, say, office)
        outcome = demo.perform(data, started)
        if json:
            say.last(orjson.dumps(outcome.to_json()).decode())
        else:
            say(outcome.render())
        if not once:
            demo.go_on()
        return outcome.exit_status


class _Demo:
    """The acts of the demo, in order."""

    def __init__(self, servers: Servers, config: Path, daemon: DemoDaemon, say: _Said, office: Office | None) -> None:
        self._dsns = {**servers.dsns, "notion": servers.hub.dsn(MIRROR)}
        self._office = office
        self._kafka = servers.kafka.bootstrap_servers
        self._config = config
        self._daemon = daemon
        self._say = say
        self._settling = Settling(self._dsns, self._wait, FOLLOWERS if office is None else WITH_NOTION)

    def perform(self, data: Path | None, started: float) -> Outcome:
        self._wait("the initial copy", self._copied)
        self._settling.settle()
        self._say("The initial copy is done.")
        orphans = self._load_real(data) if data else 0
        self._report_load(self._load(changes=BURST_CHANGES))
        self._settling.settle()
        since = latency.begin(self._dsns["primary"], self._dsns[TARGET])
        self._load(seconds=PACED_SECONDS, rate=PACED_CHANGES_PER_SECOND, largest=20)
        self._settling.settle()
        measured = latency.measure(self._dsns["primary"], self._dsns[TARGET], since)
        self._say("Counting what has become of each change …")
        topics = [table_topic("primary", "public", table) for table in domain.ROUTED_TABLES]
        counted = witness.count(self._dsns["primary"], self._dsns[TARGET], self._kafka, topics, own_role=domain.APPLY)
        for finding in counted.findings:
            self._say(f"{finding.counter}: {finding.table} {finding.key}: {finding.reason}")
        self._say("Editing rows on both sides at the same time …")
        report = demo_scenario.perform(self._dsns, self._daemon, self._settling, SEED)
        for mismatch in report.mismatches[:MISMATCHES_SHOWN]:
            self._say(str(mismatch))
        notion = None
        if self._office is not None:
            notion = demo_notion.perform(self._dsns, self._office, self._daemon, self._settling, self._say)
        self._say("Looking for each event in the audit log …")
        entered = demo_audit.audited(
            self._dsns, self._kafka, self._daemon.placemat, self._wait,
            demo_audit.TARGETS if notion is None else {**demo_audit.TARGETS, **demo_audit.NOTION_TARGETS},
        )  # fmt: skip
        self._say("Comparing every row and every field …")
        settings = load(self._config)
        with state.opened(settings.state.url.get_secret_value()) as engine:
            verified = verify(settings, [], eras=sources.eras(engine), sample=None)
        return Outcome(counted, report, entered, verified, measured, time.monotonic() - started, orphans, notion)

    def go_on(self) -> None:
        """Change a few rows a second until Ctrl-C."""
        self._say(
            "\nThe demo goes on with a few changes a second. Copy these into a second terminal:\n\n"
            "  .venv/bin/placemat dev sql primary \"UPDATE stories SET title = 'Seen elsewhere at once'"
            ' WHERE id = (SELECT id FROM stories LIMIT 1)"\n'
            "  .venv/bin/placemat dev sql empathy_ledger"
            " \"SELECT id, title FROM stories WHERE title = 'Seen elsewhere at once'\"\n"
            "  .venv/bin/placemat dev sql empathy_ledger \"UPDATE stories SET title = 'Told here'"
            ' WHERE id = (SELECT id FROM stories LIMIT 1)"\n'
            f"{demo_notion.hint(self._office)}"
            "  .venv/bin/placemat conflicts list --all --limit 5\n"
            "  .venv/bin/placemat tail\n"
            "  .venv/bin/placemat lag --follow\n\n"
            "Ctrl-C ends it and leaves nothing behind."
        )
        refused = False
        try:
            for seed in itertools.count(SEED + 100):
                self._daemon.check()
                why = self._change_gently(seed)
                if why and not refused:
                    self._say(
                        f"\nThe primary refuses the demo's own changes: {why}. They are tried again every"
                        f" {GENTLE_SECONDS:.0f} seconds; everything else goes on."
                    )
                if refused and not why:
                    self._say("The primary takes the demo's own changes again.")
                refused = bool(why)
        except KeyboardInterrupt:
            self._say("\nStopping …")

    def _change_gently(self, seed: int) -> str:
        """Change rows for a few seconds; why the primary refuses it, where somebody has altered a table there."""
        started = time.monotonic()
        try:
            run_load(
                self._dsns["primary"],
                seed,
                seconds=GENTLE_SECONDS,
                rate=GENTLE_CHANGES_PER_SECOND,
                largest_transaction=3,
            )
        except (psycopg.ProgrammingError, psycopg.DataError, psycopg.IntegrityError) as error:
            time.sleep(max(0.0, started + GENTLE_SECONDS - time.monotonic()))
            return error.diag.message_primary or str(error)
        return ""

    def _load_real(self, data: Path) -> int:
        with psycopg.connect(self._dsns["primary"], autocommit=True) as connection:
            report = load_tate(connection, data)
        self._say(_tate_sentence(report))
        self._settling.settle()
        return report.artists.orphans + report.artworks.orphans + report.media.orphans

    def _load(
        self, *, changes: int | None = None, seconds: float | None = None, rate: float | None = None, largest: int = 500
    ) -> LoadReport:
        seed = SEED if changes else SEED + 1
        return run_load(
            self._dsns["primary"], seed, changes=changes, seconds=seconds, rate=rate, largest_transaction=largest
        )

    def _report_load(self, report: LoadReport) -> None:
        self._say(
            f"Changed rows in the primary: {report.inserted:,} inserted, {report.updated:,} updated,"
            f" {report.deleted:,} deleted, in {report.transactions:,} transactions of mixed size."
        )

    def _copied(self) -> bool:
        with psycopg.connect(self._dsns["state"]) as connection:
            row = connection.execute(_COPIED).fetchone()
        return row is not None and row[0] == 0

    def _wait(self, what: str, condition: Any) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while not condition():
            self._daemon.check()
            if time.monotonic() > deadline:
                raise OperatorError(f"The demo waited {SETTLE_SECONDS:.0f} seconds for {what}.", "Run it again.")
            time.sleep(POLL_SECONDS)


def _tate_sentence(report: TateReport) -> str:
    parts = [
        f"{kind} {one.loaded:,} of {one.read:,}" + (f" ({one.orphans:,} without a parent)" if one.orphans else "")
        for kind, one in (
            ("storytellers", report.artists),
            ("stories", report.artworks),
            ("story_media", report.media),
        )
    ]
    return f"Loaded the folder's files: {', '.join(parts)}."


class _Said:
    """Prints for people, or keeps standard output for the one JSON line at the end."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent

    def __call__(self, text: str) -> None:
        if not self._silent:
            self.last(text)

    def last(self, text: str) -> None:
        print(text, flush=True)  # noqa: T201 the demo speaks to a person


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
