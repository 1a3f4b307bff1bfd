"""Rules of the way from the log of a database into Kafka."""

from __future__ import annotations

from tests.crash.rules.rule import Rule

_CAPTURE = "tests/integration/test_capture.py"
_CRASH = "tests/integration/test_capture_crash.py"
_TRACES = "tests/integration/test_capture_traces.py"
_STOPS = "tests/integration/test_capture_stops.py"
_SNAPSHOT = "tests/integration/test_snapshot.py"
_SCHEMAS = "tests/integration/test_schema_changes.py"

CAPTURE = (
    Rule(
        "confirm_before_ack",
        "Nothing is confirmed to the slot before Kafka has all of it.",
        "daemon/publish/progress.py",
        "return self.closed and self.outstanding == 0",
        "return self.closed",
        (
            "tests/unit/test_progress.py::test_a_finished_transaction_waits_for_those_before_it",
            f"{_CRASH}::test_status_goes_out_while_kafka_stands_still_longer_than_the_servers_time_out",
        ),
    ),
    Rule(
        "told_before_stored",
        "What is told to the slot is stored first.",
        "daemon/capture/capture.py",
        "        self._state.store(flush, {",
        "        self._stream.confirm(flush)\n        self._state.store(flush, {",
        (f"{_CRASH}::test_nothing_is_told_to_the_slot_while_it_cannot_be_stored",),
    ),
    Rule(
        "no_skip",
        "What a partition has already is not sent again.",
        "daemon/publish/producer.py",
        "if position <= self._tails[slot]:",
        "if position < self._tails[slot] < position:",
        (f"{_TRACES}::test_trace_10_what_is_sent_again_by_the_server_is_not_published_again",),
    ),
    Rule(
        "no_skip_of_ends",
        "A transaction's end that is there already is not sent again.",
        "daemon/publish/producer.py",
        "if position <= self._tails[(self._transactions, 0)]:",
        "if position < self._tails[(self._transactions, 0)] < position:",
        (f"{_TRACES}::test_trace_10_what_is_sent_again_by_the_server_is_not_published_again",),
    ),
    Rule(
        "end_before_rows",
        "The end of a chunk leaves only after its rows are acknowledged.",
        "daemon/capture/assembler.py",
        'after_records=kind == "snapshot"',
        "after_records=False",
        (f"{_TRACES}::test_trace_05_the_end_of_a_chunk_is_handed_over_when_its_last_row_is_answered",),
    ),
    Rule(
        "progress_before_publish",
        "A copy's progress is stored after its rows and their end are acknowledged.",
        "daemon/capture/assembler.py",
        "transaction.ticket.on_done = publish.done",
        "publish.done and publish.done()",
        (f"{_TRACES}::test_trace_06_progress_is_stored_after_rows_and_end_are_acknowledged[after_ack:30]",),
    ),
    Rule(
        "capture_not_fenced",
        "Every write of a capture's state carries its epoch.",
        "daemon/state/capture.py",
        "tables.sources.c.epoch == self._epoch)",
        "tables.sources.c.epoch >= 0)",
        (f"{_TRACES}::test_trace_04_a_replaced_capture_stores_nothing_more",),
    ),
    Rule(
        "older_rows_published",
        "No row of a copy is published over a newer one that its SELECT does not see yet.",
        "daemon/capture/visibility.py",
        "        return lambda key: hash(key) in touched",
        "        return lambda key: False and hash(key) in touched",
        (
            "tests/unit/test_visibility.py::test_a_key_is_dirty_while_the_snapshot_does_not_see_who_touched_it",
            f"{_SNAPSHOT}::test_no_older_row_lands_over_a_newer_one_beside_writers",
        ),
    ),
    Rule(
        "copy_does_not_wait",
        "A copy waits for transactions that may have been streamed before the capture began.",
        "daemon/capture/visibility.py",
        "return min(self._unknown, default=None)",
        "return None",
        (f"{_SNAPSHOT}::test_trace_01_a_copy_waits_for_what_was_streamed_before_its_start_and_is_not_seen_yet",),
    ),
    Rule(
        "no_status_timer",
        "The server is told how far we are on a timer, also while Kafka takes nothing.",
        "daemon/capture/stream.py",
        "                self._tell(ask=True)",
        "                continue",
        (f"{_CRASH}::test_status_goes_out_while_kafka_stands_still_longer_than_the_servers_time_out",),
    ),
    Rule(
        "slot_not_checked",
        "A slot that is not where it was left is a gap.",
        "daemon/capture/slot.py",
        '    since = f"changes after',
        '    return\n    since = f"changes after',
        (f"{_STOPS}::test_a_slot_that_something_else_has_moved",),
    ),
    Rule(
        "topics_not_pinned",
        "A topic that is another one than it was is a gap.",
        "daemon/pins.py",
        "if next(self._gaps(), None) is None:",
        "if self._topics is not None:",
        (f"{_STOPS}::test_a_topic_with_another_number_of_partitions",),
    ),
    Rule(
        "unchanged_as_null",
        "A stored value that was not sent is absent, never NULL.",
        "daemon/capture/codec.py",
        "            if cell is None:\n                parts.append",
        "            if cell is None or cell is UNCHANGED:\n                parts.append",
        (f"{_CAPTURE}::test_an_unchanged_stored_value_is_named_and_left_out",),
    ),
    Rule(
        "announced_late",
        "A table's version is announced before its first record is sent.",
        "daemon/capture/capture.py",
        "        self._announcer.announce(key, value)\n",
        "        threading.Timer(0.5, self._announcer.announce, (key, value)).start()\n",
        (f"{_SCHEMAS}::test_a_version_is_announced_before_its_first_record_is_sent",),
    ),
)
