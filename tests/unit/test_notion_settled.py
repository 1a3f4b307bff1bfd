"""When a page of Notion was read for the last time before it is edited again."""

from __future__ import annotations

import pytest

from connectors.http.outcome import Answered
from connectors.notion.settled import dated, settled
from connectors.service import Remote

EDITED = "2026-03-02T10:00:00.000Z"
PAGE = Remote("p", EDITED, {}, None, 0)


@pytest.mark.parametrize(
    ("date", "version"),
    [
        ("Mon, 02 Mar 2026 10:05:00 GMT", settled(EDITED)),
        ("Mon, 02 Mar 2026 09:00:00 GMT", EDITED),
        ("Mon, 02 Mar 2026 10:05:00 -0000", EDITED),
        ("yesterday", EDITED),
        ("", EDITED),
    ],
)
def test_a_page_is_settled_once_its_minute_was_long_over_by_notion_s_clock(date: str, version: str) -> None:
    assert dated(PAGE, Answered(200, {}, {"date": date})).version == version
    assert dated(PAGE, Answered(200, {})).version == EDITED


def test_a_page_whose_minute_is_over_only_just_is_not() -> None:
    assert dated(PAGE, Answered(200, {}, {"date": "Mon, 02 Mar 2026 10:04:59 GMT"})).version == EDITED
