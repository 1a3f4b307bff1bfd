"""Which databases have been a hub, from what was seen in each."""

from __future__ import annotations

from daemon.former_hubs import Seen, former_hubs


def test_a_database_is_named_once_as_its_source_is_and_reached_by_who_may() -> None:
    found = former_hubs(
        [
            Seen("back", "postgresql://apply", "1", something=True),
            Seen("primary", "postgresql://capture", "1", something=True, refused="it may not"),
            Seen("ledger", "postgresql://ledger", "2", something=False),
            Seen("archive", "postgresql://archive", "3", something=True, refused="nor this"),
            Seen("lone", "postgresql://lone", "4", something=True),
        ],
        sources=["primary"],
    )
    assert found.urls == {"primary": "postgresql://apply", "lone": "postgresql://lone"}
    assert found.closed == {"archive": "nor this"}
    assert found.empty == {"ledger"}
