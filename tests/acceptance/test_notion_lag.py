"""Queries of Notion may show for a while what was before; no state is taken for newer than one that it came before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.notion.simulator import Settings
from tests.contract.notion_contract import Contract
from tests.fix_office import Office, made_office
from tests.fix_servers import Kafka, Postgres
from tests.people import put
from tests.waiting import until

LAG = 2.0


@pytest.fixture
def lagging(
    postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path, notion_contract: Contract
) -> Iterator[Office]:
    """At work, polling ten times as often as queries lag."""
    settings = Settings(connection_per_minute=6_000, query_lag=LAG)
    with (
        made_office(postgres_server, kafka_server, tmp_path, notion_contract, settings) as found,
        found.mirrored.running(),
    ):
        yield found


def polled(office: Office) -> None:
    """Until queries have shown what is there now."""
    before = office.notion.store.clock()
    until(
        lambda: any(
            one.route == "query_data_source" and (one.at - before).total_seconds() > LAG for one in office.notion.log
        ),
        30,
    )


def test_what_we_have_written_is_not_undone_by_a_query_that_does_not_show_it_yet(lagging: Office) -> None:
    key = lagging.project(name="Garden", budget=0)
    lagging.until_both(("Garden", "planned", 0))
    for budget in range(1, 4):
        put(lagging.mirrored.hub, "projects", key, budget=budget)
        polled(lagging)
        lagging.until_both(("Garden", "planned", budget))
    assert lagging.notion.done("update_page") == 3
    assert lagging.mirrored.hub.execute("SELECT * FROM placemat.conflict_log").fetchall() == []


def test_what_people_do_is_taken_once_in_its_order(lagging: Office) -> None:
    lagging.project(name="Garden", budget=0)
    lagging.until_both(("Garden", "planned", 0))
    run = lagging.mirrored.hub.execute
    run("CREATE TABLE budgets (at bigserial PRIMARY KEY, budget numeric)")
    run(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS"
        " $$ BEGIN INSERT INTO budgets (budget) VALUES (NEW.budget); RETURN NULL; END $$"
    )
    run("CREATE TRIGGER keep AFTER UPDATE ON projects FOR EACH ROW EXECUTE FUNCTION keep()")
    [page] = lagging.notion.store.pages("Projects")
    for budget in range(1, 4):
        lagging.notion.people.edit(page, {"Budget": budget})
        lagging.until_both(("Garden", "planned", budget))
        polled(lagging)
    lagging.notion.people.trash(page)
    lagging.until_both()
    lagging.notion.people.restore(page)
    lagging.until_both(("Garden", "planned", 3))
    polled(lagging)
    lagging.until_both(("Garden", "planned", 3))
    assert [int(budget) for (budget,) in run("SELECT budget FROM budgets ORDER BY at")] == [1, 2, 3]
