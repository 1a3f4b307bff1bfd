"""Which hubs an erasure has not reached."""

from __future__ import annotations

from connectors.erasing import Hubs
from daemon.audit.erasing.erasable import left
from daemon.audit.erasing.erasures import Details, Said, Unfinished
from daemon.audit.erasing.row_names import Name

ROW = Name("hub", "public.stories", '{"id":1}')
SAID = Said(1, *ROW, "asked", "ada", "she asked", Details())


def test_a_hub_that_was_to_be_erased_is_left_until_it_is_reached_or_known_to_keep_nothing() -> None:
    before = [Unfinished(SAID, [1], [], ["hub"])]
    assert left(Hubs(), [ROW], before, []) == {"hub": "nothing of that name is configured"}
    assert left(Hubs(), [ROW], before, ["hub"]) == {}
    assert left(Hubs(empty=frozenset({"hub"})), [ROW], before, []) == {}


def test_a_database_that_cannot_be_asked_is_left_where_the_row_has_a_name_there() -> None:
    hubs = Hubs(closed={"hub": "it does not answer", "other": "it does not answer"})
    assert left(hubs, [ROW], [], []) == {"hub": "it does not answer"}
    assert left(hubs, [Name(None, "public.stories", "{}")], [], []) == {}
