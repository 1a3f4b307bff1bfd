"""`verify` waits for changes in flight, and tells them from damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event, Thread

import psycopg
import pytest

from daemon.embedded.postgres import PostgresServer
from daemon.reconcile import Progress, VerifyReport
from daemon.reconcile.lane import Place
from schemas.position import Lsn, in_era
from tests.integration.verify_pair import Connection, Pair, applying, only_table, pair_of
from tests.waiting import until

NOTES = "CREATE TABLE notes (id int PRIMARY KEY, title text)"
TEN_NOTES = "INSERT INTO notes SELECT n, 'title ' || n FROM generate_series(1, 10) n"


@pytest.fixture
def notes(database_factory: Callable[[str], str]) -> Iterator[Pair]:
    with pair_of(database_factory) as pair:
        pair.both(NOTES)
        pair.both(TEN_NOTES)
        pair.keep_books()
        yield pair


def bring(key: int) -> Callable[[Connection, Connection], None]:
    """Apply for one key: its row in the target becomes what it is in the source."""

    def apply(source: Connection, target: Connection) -> None:
        row = source.execute("SELECT id, title FROM notes WHERE id = %s", [key]).fetchone()
        if row is None:
            target.execute("DELETE FROM notes WHERE id = %s", [key])
        else:
            upsert = "INSERT INTO notes VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET title = excluded.title"
            target.execute(upsert, row)

    return apply


def verify_while_lagging(pair: Pair, key: int, era: int = 0) -> VerifyReport:
    """Verify against a worker that applies nothing before `verify` has begun to wait for it."""
    awaited = Event()

    def apply(source: Connection, target: Connection) -> None:
        assert awaited.wait(20)
        bring(key)(source, target)

    def listen(progress: Progress) -> None:
        if progress.waiting:
            awaited.set()

    try:
        with applying(pair, apply, era):
            report = pair.verify("notes", on_progress=listen, era=era)
            assert awaited.is_set()
            return report
    finally:
        awaited.set()


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (3, "UPDATE notes SET title = 'new' WHERE id = 3"),
        (3, "DELETE FROM notes WHERE id = 3"),
        (11, "INSERT INTO notes VALUES (11, 'new')"),
    ],
)
def test_a_change_in_flight_is_no_difference(notes: Pair, key: int, change: str) -> None:
    notes.source.execute(change.encode())
    report = verify_while_lagging(notes, key)
    assert report.clean
    assert report.still_changing == 0
    assert report.targets[0].applying is True


def test_a_place_of_an_earlier_era_is_before_every_mark(notes: Pair) -> None:
    """Another server's log may be at an earlier place than the one that was captured before a resync."""
    notes.move_lane(Place(in_era(0, 7), Lsn(1 << 62)))
    notes.source.execute("UPDATE notes SET title = 'new' WHERE id = 3")
    report = verify_while_lagging(notes, 3, era=1)
    assert (report.clean, report.targets[0].applying) == (True, True)


def test_damage_beside_a_change_in_flight_is_a_difference(notes: Pair) -> None:
    notes.source.execute("UPDATE notes SET title = 'new' WHERE id = 3")
    notes.target.execute("UPDATE notes SET title = 'damaged' WHERE id = 7")
    notes.target.execute("DELETE FROM notes WHERE id = 8")
    report = verify_while_lagging(notes, 3)
    assert [(found["key"]["id"], found["kind"]) for found in only_table(report)["listed"]] == [
        ("7", "differs"),
        ("8", "only_in_source"),
    ]


def test_nothing_is_waited_for_when_nothing_differs(notes: Pair) -> None:
    told: list[Progress] = []
    report = notes.verify("notes", on_progress=told.append)
    assert report.clean
    assert report.targets[0].applying is None
    assert not any(progress.waiting for progress in told)


def test_a_row_written_all_the_time_is_no_difference(notes: Pair) -> None:
    stop = Event()

    def write() -> None:
        with psycopg.connect(notes.source_url, autocommit=True) as connection:
            while not stop.is_set():
                connection.execute("UPDATE notes SET title = md5(title) WHERE id = 3")

    writer = Thread(target=write)
    writer.start()
    try:
        with applying(notes, bring(3)):
            for _ in range(5):
                report = notes.verify("notes")
                assert report.clean
                assert report.still_changing <= 1
    finally:
        stop.set()
        writer.join(10)


def test_a_row_that_never_stands_still_is_called_still_changing(notes: Pair) -> None:
    def another_value_each_time(_source: Connection, target: Connection) -> None:
        target.execute("UPDATE notes SET title = md5(title) WHERE id = 3")

    notes.target.execute("UPDATE notes SET title = 'other' WHERE id = 3")
    with applying(notes, another_value_each_time):
        report = notes.verify("notes")
    assert report.clean
    assert report.still_changing == 1
    assert only_table(report)["changing"] == [{"id": "3"}]
    assert "id=3: still changing" in report.render()


def test_a_commit_that_the_target_has_before_the_source_shows_it_is_no_difference(
    notes: Pair, own_postgres: Callable[..., PostgresServer]
) -> None:
    server = own_postgres()
    with psycopg.connect(server.dsn(), autocommit=True) as source:
        source.execute(NOTES)
        source.execute(TEN_NOTES)
        pair = Pair(server.dsn(), notes.target_url, source, notes.target)
        begun, visible = Event(), Event()

        def insert() -> None:
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute("INSERT INTO notes VALUES (11, 'held')")
            visible.set()

        def release_when_verify_waits_too() -> None:
            try:
                waiting_for_the_standby(source, 3, "the insert and the mark")
            finally:
                set_standby(source, "")

        def hold(_: Progress) -> None:
            """As soon as the comparison begins: a commit that is logged, applied in the target, and not visible."""
            if begun.is_set():
                return
            begun.set()
            held.append(commits_wait(source, server.dsn(), visible))
            held.append(started(insert))
            waiting_for_the_standby(source, 2, "the insert")
            pair.target.execute("INSERT INTO notes VALUES (11, 'held')")
            held.append(started(release_when_verify_waits_too))

        def show(_source: Connection, _target: Connection) -> None:
            """The target passes the mark once the commit that was released before it is visible."""
            assert not begun.is_set() or visible.wait(20)

        held: list[Thread] = []
        try:
            with applying(pair, show):
                report = pair.verify("notes", on_progress=hold)
        finally:
            visible.set()
            set_standby(source, "")
            for thread in held:
                thread.join(20)
        assert begun.is_set()
        assert report.clean
        assert report.still_changing == 0


def commits_wait(source: Connection, url: str, over: Event) -> Thread:
    """From now on every commit waits for a standby that never comes, as one of ours does already. The server's
    processes hear of it one after the other."""

    def commit() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not over.is_set():
                connection.execute("SELECT pg_logical_emit_message(true, 'tests.commit', '')")

    set_standby(source, "nobody")
    committing = started(commit)
    waiting_for_the_standby(source, 1, "a commit")
    return committing


def started(work: Callable[[], None]) -> Thread:
    thread = Thread(target=work)
    thread.start()
    return thread


def waiting_for_the_standby(source: Connection, many: int, what: str) -> None:
    query = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    until(lambda: source.execute(query).rowcount == many, what=f"{what} waiting for the standby")


def set_standby(source: Connection, names: str) -> None:
    source.execute("SET synchronous_commit = local")
    source.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'".encode())
    source.execute("SELECT pg_reload_conf()")


def test_a_target_that_stands_still_has_its_differences_shown_with_a_warning(notes: Pair) -> None:
    notes.source.execute("UPDATE notes SET title = 'new' WHERE id = 3")
    report = notes.verify("notes", stall_seconds=0.2)
    assert report.differences == 1
    assert report.targets[0].applying is False
    assert "Nothing is applying to empathy_ledger: changes in flight are shown as differences." in report.render()


def test_a_target_that_never_was_applied_to_is_compared_at_once(notes: Pair) -> None:
    notes.target.execute("DELETE FROM placemat.lanes")
    notes.source.execute("UPDATE notes SET title = 'new' WHERE id = 3")
    report = notes.verify("notes", stall_seconds=60)
    assert report.differences == 1
    assert report.seconds < 20


def test_a_parked_key_is_a_difference_that_names_its_number(notes: Pair) -> None:
    park = "INSERT INTO placemat.parked (source, table_name, key, kind, reason) VALUES (%s, %s, %s, 'refused', 'check')"
    notes.target.execute(park, ["other", "public.notes", '{"id":3}'])
    notes.target.execute(park, ["primary", "public.notes", '{"id":3}'])
    notes.target.execute(park, ["primary", "public.notes", '{"id":5}'])
    notes.source.execute("UPDATE notes SET title = 'refused' WHERE id IN (3, 4)")
    with applying(notes):
        report = notes.verify("notes")
    table = only_table(report)
    assert [(found["key"]["id"], found["parked"]) for found in table["listed"]] == [("3", 2), ("4", None)]
    assert (table["differences"], table["parked"]) == (2, 1)
    assert "id=3: title differs (parked #2)" in report.render()


def test_parked_keys_are_found_whatever_their_type(notes: Pair) -> None:
    columns = "at timestamptz, code bytea, price numeric, yes boolean"
    notes.both(f"CREATE TABLE items ({columns}, n int, PRIMARY KEY (at, code, price, yes))")
    notes.source.execute(r"INSERT INTO items VALUES ('2024-01-01 00:00:00.5Z', '\x00ff', 1.50, true, 1)")
    key = '{"at":"2024-01-01T00:00:00.5Z","code":"AP8=","price":"1.50","yes":true}'
    notes.target.execute(
        "INSERT INTO placemat.parked (source, table_name, key, kind, reason)"
        " VALUES ('primary', 'public.items', %s, 'refused', 'check')",
        [key],
    )
    with applying(notes):
        (found,) = only_table(notes.verify("items"))["listed"]
    assert found["parked"] == 1
