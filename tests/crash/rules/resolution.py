"""Rules of what is decided where both sides have changed a row, as far as it is decided without a database."""

from __future__ import annotations

from tests.crash.rules.rule import Rule

_LINK = "tests/integration/test_link.py"
_RESOLUTION = "tests/unit/test_resolution_traces.py"
_SIDE_EFFECTS = "tests/integration/test_both_ways_side_effects.py"
_ONE_TRANSACTION = "tests/integration/test_both_ways_one_transaction.py"
_COLUMNS = "tests/unit/test_resolution_columns.py"
_UNOBSERVED = "tests/integration/test_both_ways_unobserved.py"
_LIVES = "tests/unit/test_resolution_lives.py"
_DECISIONS = "tests/unit/test_resolution_decisions.py"
_REFUSED = "tests/unit/test_resolution_refused.py"
_AGREEMENT = "tests/unit/test_resolution_agreement.py"
_MACHINE = (
    "tests/property/test_resolution_machine.py::test_whatever_people_do_all_sides_end_equal_and_no_edit_is_lost_unseen"
)

RESOLUTION = (
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
        "made_again_is_another_life",
        "A row that a waiting key deletes and makes again is to others the row that it was.",
        "daemon/resolve/inbound_queue.py",
        "if state.rver != pending:",
        "if state.rver != pending or state:",
        (f"{_REFUSED}::test_trace_17_a_row_that_waits_and_is_made_again_is_to_others_the_row_that_it_was",),
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
        "one_transaction_two_versions",
        "What a spoke does to a row several times in one transaction it has seen.",
        "daemon/resolve/observer.py",
        "return isinstance(version, Position) and version[:2] == at[:2]",
        "return False",
        (f"{_ONE_TRANSACTION}::test_a_row_that_goes_or_comes_twice_in_a_transaction_is_its_spokes[deleted and made]",),
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
)
