"""Rules of telling a service: what is made sure before a request, and after an answer that nobody has seen."""

from __future__ import annotations

from tests.crash.rules.rule import Rule

_PUSH = "tests/integration/test_push.py"
_STORE = "tests/integration/test_mirror_store.py"
_VERIFY = "tests/acceptance/test_verify_service.py"
_BACKLOG = "tests/integration/test_push_backlog.py"
_MIDWAY = "tests/integration/test_push_midway.py"
_CREATE = f"{_PUSH}::test_a_create_whose_answer_nobody_has_makes_no_second_record"

PUSH = (
    Rule(
        "request_unintended",
        "What is about to be requested is stored before.",
        "daemon/push/deciding.py",
        "self._mirror.intend(due.lease, Intent(step.operation, due.linked.remote_id, step.content))",
        "Intent(step.operation, due.linked.remote_id, step.content)",
        (f"{_CREATE}[killed after]",),
    ),
    Rule(
        "sent_again_unseen",
        "Whoever finds an intent looks for the record before anything is sent.",
        "daemon/push/looking.py",
        "return self._service.find(table, key_value(due))",
        "return Found([])",
        (f"{_CREATE}[killed after]", f"{_CREATE}[reply lost]"),
    ),
    Rule(
        "found_not_adopted",
        "A record that holds the key is the row's.",
        "daemon/push/deciding.py",
        "remote = self._own(due.lease.key, several)",
        "remote = None",
        (f"{_CREATE}[killed after]",),
    ),
    Rule(
        "not_landed_yet",
        "What may still be on its way is not taken for not done.",
        "daemon/push/recovery.py",
        "if open_.age < LANDED_SECONDS and not",
        "if open_.age < 0 and not",
        (f"{_PUSH}::test_a_lost_create_is_not_repeated_before_it_has_surely_landed",),
    ),
    Rule(
        "lease_unheld",
        "Who has lost a key stores nothing of it.",
        "connectors/postgres/mirror/leases.py",
        "raise LeaseLost",
        "return",
        (f"{_STORE}::test_an_open_intent_is_found_by_whoever_has_the_key_next",),
    ),
    Rule(
        "earlier_untold",
        "Events that have collapsed into another are told as such.",
        "connectors/postgres/mirror/store.py",
        '[Change(*due.lease.key, COLLAPSED, {"into": list(last)}, earlier)] if earlier else []',
        "[]",
        (f"{_STORE}::test_what_was_told_leaves_the_queue_with_its_events_and_says_what_became_of_each",),
    ),
    Rule(
        "made_anew",
        "A record in the trash is taken out of it, and not made anew.",
        "daemon/push/request.py",
        'case "create" if linked.remote_id is not None:',
        'case "create" if linked.remote_id == "":',
        (f"{_PUSH}::test_a_record_in_the_trash_is_taken_out_of_it_for_a_row_that_is_to_be_there",),
    ),
    Rule(
        "gone_is_lost",
        "To take away what is gone is done.",
        "daemon/push/pusher.py",
        'case Gone() | InTheTrash() if step.operation == "delete":',
        "case Gone() | InTheTrash() if step.operation is None:",
        (f"{_PUSH}::test_to_take_away_what_is_gone_is_done",),
    ),
    Rule(
        "listing_believed",
        "What a listing shows otherwise than it was seen is read by itself.",
        "daemon/push/looking.py",
        "return Done(remote) if all(due.seen.get(name) == value for name, value in current.items()) else None",
        "return Done(remote) if current else None",
        (f"{_BACKLOG}::test_a_record_that_people_have_edited_is_read_by_itself_and_their_edit_stays",),
    ),
    Rule(
        "look_outlived",
        "A look that was long ago is made again.",
        "daemon/push/looking.py",
        "self._clock() - self._asked[table] <= LOOK_SECONDS:",
        "table in self._asked:",
        (f"{_BACKLOG}::test_a_look_that_was_long_ago_is_made_again",),
    ),
    Rule(
        "read_since_unseen",
        "What others have read since the look counts.",
        "daemon/push/pusher.py",
        "if self._looks.ahead:",
        "if not group:",
        (f"{_BACKLOG}::test_what_was_read_since_the_look_is_not_written_over",),
    ),
    Rule(
        "look_over_newer",
        "What a look has shown is not stored over what somebody has seen since.",
        "connectors/postgres/mirror/store.py",
        "raise Overtaken",
        "return",
        (f"{_STORE}::test_a_look_that_somebody_has_overtaken_is_not_stored",),
    ),
    Rule(
        "request_forgotten",
        "What an operator asks for while a key is told is done after that.",
        "connectors/postgres/mirror/leases.py",
        "SELECT request IS NULL OR request = %(request)s AS whole",
        "SELECT true AS whole",
        (
            f"{_PUSH}::test_what_an_operator_asks_for_while_a_key_is_told_is_done_after_that[discard]",
            f"{_PUSH}::test_what_an_operator_asks_for_while_a_key_is_told_is_done_after_that[redrive]",
        ),
    ),
    Rule(
        "given_up_unseen",
        "What an operator gives up whose answer nobody has seen is looked for first.",
        "daemon/push/pusher.py",
        'if due.lease.request == "discard" and due.intent is None:',
        'if due.lease.request == "discard":',
        (f"{_PUSH}::test_what_an_operator_gives_up_whose_answer_was_lost_is_looked_for_and_then_left",),
    ),
    Rule(
        "later_word_lost",
        "What the hub has said since a request whose answer was lost is told too.",
        "daemon/push/recovery.py",
        "if due.lease.changes == open_.changes:",
        "if due.lease is not None:",
        (
            f"{_BACKLOG}::test_what_the_hub_has_said_since_a_request_whose_answer_was_lost_is_told_too[an update]",
            f"{_BACKLOG}::test_what_the_hub_has_said_since_a_request_whose_answer_was_lost_is_told_too[a create]",
        ),
    ),
    Rule(
        "restored_is_written",
        "What was taken out of the trash has its values, or nobody takes it for told.",
        "daemon/push/request.py",
        'return Unknown("it was taken out of the trash, and not given its values", remote_id)',
        "return answer",
        (f"{_MIDWAY}::test_what_was_taken_out_of_the_trash_goes_back_there_when_its_row_has_left[not_sent]",),
    ),
    Rule(
        "clock_after_intent",
        "Who stood still while an intent was stored does not send.",
        "daemon/push/deciding.py",
        "return Task(due, step, rows, latest)",
        "return Task(due, step, rows, request.latest())",
        (f"{_MIDWAY}::test_the_clock_of_a_request_runs_from_before_its_intent_is_stored",),
    ),
    Rule(
        "gone_for_good_kept",
        "A row whose record is gone for good gets one other.",
        "daemon/push/pusher.py",
        "                self._forget(due)",
        "                self._lost(due)",
        (f"{_MIDWAY}::test_a_row_whose_record_is_gone_for_good_gets_one_other_also_where_the_answer_is_lost",),
    ),
    Rule(
        "there_again_unseen",
        "A record that somebody takes out of the trash though its row has left goes back there.",
        "connectors/postgres/mirror/fetch_store.py",
        "elif outward and was_known and not one.gone and not was_there:",
        "elif outward and was_known and one.gone and not was_there:",
        (f"{_MIDWAY}::test_a_record_that_is_there_again_though_its_row_has_left_is_taken_away",),
    ),
    Rule(
        "on_its_way_differs",
        "What waits to be told is no difference.",
        "daemon/reconcile/service_settle.py",
        "if moves and key in queued and parked is None:",
        "if parked is not None and False:",
        ("tests/unit/test_service_settle.py::test_what_waits_to_be_told_is_no_difference",),
    ),
    Rule(
        "told_before_still_believed",
        "A replay does not believe what was told before.",
        "connectors/postgres/mirror/replay.py",
        "UPDATE placemat.remotes SET sent = '{}',",
        "UPDATE placemat.remotes SET sent = remotes.sent,",
        (f"{_VERIFY}::test_a_replay_has_a_service_told_what_it_has_otherwise",),
    ),
)
