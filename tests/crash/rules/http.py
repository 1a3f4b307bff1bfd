"""Rules of requests to services: what may be sent again, how much, and with whose token."""

from __future__ import annotations

from tests.crash.rules.rule import Rule

_OUTCOME = "tests/unit/test_http_outcome.py"
_ANYTHING = "tests/property/test_http_outcome.py"
_NOTION = "tests/unit/test_notion_dialect.py"
_CLIENT = "tests/integration/test_http_client.py"
_QUOTA = "tests/unit/test_http_quota.py"
_RACE = "tests/property/test_http_quota.py"
_QUOTAS = "tests/integration/test_state_quotas.py"
_TOKENS = "tests/integration/test_state_tokens.py"
_LOGIN = "tests/integration/test_auth_login.py"

HTTP = (
    Rule(
        "lost_write_resent",
        "A write whose answer is lost is unknown.",
        "connectors/http/outcome.py",
        'return Unanswered(came.reason) if effect == "reads" else Unknown(came.reason)',
        "return Unanswered(came.reason)",
        (
            f"{_OUTCOME}::test_a_lost_answer_leaves_a_write_unknown_and_a_read_to_be_asked_again",
            f"{_ANYTHING}::test_any_service_s_answers_come_to_one_outcome",
        ),
    ),
    Rule(
        "failed_write_resent",
        "A write that fails over there is unknown.",
        "connectors/http/outcome.py",
        'return Unanswered(reason, wait) if effect == "reads" else Unknown(reason, wait)',
        "return Unanswered(reason, wait)",
        (f"{_NOTION}::test_a_503_that_names_nothing_leaves_the_write_unknown",),
    ),
    Rule(
        "overload_of_others",
        "Only the service itself can say of a 529 that nothing was done.",
        "connectors/http/outcome.py",
        "(came.status in dialect.not_done and told.meaning is not None)",
        "(came.status in dialect.not_done)",
        (f"{_NOTION}::test_a_529_that_is_not_notion_s_own_leaves_a_write_unknown",),
    ),
    Rule(
        "saved_unseen",
        "What the service says it has committed is adopted.",
        "connectors/http/outcome.py",
        'if told.saved and effect != "reads":',
        "if not told.saved and told.saved:",
        (f"{_NOTION}::test_a_503_after_the_write_names_the_page_to_adopt",),
    ),
    Rule(
        "sent_untold",
        "A failure counts as sent unless it is of those before the first byte.",
        "connectors/http/client.py",
        "return Lost(True, type(error).__name__)",
        "return Lost(False, type(error).__name__)",
        (f"{_CLIENT}::test_one_write_is_one_request_whatever_the_service_does_and_its_end_is_unknown[closes]",),
    ),
    Rule(
        "words_logged",
        "The log shows nothing of what was sent.",
        "daemon/observe/logs.py",
        '"httpx": logging.WARNING,',
        "",
        (f"{_CLIENT}::test_no_log_line_and_no_outcome_shows_a_secret_or_a_value[send0]",),
    ),
    Rule(
        "counted_from_grant",
        "A request counts until the window after its answer is over.",
        "connectors/http/quota.py",
        "max(request.at + quota.margin(limit), ended)",
        "request.at",
        (
            f"{_RACE}::test_no_window_sees_more_than_its_limit",
            f"{_QUOTA}::test_a_request_counts_until_the_window_after_its_answer_is_over",
        ),
    ),
    Rule(
        "wait_of_one",
        "A service that asks to wait is not asked by anybody meanwhile.",
        "connectors/http/quota.py",
        "wait = max([self.closed_until - now, *",
        "wait = max([0.0, *",
        (f"{_CLIENT}::test_all_clients_of_a_connection_wait_when_one_was_too_fast",),
    ),
    Rule(
        "slept_through",
        "Who would wait for long is parked.",
        "connectors/http/quota.py",
        "if wait > LONG_WAIT_SECONDS:",
        "if wait < 0:",
        (f"{_QUOTA}::test_a_wait_of_an_hour_parks_and_does_not_sleep",),
    ),
    Rule(
        "row_unlocked",
        "The row of a connection is locked by who alters it.",
        "daemon/state/connection_row.py",
        ".with_for_update()",
        "",
        (
            f"{_QUOTAS}::test_two_processes_together_never_exceed_the_quota",
            f"{_TOKENS}::test_two_processes_that_need_a_new_token_renew_it_once",
        ),
    ),
    Rule(
        "renewed_twice",
        "Who has waited for another's renewal takes its token.",
        "connectors/http/auth/stored.py",
        "if kept.token.access != refused and kept.token.fresh(self._now()):",
        "if kept.token.access != refused and not kept.token.fresh(self._now()):",
        (f"{_TOKENS}::test_a_refused_token_that_another_process_has_renewed_is_not_renewed_again",),
    ),
    Rule(
        "used_before_stored",
        "A new token is stored before it is used.",
        "daemon/state/tokens.py",
        "if after != before:",
        "if after is None:",
        (f"{_TOKENS}::test_a_new_token_is_stored_before_it_is_used",),
    ),
    Rule(
        "row_of_another",
        "The token of one connection is none of another.",
        "daemon/state/tokens.py",
        'if found.pop("connection", None) != row.connection:',
        'if found.pop("connection", None) is None:',
        (f"{_TOKENS}::test_the_row_of_another_connection_is_none_of_ours",),
    ),
    Rule(
        "forged_login",
        "A login takes the answer to itself alone.",
        "connectors/http/auth/code_flow.py",
        'if not secrets.compare_digest(found.get("state", [""])[0].encode(), begun.state.encode()):',
        "if not begun.state:",
        (f"{_LOGIN}::test_a_browser_that_comes_back_ends_the_login_and_others_do_not",),
    ),
)
