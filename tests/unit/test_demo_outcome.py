"""What the demo's exit status says."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from daemon.embedded.demo_audit import Audited
from daemon.embedded.demo_outcome import Outcome
from daemon.embedded.latency import Latency
from daemon.embedded.notion.compare import Compared
from daemon.embedded.notion.compare import Mismatch as NotionMismatch
from daemon.embedded.notion.report import NotionReport, Step
from daemon.embedded.scenario.act import Report
from daemon.embedded.scenario.compare import Mismatch
from daemon.embedded.witness import WitnessReport
from daemon.reconcile.report import VerifyReport
from tests.documents import documented_words

COUNTERS = ("lost", "duplicated", "out_of_order", "damaged", "returned")
MISMATCH = NotionMismatch("Projects", "k", "Name", "a", "b")
NOTION = NotionReport(
    (Step("a change is in Notion", "out", 0.25), Step("an edit is in the primary", "back", 1.5)),
    {"created": 9, "updated": 3, "requests": 20}, 1, (), Compared({"Projects": 9}, ()),
)  # fmt: skip
SCENARIO = Report({}, 100, 40, 10, {"manual": 2, "merge": 1}, 2, 2, (), 2, 0)


def outcome(**counts: int) -> Outcome:
    counters = dict.fromkeys(
        (
            "journal_entries",
            "topic_records",
            "snapshot_records",
            "target_changes",
            "late_of_replaced_capture",
            *COUNTERS,
        ),
        0,
    )
    witness = WitnessReport(**{**counters, **counts}, damaged_fields={}, findings=())
    return Outcome(witness, SCENARIO, Audited(10, 0, 0), VerifyReport((), None, 0.0), None, 1.0, 0)


def test_a_demo_without_a_fault_ends_with_0() -> None:
    assert outcome(late_of_replaced_capture=1).exit_status == 0


@pytest.mark.parametrize("counter", COUNTERS)
def test_each_counter_of_the_witness_ends_the_demo_with_3(counter: str) -> None:
    found = outcome(**{counter: 1})
    assert found.exit_status == 3
    assert "NOT everything is equal" in found.render()


@pytest.mark.parametrize(
    "faulty",
    [
        replace(SCENARIO, mismatches=(Mismatch("queue", "stories", uuid4(), "title", "a", "b"),)),
        replace(SCENARIO, queue_left=1),
    ],
)
def test_a_scenario_that_is_not_as_its_ledger_says_ends_the_demo_with_3(faulty: Report) -> None:
    found = replace(outcome(), scenario=faulty)
    assert found.exit_status == 3
    assert "NOT everything is equal" in found.render()


@pytest.mark.parametrize("faulty", [Audited(10, 1, 0), Audited(10, 0, 1)])
def test_an_audit_log_that_lacks_an_event_or_has_it_twice_ends_the_demo_with_3(faulty: Audited) -> None:
    assert replace(outcome(), audit=faulty).exit_status == 3


@pytest.mark.parametrize(
    "faulty",
    [
        replace(NOTION, compared=Compared({"Projects": 9}, (MISMATCH,))),
        replace(NOTION, missed=("the lead is another",)),
        replace(NOTION, steps=(*NOTION.steps, Step("a story leaves", "out", None))),
        replace(NOTION, steps=(*NOTION.steps, Step("a story leaves", "out", 30.1))),
    ],
)
def test_notion_with_a_difference_or_too_late_ends_the_demo_with_3(faulty: NotionReport) -> None:
    assert replace(outcome(), notion=NOTION).exit_status == 0
    found = replace(outcome(), notion=faulty)
    assert found.exit_status == 3
    assert "NOT everything is equal" in found.render()
    assert found.to_json()["mismatches"] == len(faulty.compared.mismatches)


def test_the_json_tells_what_notion_was_told_and_how_long_that_took() -> None:
    assert outcome().to_json()["targets"] == {}
    told = replace(outcome(), notion=NOTION).to_json()["targets"]["notion"]
    assert (told["created"], told["restored"], told["edits_back"], told["rows"]) == (9, 0, 1, 9)
    assert told["rows_by_database"] == {"Projects": 9}
    assert (told["seconds"], told["seconds_back"]) == ({"p50": 0.25, "max": 0.25}, {"p50": 1.5, "max": 1.5})
    assert told["seconds_onward"] is None


def test_the_json_names_what_it_promises() -> None:
    found = outcome(lost=2, duplicated=1).to_json()
    assert (found["lost"], found["duplicates"], found["mismatches"]) == (2, 1, 0)
    assert {"captured", "applied", "seconds", "latency_ms"} <= set(found)


def test_every_field_of_the_json_is_documented() -> None:
    found = replace(outcome(), latency=Latency(9, 1.0, 2.0), notion=NOTION).to_json()
    for part in (found, found["latency_ms"], found["scenario"], found["audit"], found["targets"]["notion"]):
        assert part.keys() <= documented_words("demo")
