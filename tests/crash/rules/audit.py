"""Rules of the audit log, and of what is replayed, redriven and erased."""

from __future__ import annotations

from tests.crash.rules.rule import Rule

_RELAY = "tests/integration/test_audit_relay.py"
_REDRIVEN = "tests/integration/test_both_ways_redriven.py"
_REPLAY = "tests/integration/test_both_ways_replay.py"
_ERASE = "tests/integration/test_audit_erase.py"
_DIED = "test_an_erasure_that_died_says_who_asked_and_why_and_the_same_command_finishes_it"
_ERASE_NAMES = "tests/integration/test_audit_erase_names.py"
_ERASE_FORMER = "tests/integration/test_audit_erase_former.py"
_TAMPERING = "tests/integration/test_audit_tampering.py"
_HEADS = "tests/integration/test_audit_heads.py"
_ERAS = "tests/integration/test_audit_eras.py"
_SEGMENTS = "tests/integration/test_audit_segments.py"

AUDIT = (
    Rule(
        "second_entry",
        "An event has no second entry in the audit log.",
        "daemon/audit/ledger.py",
        "if expected is not None and draft.offset < expected:",
        "if expected is None and draft.offset < 0:",
        (f"{_RELAY}::test_an_event_has_no_second_entry_and_what_is_missing_ends_what_is_known",),
    ),
    Rule(
        "redrive_untold",
        "What waited since an earlier transaction has an entry of its own when it is taken.",
        "connectors/postgres/outcomes.py",
        "if not self._untold(place, record.offset):",
        "if record.offset not in self._notes.get(place, {}) and (place, record.offset) not in self._judged:",
        (
            f"{_REDRIVEN}::test_what_waited_is_told_when_it_comes_and_when_it_is_taken[hub]",
            f"{_REDRIVEN}::test_what_waited_is_told_when_it_comes_and_when_it_is_taken[spoke]",
        ),
    ),
    Rule(
        "replay_over_undecided",
        "A replay leaves what waits for a person as it is.",
        "daemon/recover/undecided.py",
        "    if waits is None:",
        "    if waits is None or waits.conflict:",
        (f"{_REPLAY}::test_a_replay_leaves_what_waits_for_a_person_as_the_spoke_has_it",),
    ),
    Rule(
        "audit_unfenced",
        "A relay that was replaced enters nothing.",
        "daemon/audit/ledger.py",
        "if self._connection.execute(_RELAYED, [ids, self._target, self._epoch]).rowcount != 1:",
        "if self._connection.execute(_RELAYED, [ids, self._target, self._epoch]).rowcount > 1:",
        (f"{_RELAY}::test_a_relay_that_was_replaced_enters_nothing",),
    ),
    Rule(
        "before_over_a_gap",
        "What was before is not taken from entries behind which events are missing.",
        "daemon/audit/ledger.py",
        "if expected is None or draft.offset > expected:",
        "if expected is None:",
        (f"{_RELAY}::test_an_event_has_no_second_entry_and_what_is_missing_ends_what_is_known",),
    ),
    Rule(
        "places_outlive_their_topic",
        "Events of a topic that was made anew have their entries.",
        "daemon/audit/ledger.py",
        "        self.next_offsets, self._since = {}, {}\n",
        "",
        (
            "tests/integration/test_resync.py::test_events_of_a_topic_that_was_made_anew_have_entries_of_their_own[False]",
        ),
    ),
    Rule(
        "sealed_row_believed",
        "The row of a sealed month is compared with the entry that tells of it.",
        "daemon/audit/segments.py",
        "if said is not None and (row.content, row.file) != (said.content, said.file):",
        "if said is not None and row.first < 0:",
        ("tests/integration/test_audit_sealed.py::test_a_file_that_was_altered_together_with_its_row_is_named",),
    ),
    Rule(
        "stripped_segment_believed",
        "A sealed month without a signature is no matter of course where the log was signed by then.",
        "daemon/audit/segments.py",
        "elif first_signed is not None and first_signed <= sealed_by:",
        "elif first_signed is not None and first_signed < 0:",
        (f"{_SEGMENTS}::test_a_signature_that_was_taken_off_a_segment_of_an_earlier_version_is_named",),
    ),
    Rule(
        "copied_heads_believed",
        "A signed head counts in the topic to which it was written, and in no other one.",
        "daemon/audit/heads/faults.py",
        "if one.topic_id != topic_id and (",
        "if one.topic_id == topic_id and not (",
        (
            f"{_HEADS}::test_a_topic_that_was_made_anew_with_the_same_heads_is_named",
            f"{_HEADS}::test_an_end_that_was_removed_is_named_also_when_old_heads_stand_in_a_new_topic",
        ),
    ),
    Rule(
        "first_key_believed",
        "With a key, a signed word stands before the first signed head: signatures cannot be taken off in secret.",
        "daemon/audit/heads/published.py",
        "elif not isinstance(first, Begun):",
        "elif first.offset < 0:",
        (f"{_HEADS}::test_a_log_from_which_all_signatures_were_taken_is_named",),
    ),
    Rule(
        "missing_heads_believed",
        "Offsets of the heads' topic begin at 0 and have no gaps.",
        "daemon/audit/heads/published.py",
        "if one.offset > self._next:",
        "if one.offset < self._next:",
        (
            f"{_HEADS}::test_heads_that_were_cut_off_are_named_where_a_key_is_known[1]",
            f"{_HEADS}::test_records_that_were_taken_out_between_others_are_named",
        ),
    ),
    Rule(
        "begin_repeated",
        "A signed word that begins a log holds once: written again, it ends none.",
        "daemon/audit/heads/faults.py",
        "one.stands_at != one.offset:",
        "one.stands_at < 0:",
        (
            f"{_HEADS}::test_a_word_that_begins_a_log_holds_once",
            f"{_ERAS}::test_a_word_that_was_cut_off_and_written_again_gives_up_nothing",
        ),
    ),
    Rule(
        "unsigned_word_believed",
        "Where a key is known, only what it has signed begins another log.",
        "daemon/audit/heads/published.py",
        "if self._keys and one.signature is None:",
        "if one.offset < 0:",
        (f"{_ERAS}::test_a_word_without_a_signature_gives_up_nothing_also_before_anything_was_signed",),
    ),
    Rule(
        "begun_beside_workers",
        "No log is begun anew while a worker publishes heads.",
        "daemon/audit/heads/standstill.py",
        "if at_work:",
        "if not at_work and at_work:",
        (
            "tests/acceptance/test_cli_init_first_log.py::test_a_new_audit_log_is_begun_while_no_worker_of_it_is_at_work",
        ),
    ),
    Rule(
        "past_signed_away",
        "No log is begun in silence where Kafka tells of more than the state database has.",
        "daemon/audit/heads/beginning.py",
        "if newest > last:",
        "if newest < 0:",
        (f"{_HEADS}::test_heads_of_a_log_before_the_state_database_was_made_anew_are_no_alarm",),
    ),
    Rule(
        "erased_comes_back",
        "Erased values do not come back as those of before.",
        "daemon/audit/ledger.py",
        "            self._check_erasures(head)\n",
        "",
        (f"{_RELAY}::test_values_that_are_erased_while_they_are_needed_do_not_come_back",),
    ),
    Rule(
        "erased_unasked",
        "What is to be erased is entered before anything goes.",
        "daemon/audit/erasing/erase.py",
        "asked = _ask(connection, found, wanted)",
        "asked = found.entries",
        (f"{_ERASE}::{_DIED}[after_hub_erased]",),
    ),
    Rule(
        "asked_is_done",
        "That an erasure was asked for explains no values that are gone.",
        "daemon/audit/erasing/erasures.py",
        "        if one.outcome == DONE:\n            for",
        "        if one.outcome:\n            for",
        (f"{_TAMPERING}::test_values_that_go_without_the_word_that_they_were_erased_are_a_finding",),
    ),
    Rule(
        "erased_everywhere",
        "Of sources that have a table of the same name, one row is erased.",
        "daemon/audit/erasing/mentions.py",
        " AND (entry.source = named.source OR",
        " AND (true OR",
        ("tests/acceptance/test_cli_audit.py::test_erase_asks_for_the_source_where_several_have_such_a_table",),
    ),
    Rule(
        "erased_under_one_name",
        "A row is erased under every name that it has where its table goes both ways.",
        "daemon/audit/erasing/erasable.py",
        "    first, *sides = row_names.places(settings, source, entity)",
        "    first, *sides = row_names.places(settings, source, entity)[:1]",
        (f"{_ERASE_NAMES}::test_what_waits_under_the_row_s_other_name_is_told",),
    ),
    Rule(
        "erased_without_the_hub",
        "An erasure is not finished before every hub was reached that kept something of the row.",
        "daemon/audit/erasing/erasures.py",
        "        elif one.details.left:",
        "        elif False:",
        (
            f"{_ERASE_FORMER}::test_a_former_hub_that_is_not_reached_is_named_and_the_erasure_is_not_finished",
            f"{_ERASE_FORMER}::test_what_was_not_finished_is_not_finished_without_the_hub",
        ),
    ),
    Rule(
        "dropped_untold",
        "Events that a target has dropped are told as that.",
        "connectors/postgres/outcomes.py",
        "        if after < until and key[0] != self._silent:\n",
        "        if after < 0:\n",
        (f"{_RELAY}::test_records_that_came_again_are_told_as_dropped",),
    ),
    Rule(
        "links_unchecked",
        "An entry that was written anew, hash and all, is found by the next one.",
        "daemon/audit/walk.py",
        "elif self.previous is not None and bytes(entry.previous) != self.previous:",
        "elif self.previous is None:",
        (
            "tests/property/test_audit.py::test_an_entry_that_is_altered_hash_and_all_is_named",
            "tests/integration/test_audit_tampering.py::test_an_entry_that_was_written_anew_with_its_hash_is_named",
        ),
    ),
)
