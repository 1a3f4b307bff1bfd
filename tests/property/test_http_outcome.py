"""Whatever a service, a proxy or the network answers comes to one outcome; none repeats a write blindly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

from hypothesis import example, given
from hypothesis import strategies as st

from connectors.http.answer import GARBLED, NO_BODY, OVERSIZE, Came, Dialect, Effect, Lost, Received
from connectors.http.outcome import Answered, NotSent, Outcome, Saved, Unanswered, Unknown, outcome
from connectors.notion.dialect import NotionDialect
from tests.plain_dialect import MEANINGS, PlainDialect

NOW = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
OUTCOMES = get_args(Outcome)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
codes = st.sampled_from(
    ["rate_limited", "service_overload", "service_unavailable", "conflict_error", "validation_error", *MEANINGS, ""]
)
extra = st.fixed_dictionaries(
    {},
    optional={
        name: anything
        for name in ("retry_after", "rate_limit_reason", "block_limit", "committed_resource_id", "committed_child_ids")
    },
)
notion_error = st.fixed_dictionaries(
    {"object": st.just("error")},
    optional={"code": codes | anything, "message": st.text() | anything, "additional_data": extra | anything},
)
plain_error = st.fixed_dictionaries({"error": st.fixed_dictionaries({}, optional={"code": codes, "wait": anything})})
bodies = st.sampled_from([NO_BODY, GARBLED, OVERSIZE]) | anything | notion_error
statuses = st.integers(200, 599) | st.integers()
headers = st.fixed_dictionaries(
    {}, optional={"retry-after": st.text(), "date": st.text(), "x-notion-request-id": st.text()}
)
effects = st.sampled_from(get_args(Effect))
losses = st.builds(Lost, st.booleans(), st.text())


@given(effects, st.builds(Received, statuses, headers, bodies) | losses)
@example("creates", Received(503, {"retry-after": "Fri, 31 Dec 9999 23:59:59 -1200"}, NO_BODY))
def test_notion_s_answers_come_to_one_outcome(effect: Effect, came: Came) -> None:
    check(effect, came, NotionDialect())


@given(effects, st.builds(Received, statuses, headers, plain_error) | losses)
def test_any_service_s_answers_come_to_one_outcome(effect: Effect, came: Came) -> None:
    check(effect, came, PlainDialect())


def check(effect: Effect, came: Came, dialect: Dialect) -> None:
    found = outcome(effect, came, dialect, NOW)
    assert type(found) in OUTCOMES
    if effect == "reads":
        assert not isinstance(found, Unknown | Saved)
        return
    assert not isinstance(found, Unanswered)
    if may_be_done(came, dialect):
        assert isinstance(found, Answered | Unknown | Saved), found
    if isinstance(found, NotSent):
        assert isinstance(came, Lost)
        assert not came.sent


def may_be_done(came: Any, dialect: Dialect) -> bool:
    """By what HTTP says alone: all but a refusal, and what never left. A service's own word that nothing was done
    counts for the statuses that it names, if it comes with one of its codes."""
    if isinstance(came, Lost):
        return came.sent
    refused = 400 <= came.status < 500 and came.status != 408
    said = came.status in dialect.not_done and dialect.told(came).meaning is not None
    return not refused and not said
