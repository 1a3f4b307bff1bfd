"""A service that was away for hours is read from where it was read through, whatever dies meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connectors.notion.simulator import Fault
from daemon.fetch.answers import NotAnswered
from daemon.fetch.fetcher import Fetcher
from tests.fix_notion import Simulate
from tests.integration.test_fetch_sweep import BOTH, World, made_world

PAGES = 250


def again(world: World) -> Fetcher:
    """As after a restart."""
    return Fetcher(world.store, world.source, "notion", BOTH)


def shown(world: World) -> dict[str, str]:
    return dict(world.run("SELECT name, coalesce(budget::bigint::text, '') FROM public.projects"))


def test_hours_of_edits_are_read_after_an_outage_through_every_break(
    contracted: Simulate, database_factory: Callable[[str], str]
) -> None:
    with made_world(contracted(query_rows=120), database_factory) as world:
        people, clock, faults = world.notion.simulator.people, world.notion.clock, world.notion.simulator.faults
        pages = [people.create("Projects", {"Name": f"p{at}"}) for at in range(100)]
        world.fetcher.look_through()
        faults.add(Fault("failed", status=503, times=None))
        for at in range(PAGES):
            clock.advance(60)
            people.edit(pages[at % 90], {"Budget": at})
            people.create("Projects", {"Name": f"new {at}", "Budget": at})
            if at % 50 == 0:
                with pytest.raises(NotAnswered):
                    again(world).poll()
        for page in pages[90:]:
            people.trash(page)
        # What was known before the outage was known long ago.
        world.run("UPDATE placemat.remotes SET read_at = read_at - interval '5 hours'")
        expected = {f"p{at}": str(max(n for n in range(at, PAGES, 90))) for at in range(90)}
        expected |= {f"new {at}": str(at) for at in range(PAGES)}
        for _ in range(3):
            faults.clear()
            faults.add(Fault("cut_after", "query_data_source", nth=2))
            with pytest.raises(NotAnswered):
                again(world).poll()
        faults.clear()
        again(world).poll()
        world.read()
        assert shown(world) == expected
        before = world.notion.simulator.counts()["query_data_source"]
        again(world).poll()
        assert world.notion.simulator.counts()["query_data_source"] == before + 2, "it was read through"


def test_a_look_that_breaks_off_leaves_the_cursor_where_it_was(
    contracted: Simulate, database_factory: Callable[[str], str]
) -> None:
    with made_world(contracted(), database_factory) as world:
        world.fetcher.look_through()
        state = world.run("SELECT * FROM placemat.cursors WHERE name = 'poll:public.projects'")
        for at in range(150):
            world.notion.clock.advance(60)
            world.page("Projects", f"p{at}")
        world.notion.simulator.faults.add(Fault("failed", "query_data_source", nth=2))
        with pytest.raises(NotAnswered):
            world.fetcher.poll()
        assert world.run("SELECT * FROM placemat.cursors WHERE name = 'poll:public.projects'") == state
        assert len(shown(world)) == 100, "what was read stays"
        again(world).poll()
        assert len(shown(world)) == 150
