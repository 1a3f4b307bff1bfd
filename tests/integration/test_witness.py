from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from daemon.embedded.load import run_load
from daemon.embedded.sample import load_sample
from daemon.embedded.witness import WitnessReport
from schemas.domain import APPLY, OWNER, PUBLICATION
from tests.fix_servers import Kafka
from tests.integration.witness_route import Route, dsn_of, open_route
from tests.waiting import until


@pytest.fixture
def route(database_factory: Callable[[str], str], kafka_server: Kafka) -> Iterator[Route]:
    route = open_route(database_factory, kafka_server.bootstrap_servers)
    with route.primary, route.target:
        yield route


@pytest.fixture
def workspace(route: Route) -> UUID:
    """A workspace that has arrived, with one change after its insert: the smallest history there is."""
    key = uuid4()
    route.primary.execute("INSERT INTO workspaces (id, name, slug) VALUES (%s, 'Old name', 'one')", (key,))
    route.apply("workspaces", key)
    route.primary.execute("UPDATE workspaces SET name = 'New name' WHERE id = %s", (key,))
    route.apply("workspaces", key)
    return key


def counters(report: WitnessReport) -> dict[str, int]:
    """The counters that have moved."""
    names = ("lost", "duplicated", "late_of_replaced_capture", "out_of_order", "damaged")
    return {name: moved for name in names if (moved := getattr(report, name))}


def test_a_faithful_copy_moves_no_counter(route: Route, workspace: UUID) -> None:
    route.publish()
    report = route.count()
    assert (report.journal_entries, report.topic_records, report.target_changes) == (2, 2, 2)
    assert counters(report) == {}
    assert report.ok


def test_changes_by_roles_that_may_not_see_the_witness_are_witnessed(route: Route) -> None:
    route.primary.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
    route.target.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(APPLY)))
    for conn in (route.primary, route.target):
        with pytest.raises(InsufficientPrivilege):
            conn.execute("SELECT FROM witness.witnessed")
        conn.execute("INSERT INTO workspaces (id, name, slug) VALUES (gen_random_uuid(), 'One', 'one')")
        conn.execute("TRUNCATE stories, story_media")
        conn.execute("RESET ROLE")
    report = route.count()
    assert (report.journal_entries, report.target_changes) == (3, 3)


def test_a_dropped_record_is_lost(route: Route, workspace: UUID) -> None:
    route.send(route.unpublished()[:-1])
    report = route.count()
    assert counters(report) == {"lost": 1}
    assert report.findings[0].key == str(workspace)
    assert not report.ok


def test_a_repeated_record_is_a_duplicate(route: Route, workspace: UUID) -> None:
    records = route.unpublished()
    route.send([*records, records[0]])
    assert counters(route.count()) == {"duplicated": 1}


def test_a_change_sent_at_two_positions_is_a_duplicate(route: Route, workspace: UUID) -> None:
    records = route.unpublished()
    route.send([*records, replace(records[-1], position=records[-1].position + "f")])
    assert counters(route.count()) == {"duplicated": 1}


def test_a_repeat_of_a_replaced_capture_is_told_apart(route: Route, workspace: UUID) -> None:
    records = route.unpublished()
    route.send([records[0], replace(records[1], epoch=2), records[0]])
    report = route.count()
    assert counters(report) == {"late_of_replaced_capture": 1}
    assert report.ok


def test_a_damaged_row_is_counted_by_field(route: Route, workspace: UUID) -> None:
    route.publish()
    route.target.execute("UPDATE workspaces SET name = 'Nobody wrote this', migration_stage = 3")
    report = route.count()
    assert counters(report) == {"damaged": 1}
    assert report.damaged_fields == {"public.workspaces.name": 1, "public.workspaces.migration_stage": 1}


def test_a_row_that_is_missing_in_the_target_without_a_delete_is_damaged(route: Route, workspace: UUID) -> None:
    route.publish()
    route.target.execute("DELETE FROM workspaces")
    assert counters(route.count()) == {"damaged": 1}


def test_an_event_applied_twice_is_a_duplicate(route: Route, workspace: UUID) -> None:
    route.publish()
    route.apply("workspaces", workspace)
    assert counters(route.count()) == {"duplicated": 1}


def test_an_event_that_has_no_effect_is_lost(route: Route, workspace: UUID) -> None:
    route.primary.execute("DELETE FROM workspaces WHERE id = %s", (workspace,))
    route.publish()
    report = route.count()
    assert counters(report) == {"lost": 1, "damaged": 1}


def test_an_older_state_over_a_newer_one_is_out_of_order(route: Route, workspace: UUID) -> None:
    route.publish()
    route.target.execute("UPDATE workspaces SET name = 'Old name'")
    route.target.execute("UPDATE workspaces SET name = 'New name'")
    assert counters(route.count()) == {"out_of_order": 1, "duplicated": 1}


def test_events_folded_into_one_change_are_neither_lost_nor_out_of_order(route: Route, workspace: UUID) -> None:
    for stage in (1, 2, 3):
        route.primary.execute("UPDATE workspaces SET migration_stage = %s", (stage,))
    route.publish()
    route.apply("workspaces", workspace)
    assert counters(route.count()) == {}


def test_snapshot_records_may_repeat_and_change_the_target_again(route: Route, workspace: UUID) -> None:
    route.publish()
    read = route.record("public.workspaces", str(workspace), "r", None)
    route.send([read, read])
    for _ in range(2):
        route.apply("workspaces", workspace)
    report = route.count()
    assert counters(report) == {}
    assert report.snapshot_records == 2
    route.apply("workspaces", workspace)
    assert counters(route.count()) == {"duplicated": 1}


def test_rows_from_before_the_witness_are_the_state_to_start_from(route: Route) -> None:
    load_sample(route.primary)
    route.install_witness()
    for table in ("workspaces", "projects"):
        for (key,) in route.primary.execute(sql.SQL("SELECT id FROM {}").format(sql.Identifier(table))):
            route.apply(table, key)
    route.primary.execute("TRUNCATE storytellers, stories, story_media CASCADE")
    route.publish()
    route.target.execute("TRUNCATE storytellers, stories, story_media")
    report = route.count()
    assert counters(report) == {}
    assert report.journal_entries == 3


def test_a_foreign_key_action_of_the_target_is_no_change_of_the_daemon(route: Route, workspace: UUID) -> None:
    teller, project, story = uuid4(), uuid4(), uuid4()
    execute = route.primary.execute
    execute("INSERT INTO storytellers (id, workspace_id, name) VALUES (%s, %s, 'Una')", (teller, workspace))
    execute("INSERT INTO projects (id, workspace_id, name) VALUES (%s, %s, 'Choir')", (project, workspace))
    execute(
        "INSERT INTO stories (id, workspace_id, storyteller_id, project_id, title) VALUES (%s, %s, %s, %s, 'A song')",
        (story, workspace, teller, project),
    )
    for table, key in (("storytellers", teller), ("projects", project), ("stories", story)):
        route.apply(table, key)
    execute("DELETE FROM projects")
    with route.target.transaction():
        route.upsert("projects", project)
        route.upsert("stories", story)
    route.publish()
    report = route.count()
    assert counters(report) == {}
    assert report.target_changes == report.journal_entries


def test_a_truncate_counts_once_in_the_target_and_in_every_partition(route: Route, workspace: UUID) -> None:
    route.primary.execute("TRUNCATE workspaces CASCADE")
    route.target.execute("TRUNCATE workspaces CASCADE")
    records = route.unpublished()
    route.send(records[:-1])
    assert counters(route.count()) == {"lost": 1}
    route.send(records[-1:])
    assert counters(route.count()) == {}
    route.target.execute("TRUNCATE workspaces CASCADE")
    assert counters(route.count()) == {"duplicated": 5}


def test_a_mixed_load_through_postgresql_s_own_replication_moves_no_counter(route: Route) -> None:
    name = f"witness_{uuid4().hex[:8]}"
    primary, target = route.primary, route.target
    primary.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
    subscription = sql.SQL(
        "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH (create_slot = false, copy_data = false)"
    )
    target.execute(subscription.format(sql.Identifier(name), sql.Literal(dsn_of(primary)), sql.Identifier(PUBLICATION)))
    load_sample(primary)
    load = run_load(dsn_of(primary), seed=11, changes=6_000, largest_transaction=200)
    primary.execute("TRUNCATE story_media")
    more = run_load(dsn_of(primary), seed=12, changes=1_000, largest_transaction=50)
    route.publish()
    (end,) = primary.execute("SELECT pg_current_wal_lsn()").fetchone() or (None,)
    caught_up = "SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s"
    until(lambda: primary.execute(caught_up, (end, name)).fetchone() == (True,), 60, what="the end of replication")
    target.execute(sql.SQL("DROP SUBSCRIPTION {}").format(sql.Identifier(name)))

    report = route.count()
    assert counters(report) == {}, report.findings
    routed_sample = 4 + 40 + 200 + 600 + 1_200
    assert report.journal_entries == routed_sample + load.changes + more.changes + 1
    assert report.target_changes == report.journal_entries
