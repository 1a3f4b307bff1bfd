"""Rules of how two databases are written, linked and observed where rows go both ways."""

from __future__ import annotations

from tests.crash.rules.rule import Rule

_BOTH_WAYS_GUARD = "tests/integration/test_both_ways_guard.py"
_LINK = "tests/integration/test_link.py"
_SIDE_EFFECTS = "tests/integration/test_both_ways_side_effects.py"
_ONE_TRANSACTION = "tests/integration/test_both_ways_one_transaction.py"
_BESIDE = "tests/integration/test_both_ways_beside.py"
_HUB_TRIGGERS = "tests/integration/test_both_ways_hub_triggers.py"

BOTH_WAYS = (
    Rule(
        "decided_without_the_row",
        "A person's decision locks the row before it looks.",
        "connectors/postgres/two_way/ruling.py",
        "locked=True",
        "locked=False",
        ("tests/integration/test_conflicts.py::test_an_edit_that_a_decision_has_waited_for_is_not_lost",),
    ),
    Rule(
        "linked_is_edited",
        "A row that has only got another key is as old as it was.",
        "connectors/postgres/two_way/notes.py",
        "                    self._changed_at[table, one.key] = one.at\n",
        "                    pass\n",
        (f"{_LINK}::test_two_full_databases_become_one_as_the_report_has_predicted",),
    ),
    Rule(
        "rejected_with_its_queue_unsaid",
        "What waits behind a row whose deletion is rejected is told as kept.",
        "connectors/postgres/writer.py",
        "                    self._outcomes.redriven(*key, self._parked.events(key), KEPT)\n"
        "                    self.discard(key)\n",
        "                    self._parked.unpark(key)\n",
        (f"{_BOTH_WAYS_GUARD}::test_what_waits_at_the_hub_is_told_as_kept_when_its_rows_deletion_is_rejected",),
    ),
    Rule(
        "begun_anew_for_ever",
        "A large transaction of a spoke comes through while people edit its rows at the hub.",
        "connectors/postgres/two_way/inward.py",
        "late = others is not None and self._held and end is not None and observed >= end",
        "late = False",
        (
            "tests/integration/test_both_ways_races.py::test_a_large_deletion_comes_through_while_people_edit_its_last_rows",
        ),
    ),
    Rule(
        "made_beside_for_ever",
        "A row that a trigger makes beside the one that is written is judged after that.",
        "connectors/postgres/writer.py",
        "if isinstance(error, ChangedMeanwhile) and len(events) == 1:",
        "if isinstance(error, ChangedMeanwhile):",
        (f"{_SIDE_EFFECTS}::test_a_row_that_triggers_of_both_sides_make_beside_one_without_its_parent_is_one_row",),
    ),
    Rule(
        "answered_as_planned",
        "An answer tells the row as the hub's triggers have left it.",
        "connectors/postgres/two_way/inward.py",
        "locked=False) if work.nets or work.beside else work.rows",
        "locked=False) if False else work.rows | self._changes.present(\n"
        '            [key for key, one in planned.items() if one.action != "none"], locked=False\n        )',
        (f"{_ONE_TRANSACTION}::test_an_answer_tells_the_row_as_triggers_beside_it_have_left_it[bio]",),
    ),
    Rule(
        "made_by_triggers",
        "A row that a trigger of the hub makes beside a spoke's is no row that the spoke has made.",
        "connectors/postgres/two_way/notes.py",
        "if name not in self._foretold:\n            return self._by_triggers",
        "if name not in self._foretold:\n            return self._origin",
        (f"{_HUB_TRIGGERS}::test_a_row_that_a_trigger_makes_for_a_spokes_row_comes_to_that_spoke_too",),
    ),
    Rule(
        "foretold_for_ever",
        "What a trigger of the hub deletes later than our own write is no deletion that the spoke knows of.",
        "connectors/postgres/two_way/notes.py",
        "self._foretold.remove(name)",
        "pass",
        (f"{_ONE_TRANSACTION}::test_a_row_that_a_trigger_takes_away_later_is_not_brought_back_unlisted[made in it]",),
    ),
    Rule(
        "gone_beside",
        "A row that goes by a trigger beside the one that is written is judged after that.",
        "connectors/postgres/table_writes.py",
        'if found and step.kind == "change" and not alone:',
        "if False:",
        (f"{_ONE_TRANSACTION}::test_an_edit_beside_the_deletion_of_its_row_by_a_trigger_is_listed",),
    ),
    Rule(
        "answered_before_what_is_beside",
        "An answer tells what a row that goes one way, written beside it, has set off.",
        "connectors/postgres/two_way/writing.py",
        "work.beside = bool(one_way)",
        "work.beside = False",
        (f"{_BESIDE}::test_an_answer_tells_what_a_row_that_goes_one_way_has_set_off_in_the_same_transaction",),
    ),
    Rule(
        "made_itself_for_ever",
        "A row that a trigger makes itself instead of ours is parked.",
        "connectors/postgres/table_writes.py",
        "if self._present(error.step.table, error.step.keys):\n                    raise\n        raise _SUPPRESSED",
        "raise",
        (f"{_HUB_TRIGGERS}::test_a_row_that_a_trigger_makes_itself_instead_of_ours_is_parked_and_holds_up_no_other",),
    ),
    Rule(
        "ambiguous_tried",
        "An ambiguous row waits for a person, whatever comes of it.",
        "connectors/postgres/writer.py",
        "if entry.sqlstate != AMBIGUOUS and (",
        "if (",
        (f"{_LINK}::test_rows_that_nobody_can_tell_wait_for_a_person_on_both_sides",),
    ),
    Rule(
        "shared_value_pairs",
        "A value that several rows of a side share joins none of them.",
        "daemon/link/pairs.py",
        "return len(self.free) == 1 and not self.taken",
        "return bool(self.free)",
        (
            "tests/property/test_pairs.py::test_a_pair_has_the_same_key_or_values_that_no_other_row_of_either_side_has",
            "tests/property/test_pairs.py::test_a_value_that_several_rows_of_a_side_share_is_never_guessed",
        ),
    ),
)
