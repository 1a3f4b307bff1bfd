"""What `placemat resync` says of rows that are left in a target."""

from __future__ import annotations

from datetime import UTC, datetime

from daemon.resync.gone import Gone
from daemon.resync.report import Report
from daemon.state.gaps import Gap

AT = datetime(2026, 1, 1, tzinfo=UTC)


def report(*left: Gone) -> Report:
    gap = Gap(1, "primary", 1, "The slot is gone.", [], 0, AT, 0, AT, {}, [], ["copy"], {}, {}, None)
    return Report(gap, [], [], {}, {"copy": left} if left else {})


def test_a_row_whose_key_the_source_cannot_hold_is_told_with_what_to_do_and_is_no_question_of_workers() -> None:
    found = report(Gone("public.items", 2, 0, 1, own=1))
    assert not found.done
    assert found.to_json()["targets"]["copy"]["left"] == 1
    assert "1 rows of public.items have keys that the source's columns cannot hold" in found.render()
    assert "placemat verify public.items names them; delete them at copy." in found.render()
    assert "worker" not in found.render()


def test_rows_that_are_still_to_go_leave_a_resync_undone() -> None:
    found = report(Gone("public.items", 2, 0, 3, own=1))
    assert not found.done
    assert "copy: 2 rows or parked keys, or more, are still to go; does its worker run?" in found.render()
    assert report().done
