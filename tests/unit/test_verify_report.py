"""The report of `verify`: its JSON is a contract, its text is for people."""

from __future__ import annotations

import json

from daemon.reconcile.report import Difference, TableReport, TargetReport, Values, VerifyReport, Waits
from schemas.position import Lsn
from tests.documents import documented_words


def report_of(*tables: TableReport, applying: bool | None = None) -> VerifyReport:
    target = TargetReport("empathy_ledger", "primary", Lsn(0x1_0000_00A0), applying, tables)
    return VerifyReport((target,), None, 1.25)


def damaged() -> TableReport:
    table = TableReport("public.stories", 12_000, 11_999, rows=12_001, fields=143_988)
    table.add(Difference({"id": "1"}, "differs", ("title", "content"), {"title": Values("a", None)}))
    table.add(Difference({"id": "2"}, "only_in_source", parked_id=12))
    table.add(Difference({"team": "3", "role": "x"}, "only_in_target"))
    table.add_changing({"id": "4"})
    return table


def test_text_says_what_differs_in_plain_words() -> None:
    assert report_of(damaged(), TableReport("public.projects", 1, 1, 1, 9)).render().splitlines() == [
        "empathy_ledger beside primary, verified through 1/A0",
        "  public.stories: 12,000 rows in primary, 11,999 in empathy_ledger; 12,001 compared: 3 differences (1 parked)",
        "    id=1: title, content differ",
        "      title: 'a' in primary, NULL in empathy_ledger",
        "    id=2: only in primary (parked #12)",
        "    team=3, role=x: only in empathy_ledger",
        "    id=4: still changing",
        "  public.projects: 1 row in primary, 1 in empathy_ledger; 1 compared: no difference",
        "3 differences, 1 row still changing in 12,002 rows and 143,997 fields compared (1.2 s).",
        "To delete what the source does not have: placemat snapshot public.stories --delete-gone",
    ]


def test_json_carries_everything_and_encodes() -> None:
    found = json.loads(json.dumps(report_of(damaged(), applying=True).to_json()))
    assert found["clean"] is False
    assert (found["differences"], found["still_changing"], found["seconds"]) == (3, 1, 1.25)
    (target,) = found["targets"]
    assert (target["verified_through"], target["applying"]) == ("1/A0", True)
    assert [difference["parked"] for difference in target["tables"][0]["listed"]] == [None, 12, None]
    assert target["tables"][0]["listed"][0]["values"] == {"title": {"source": "a", "target": None}}


def undecided() -> TableReport:
    table = TableReport("public.stories", 3, 3, 3, 36)
    table.add(Difference({"id": "1"}, "differs", ("content",), waits=Waits(12, ("content", "themes"))))
    table.add(Difference({"id": "2"}, "differs", ("content", "title"), waits=Waits(14, ("content",))))
    table.add(Difference({"id": "3"}, "only_in_target", waits=Waits(12, ())))
    return table


def test_text_says_which_differences_wait_for_a_person() -> None:
    lines = report_of(undecided()).render().splitlines()
    assert lines[1:] == [
        "  public.stories: 3 rows in primary, 3 in empathy_ledger; 3 compared: 3 differences (2 waiting for a person)",
        "    id=1: content differs (waits: conflict 12)",
        "    id=2: content, title differ (waits: conflict 14 about content)",
        "    id=3: only in empathy_ledger (waits: conflict 12)",
        "3 differences in 3 rows and 36 fields compared (1.2 s).",
        "To see what waits for a person: placemat conflicts list",
    ]
    one = TableReport("public.stories", 1, 1, 1, 12)
    one.add(Difference({"id": "1"}, "differs", ("content",), waits=Waits(12, ("content",))))
    assert report_of(one).render().splitlines()[-1] == "To see what waits for a person: placemat conflicts show 12"


def test_json_names_the_conflict_and_counts_what_lacks_nothing_but_its_decision() -> None:
    found = json.loads(json.dumps(report_of(undecided()).to_json()))
    assert (found["clean"], found["differences"], found["waits"]) == (False, 3, 2)
    ((table,),) = (target["tables"] for target in found["targets"])
    assert table["waits"] == 2
    told = [(one["waits"], one["waiting"]) for one in table["listed"]]
    assert told == [(12, ["content", "themes"]), (14, ["content"]), (12, [])]


def test_rows_still_changing_leave_a_report_clean() -> None:
    table = TableReport("public.stories", 1, 1, 1, 1)
    table.add_changing({"id": "4"})
    assert report_of(table).clean


def test_every_field_of_the_json_is_documented() -> None:
    words = documented_words("verify")
    found = report_of(damaged()).to_json()
    (target,) = found["targets"]
    (table,) = target["tables"]
    for part in (found, target, table, table["rows"], table["listed"][0]):
        assert part.keys() <= words
