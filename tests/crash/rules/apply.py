"""Rules of the way from Kafka into a target."""

from __future__ import annotations

from tests.crash.rules.rule import Rule

_FENCING = "tests/integration/test_apply_fencing.py"
_APPLY_TRACES = "tests/integration/test_apply_traces.py"
_GUARD = "tests/integration/test_delete_guard.py"

APPLY = (
    Rule(
        "partial_event_as_row",
        "A part of a row never creates one.",
        "connectors/postgres/rows.py",
        "        elif not change.unchanged:\n",
        "        elif after is not None:\n",
        ("tests/integration/test_apply_parked.py::test_a_part_of_a_missing_row_is_parked_asked_for_and_answered",),
    ),
    Rule(
        "repeats_applied",
        "Sinks drop what is at or below the position that they have.",
        "daemon/consume/merge.py",
        "if record.position <= self.fetched:",
        "if record.position < self.fetched < record.position:",
        (f"{_APPLY_TRACES}::test_trace_10_records_that_come_again_are_dropped_counted_and_applied_once",),
    ),
    Rule(
        "repeated_ends_applied",
        "A transaction's end at or below the place that is applied is dropped.",
        "daemon/consume/merge.py",
        "while self._ends and (self._ends[0][1].timeline, self._ends[0][1].commit_lsn) <= self._place:",
        "while self._ends and self._ends[0][1].commit_lsn < 0:",
        ("tests/unit/test_merge.py::test_a_doubled_or_old_end_is_dropped",),
    ),
    Rule(
        "merge_without_spine",
        "A transaction is complete when all records that its end counts are taken.",
        "daemon/consume/merge.py",
        "        if not buffer.records:\n            return False\n        position",
        "        if not buffer.records:\n            transaction.waiting.discard(key)\n"
        "            return True\n        position",
        ("tests/unit/test_merge.py::test_a_large_transaction_flows_through_small_buffers",),
    ),
    Rule(
        "half_transactions",
        "Rows and offsets are stored in one transaction of the target.",
        "connectors/postgres/sink.py",
        "            writer.write(records)\n",
        "            writer.write(records)\n            connection.commit()\n",
        (f"{_FENCING}::test_rows_and_offsets_are_stored_in_one_transaction_that_begins_with_the_mark_of_its_origin",),
    ),
    Rule(
        "offset_before_write",
        "Offsets are not stored before what they stand for is written.",
        "daemon/apply/lane.py",
        "        if self._pending:\n            self._sink.write(self._pending, self.table)\n"
        "        seam(BEFORE_TARGET_COMMIT)\n",
        "        self._sink.commit(progress, self.table)\n        seam(BEFORE_TARGET_COMMIT)\n"
        "        self._sink.write(self._pending, self.table)\n",
        (f"{_FENCING}::test_a_worker_killed_before_the_target_commit_loses_nothing",),
    ),
    Rule(
        "target_not_fenced",
        "A target's offsets move by compare-and-swap on epoch and offset.",
        "connectors/postgres/lanes.py",
        "WHERE source = %s AND lane = %s AND epoch = %s AND transactions_offset = %s",
        "WHERE source = %s AND lane = %s AND epoch >= least(%s, 0) AND transactions_offset >= least(%s, 0)",
        (
            f"{_FENCING}::test_a_sink_whose_epoch_is_over_commits_nothing",
            f"{_FENCING}::test_a_sink_whose_offset_has_moved_commits_nothing",
        ),
    ),
    Rule(
        "paused_table_skips",
        "A paused table goes on from its own place, not from that of the others.",
        "connectors/postgres/lanes.py",
        "TableLane(table, Progress(offset_, _place(place_), own), goes_on)",
        "TableLane(table, Progress(offset, _place(place), own), goes_on)",
        ("tests/integration/test_apply_lanes.py::test_trace_16_a_paused_table_finds_every_event_when_it_is_resumed",),
    ),
    Rule(
        "unasked",
        "More deletes than a target may lose unasked do not reach it before they are confirmed.",
        "connectors/postgres/holds.py",
        "if excesses := guard.excesses(limit, before, self._count):",
        "if (excesses := guard.excesses(limit, before, self._count)) and not excesses:",
        (
            f"{_GUARD}::test_a_delete_of_everything_does_not_reach_the_target_before_it_is_confirmed",
            f"{_GUARD}::test_a_transaction_that_flows_in_parts_is_held_whole",
        ),
    ),
    Rule(
        "answer_for_more",
        "An answer is for the commits that were shown, and for none behind them.",
        "connectors/contract.py",
        "return place <= self.through if self.answered else place < self.first",
        "return self.answered or place < self.first",
        (
            "tests/unit/test_delete_guard.py::test_a_hold_lets_through_what_comes_before_it_and_its_answer_nothing_that_comes_after",
        ),
    ),
    Rule(
        "long_queue_never_rested",
        "A correction behind a long queue is taken without another event of its key.",
        "connectors/postgres/retrying.py",
        "rests >= entry.rest_seconds",
        "rests < 0",
        (
            "tests/integration/test_apply_parked.py::test_a_correction_behind_a_long_queue_is_taken_without_another_event",
            "tests/integration/test_apply_parked.py::test_a_child_with_a_long_queue_comes_after_its_parent",
        ),
    ),
)
