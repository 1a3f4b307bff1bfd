"""The rules on which delivery rests, each with the change that switches it off and the tests that must then fail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """`old` occurs once in `file`; with `new` in its place the rule is off, and each of `tests` (node ids) fails."""

    name: str
    sentence: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_CAPTURE = "tests/integration/test_capture.py"
_CRASH = "tests/integration/test_capture_crash.py"
_TRACES = "tests/integration/test_capture_traces.py"
_STOPS = "tests/integration/test_capture_stops.py"
_SNAPSHOT = "tests/integration/test_snapshot.py"
_SCHEMAS = "tests/integration/test_schema_changes.py"
_FENCING = "tests/integration/test_apply_fencing.py"
_APPLY_TRACES = "tests/integration/test_apply_traces.py"
_GUARD = "tests/integration/test_delete_guard.py"
_BOTH_WAYS_GUARD = "tests/integration/test_both_ways_guard.py"
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
_LINK = "tests/integration/test_link.py"
_RESOLUTION = "tests/unit/test_resolution_traces.py"
_SIDE_EFFECTS = "tests/integration/test_both_ways_side_effects.py"
_ONE_TRANSACTION = "tests/integration/test_both_ways_one_transaction.py"
_BESIDE = "tests/integration/test_both_ways_beside.py"
_COLUMNS = "tests/unit/test_resolution_columns.py"
_UNOBSERVED = "tests/integration/test_both_ways_unobserved.py"
_HUB_TRIGGERS = "tests/integration/test_both_ways_hub_triggers.py"
_LIVES = "tests/unit/test_resolution_lives.py"
_DECISIONS = "tests/unit/test_resolution_decisions.py"
_REFUSED = "tests/unit/test_resolution_refused.py"
_AGREEMENT = "tests/unit/test_resolution_agreement.py"
_MACHINE = (
    "tests/property/test_resolution_machine.py::test_whatever_people_do_all_sides_end_equal_and_no_edit_is_lost_unseen"
)

RULES = (
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
        "tie_to_the_spoke",
        "A tie goes to the hub.",
        "daemon/resolve/rules.py",
        'return "theirs" if theirs.after(ours, skew) else "ours"',
        'return "ours" if ours.after(theirs, skew) else "theirs"',
        (
            f"{_RESOLUTION}::test_trace_1_a_spoke_that_lost_gets_the_hubs_value_though_the_hub_row_has_not_changed",
            _MACHINE,
        ),
    ),
    Rule(
        "tombstone_ignored",
        "An update that is older than a deletion does not bring the row back.",
        "daemon/resolve/inbound_row.py",
        "if not contains(link.row_seen, state.rver):",
        "if not contains(state.rver, state.rver):",
        (
            f"{_LIVES}::test_a_late_update_that_is_older_than_the_deletion_does_not_bring_the_row_back",
            _MACHINE,
        ),
    ),
    Rule(
        "erased_row_comes_back",
        "An edit of its former life brings no row back whose values were erased.",
        "daemon/resolve/inbound_row.py",
        "return state.erased and link.shadow is not None",
        "return False and link.shadow is not None",
        (
            f"{_LIVES}::test_a_row_that_was_erased_is_not_brought_back_by_an_edit_of_its_former_life",
            _MACHINE,
        ),
    ),
    Rule(
        "echo_kept",
        "What a write of ours made is no person's edit.",
        "daemon/resolve/inbound.py",
        "row, mark = record.row, record.mark",
        "row, mark = record.row, None",
        (
            f"{_RESOLUTION}::test_trace_7_what_a_spoke_normalises_counts_only_while_the_hub_has_what_was_sent",
            _MACHINE,
        ),
    ),
    Rule(
        "no_answer",
        "Every decision is a record in the hub's stream.",
        "daemon/resolve/inbound.py",
        "answer=decided or _answers(spoke, record, told, conflict),",
        "answer=False,",
        (
            f"{_RESOLUTION}::test_trace_1_a_spoke_that_lost_gets_the_hubs_value_though_the_hub_row_has_not_changed",
            _MACHINE,
        ),
    ),
    Rule(
        "nothing_held",
        "An edit that the hub has not judged is not overwritten.",
        "daemon/resolve/outbound.py",
        "            held.add(name)",
        "            values[name] = value",
        (f"{_RESOLUTION}::test_trace_2_an_answer_overwrites_what_the_hub_has_judged_and_nothing_newer",),
    ),
    Rule(
        "values_for_versions",
        "Who has changed a field is told by versions, not by values.",
        "daemon/resolve/inbound.py",
        "seen = ours is None or base.has_seen(name, ours) or",
        "seen = ours is None or ours.digest == (link.shadow or {}).get(name) or",
        (f"{_RESOLUTION}::test_trace_3_a_hub_edit_back_to_the_old_value_is_an_edit",),
    ),
    Rule(
        "no_wait_for_the_hub",
        "A spoke's edit waits for the hub's own that are not captured yet.",
        "daemon/resolve/inbound.py",
        "    if _behind(record, hub, told):",
        "    if False and _behind(record, hub, told):",
        (
            f"{_RESOLUTION}::test_trace_4_an_older_edit_waits_for_the_hubs_own_that_is_not_captured_yet",
            _MACHINE,
        ),
    ),
    Rule(
        "machine_as_a_person",
        "A machine's change keeps version and time.",
        "daemon/resolve/decision.py",
        "return replace(known, digest=digest(verdict.value), pos=pending, hops=verdict.hops)",
        "return FieldState(digest(verdict.value), pending, pending, verdict.time, verdict.hops)",
        (
            f"{_RESOLUTION}::test_trace_7_a_machines_change_keeps_the_version_so_that_an_edit_under_way_meets_no_conflict",
        ),
    ),
    Rule(
        "no_hop_limit",
        "Two triggers that disagree come to an end.",
        "daemon/resolve/verdict.py",
        "if ours.hops >= MOST_HOPS:",
        "if ours.hops > MOST_HOPS * 1_000:",
        (f"{_RESOLUTION}::test_trace_8_two_triggers_that_disagree_are_stopped_and_listed",),
    ),
    Rule(
        "row_from_the_spoke",
        "A row that an edit brings back has the hub's newer values.",
        "daemon/resolve/inbound_row.py",
        "{**told, **state.values, **written}",
        "{**state.values, **told, **written}",
        (f"{_LIVES}::test_trace_12_a_row_that_a_later_edit_brings_back_has_the_hubs_newer_values",),
    ),
    Rule(
        "former_life_by_rule",
        "An edit to a row's former life wins by its time only.",
        "daemon/resolve/verdict.py",
        '"latest" if edit.other_life else rule.rule',
        "rule.rule",
        (f"{_LIVES}::test_trace_13_an_edit_to_a_former_life_does_not_win_by_rule",),
    ),
    Rule(
        "creation_comes_back",
        "A spoke's own creation does not bring back what was deleted there.",
        "daemon/resolve/outbound.py",
        "not (side.alive or spoke in record.created_by)",
        "not side.alive",
        (f"{_LIVES}::test_trace_14_the_echo_of_a_creation_does_not_bring_back_what_the_spoke_has_deleted_since",),
    ),
    Rule(
        "decision_over_anything",
        "A decision holds only over what was shown.",
        "daemon/resolve/override.py",
        "if over != shown(hub.conflict, hub.state) or not observed(hub):",
        "if over is None:",
        (f"{_DECISIONS}::test_trace_15_a_decision_over_a_state_that_has_moved_is_refused",),
    ),
    Rule(
        "equal_waits",
        "What both sides have alike waits for nobody.",
        "daemon/resolve/agreement.py",
        "    if record.row is None or record.mark is None:",
        "    if record.row is None or record.mark is None or record.mark.agreed:",
        (f"{_AGREEMENT}::test_somebody_at_the_hub_types_what_waits_in_the_spoke", _MACHINE),
    ),
    Rule(
        "equal_untold",
        "A spoke tells that the hub has come to what it has itself.",
        "daemon/resolve/outbound.py",
        "return (rules.polled or not known) and any(",
        "return rules.polled and any(",
        (f"{_AGREEMENT}::test_somebody_at_the_hub_types_what_waits_in_the_spoke", _MACHINE),
    ),
    Rule(
        "both_deleted_untold",
        "A spoke tells that it has deleted what the hub deletes.",
        "daemon/resolve/outbound.py",
        "told=record.folded or (side.alive and record.origin != spoke)",
        "told=False",
        (f"{_AGREEMENT}::test_both_sides_delete_a_row_that_waits",),
    ),
    Rule(
        "made_again_knows_all",
        "A row that we have made in a spoke has not seen what the hub did later.",
        "daemon/resolve/inbound.py",
        "row_seen = mark.at if mark.row and row is not None else newer(row_seen, mark.at)",
        "row_seen = newer(row_seen, mark.at)",
        (f"{_LIVES}::test_an_edit_of_a_row_that_we_have_made_again_does_not_know_of_the_hubs_later_deletion",),
    ),
    Rule(
        "undone_whatever_came",
        "A decision is taken back only while what it decided stands.",
        "daemon/resolve/override.py",
        "    if any(name not in fields or fields[name].ver != versions[name] for name in ruling.fields):",
        "    if not ruling.fields:",
        (f"{_DECISIONS}::test_a_decision_is_undone_unless_the_field_has_changed_since",),
    ),
    Rule(
        "decided_without_the_row",
        "A person's decision locks the row before it looks.",
        "connectors/postgres/two_way/ruling.py",
        "locked=True",
        "locked=False",
        ("tests/integration/test_conflicts.py::test_an_edit_that_a_decision_has_waited_for_is_not_lost",),
    ),
    Rule(
        "outward_counts",
        "A field that is only sent outward is the hub's.",
        "daemon/resolve/verdict.py",
        "    if rule.outward:",
        "    if rule.outward and ours is None:",
        (
            f"{_RESOLUTION}::test_trace_16_an_edit_of_a_field_that_is_only_sent_outward_is_put_back_and_brings_no_row_back",
        ),
    ),
    Rule(
        "replay_over_newer",
        "An older hub record does not overwrite a newer one.",
        "daemon/resolve/outbound.py",
        "(settled is not None and record.at <= settled.at)",
        "(settled is not None and record.at == settled.at)",
        (f"{_RESOLUTION}::test_trace_18_a_replay_changes_nothing_that_has_moved_on",),
    ),
    Rule(
        "union_seen",
        "A merged value is not seen by who gave a part of it.",
        "daemon/resolve/decision.py",
        'if verdict.kind == "taken" or (verdict.kind == "merged" and digest(verdict.value) == shadow.get(name)):',
        'if verdict.kind in ("taken", "merged"):',
        (f"{_RESOLUTION}::test_trace_20_a_merge_does_not_count_the_union_as_seen",),
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
    Rule(
        "linked_is_edited",
        "A row that has only got another key is as old as it was.",
        "connectors/postgres/two_way/notes.py",
        "                    self._changed_at[table, one.key] = one.at\n",
        "                    pass\n",
        (f"{_LINK}::test_two_full_databases_become_one_as_the_report_has_predicted",),
    ),
    Rule(
        "made_apart_is_latest",
        "Rows that both sides have made apart are decided by the rules of their route.",
        "daemon/resolve/inbound.py",
        "other_life = not life_seen and not (state.alive and link.at == START)",
        "other_life = not life_seen",
        (
            f"{_LINK}::test_two_full_databases_become_one_as_the_report_has_predicted",
            "tests/property/test_link_plan.py::test_what_is_foretold_is_what_the_resolver_lists",
            f"{_RESOLUTION}::test_a_row_that_both_sides_have_made_apart_is_decided_by_its_rules",
        ),
    ),
    Rule(
        "correction_waits",
        "What waits behind a refused value is judged with it, so that its correction is taken.",
        "daemon/resolve/inbound_queue.py",
        "for record in records:",
        "for record in records[:1]:",
        (
            "tests/integration/test_both_ways_refused.py::test_a_row_that_the_hub_refuses_is_taken_once_its_spoke_corrects_it",
            f"{_REFUSED}::test_trace_17_what_the_hub_has_refused_is_taken_once_it_is_corrected",
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
    Rule(
        "made_again_is_another_life",
        "A row that a waiting key deletes and makes again is to others the row that it was.",
        "daemon/resolve/inbound_queue.py",
        "if state.rver != pending:",
        "if state.rver != pending or state:",
        (f"{_REFUSED}::test_trace_17_a_row_that_waits_and_is_made_again_is_to_others_the_row_that_it_was",),
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
        "side_effects_waited_for",
        "What our own transaction has made of a hub's row is no edit, and nobody waits for its being observed.",
        "daemon/resolve/inward.py",
        "if hub.others is not None:",
        "if False:",
        (
            f"{_SIDE_EFFECTS}::test_what_a_foreign_key_empties_is_no_edit_that_keeps_a_row_or_a_value",
            f"{_SIDE_EFFECTS}::test_what_a_person_writes_over_what_a_trigger_has_derived_in_the_same_transaction_stands",
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
        "one_transaction_two_versions",
        "What a spoke does to a row several times in one transaction it has seen.",
        "daemon/resolve/observer.py",
        "return isinstance(version, Position) and version[:2] == at[:2]",
        "return False",
        (f"{_ONE_TRANSACTION}::test_a_row_that_goes_or_comes_twice_in_a_transaction_is_its_spokes[deleted and made]",),
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
        "unknown_is_unchanged",
        "A field of which nothing is kept may have been edited at the hub.",
        "daemon/resolve/inbound.py",
        "unknown = unobserved or hub.end == START or hub.observed < hub.end",
        "unknown = unobserved",
        (
            f"{_UNOBSERVED}::test_an_edit_of_a_new_column_that_was_not_observed_meets_that_of_a_spoke_as_a_conflict[edit]",
        ),
    ),
    Rule(
        "erased_observed_later",
        "What was erased before its deletion was observed stays erased.",
        "daemon/resolve/observer.py",
        "if state.erased and _in_one(state.rver, record.at):",
        "if False:",
        (f"{_UNOBSERVED}::test_what_is_erased_before_the_hubs_own_stream_shows_its_deletion_stays_erased",),
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
        "lacking_is_empty",
        "Of a column that a spoke does not have, nothing is written or said there.",
        "daemon/resolve/outbound.py",
        "if name not in current or (settled",
        "if (settled",
        (f"{_COLUMNS}::test_an_answer_writes_nothing_of_a_column_that_the_spoke_does_not_have_and_says_nothing_of_it",),
    ),
    Rule(
        "lacking_is_sent",
        "A mark names only what the spoke has stored.",
        "daemon/resolve/outbound.py",
        "for name, value in plan.values.items() if name in written}",
        "for name, value in plan.values.items()}",
        (f"{_COLUMNS}::test_of_a_row_that_an_answer_makes_only_the_columns_that_are_there_are_told",),
    ),
    Rule(
        "empty_there_is_an_edit",
        "A column that is new in a spoke, and empty, was not edited there.",
        "daemon/resolve/inbound.py",
        "if link.shadow is not None:  #",
        "if False:  #",
        (f"{_UNOBSERVED}::test_a_new_column_that_is_empty_is_no_edit_of_who_changes_another_field[hub]",),
    ),
    Rule(
        "empty_here_is_an_edit",
        "A column that is new at the hub, and empty, was not edited here.",
        "daemon/resolve/observer.py",
        "if known is None and value is None:  #",
        "if False:  #",
        (f"{_UNOBSERVED}::test_a_new_column_that_is_empty_is_no_edit_of_who_changes_another_field[spoke]",),
    ),
    Rule(
        "empty_keeps_the_row",
        "A column that is new and empty is no reason to keep a row that a spoke has deleted.",
        "daemon/resolve/unobserved.py",
        "else value is not None)",
        "else True)",
        (f"{_COLUMNS}::test_a_column_that_is_new_and_empty_keeps_no_row_from_being_deleted_late",),
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
