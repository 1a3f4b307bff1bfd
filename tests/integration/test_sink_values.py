"""Values arrive equal: PostgreSQL renders them, our codec writes them, the sink stores them, PostgreSQL compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from connectors.contract import Destination, Progress, Record, Routing
from connectors.postgres import bookkeeping
from connectors.postgres.sink import PostgresSink
from connectors.postgres.statements import read_catalogue
from daemon.capture.codec import Codec, Head
from daemon.capture.pgoutput import Column, Relation
from daemon.capture.values import SESSION
from schemas.position import Position
from schemas.topics import table_topic
from tests.integration.every_type import COLUMNS, DDL, ROWS, TYPES


@pytest.fixture
def connection(database_factory: Callable[[str], str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(
        database_factory("values"), autocommit=True, options=f"{SESSION} -c search_path=public"
    ) as found:
        bookkeeping.install(found)
        found.execute(TYPES.encode())
        yield found


def test_every_value_arrives_equal(connection: psycopg.Connection) -> None:
    connection.execute(f"CREATE TABLE sent (id int PRIMARY KEY, {DDL})".encode())
    connection.execute(f"CREATE TABLE kept (id int PRIMARY KEY, {DDL})".encode())
    for id_, row in enumerate(ROWS):
        connection.execute(f"INSERT INTO sent SELECT {id_}, {row}".encode())

    _copy(connection)

    for name in ("id", *COLUMNS):
        differ = connection.execute(
            f"SELECT s.{name}::text, k.{name}::text FROM sent s FULL JOIN kept k USING (id)"
            f" WHERE s.{name}::text IS DISTINCT FROM k.{name}::text".encode()
        ).fetchall()
        assert differ == [], COLUMNS.get(name)


def test_a_cast_never_cuts_a_value_to_what_a_column_holds(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE sent (id int PRIMARY KEY, a varchar, b bit varying)")
    connection.execute("CREATE TABLE kept (id int PRIMARY KEY, a varchar(3), b bit varying(2))")
    connection.execute("INSERT INTO sent VALUES (1, 'abcdef', '10'), (2, 'abc', '1010')")
    _copy(connection)
    assert connection.execute("SELECT key, sqlstate FROM placemat.parked ORDER BY id").fetchall() == [
        ('{"id":1}', "22001"),
        ('{"id":2}', "22001"),
    ]


def test_keys_of_several_columns_and_names_that_need_quotes_work(connection: psycopg.Connection) -> None:
    for table in ("sent", "kept"):
        connection.execute(
            f'CREATE TABLE {table} (id int, "Ü %s" text, "select" int, PRIMARY KEY ("Ü %s", id))'.encode()
        )
    connection.execute("INSERT INTO sent VALUES (1, 'a', 5), (1, 'b', NULL)")
    _copy(connection, ("Ü %s", "id"))
    assert connection.execute("SELECT * FROM kept ORDER BY 2").fetchall() == [(1, "a", 5), (1, "b", None)]


def test_a_key_that_the_target_generates_is_written_as_it_was_sent(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE sent (id int PRIMARY KEY, a int)")
    connection.execute(
        "CREATE TABLE kept (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int,"
        " b int GENERATED ALWAYS AS (a * 2) STORED)"
    )
    connection.execute("INSERT INTO sent VALUES (77, 1)")
    _copy(connection)
    assert connection.execute("SELECT * FROM kept").fetchall() == [(77, 1, 2)]


def test_domains_arrive_in_their_base_types_and_the_other_way_round(connection: psycopg.Connection) -> None:
    connection.execute("CREATE DOMAIN bytes AS bytea; CREATE DOMAIN tags AS text[]; CREATE DOMAIN twice AS bytes")
    connection.execute("CREATE TABLE sent (id int PRIMARY KEY, a bytes, b bytea, c tags, d text[], e twice)")
    connection.execute("CREATE TABLE kept (id int PRIMARY KEY, a bytea, b twice, c text[], d tags, e bytes)")
    values = r"'\x00ff5c', '\x00ff5c', '{a,NULL,\"b c\"}', '{a,NULL,\"b c\"}', '\x5c78'"
    connection.execute(f"INSERT INTO sent VALUES (1, {values}), (2, '', '', '{{}}', '{{}}', NULL)".encode())
    _copy(connection)
    same = "SELECT id, a::text, b::text, c::text, d::text, e::text FROM"
    sent, kept = (connection.execute(f"{same} {table} ORDER BY id".encode()).fetchall() for table in ("sent", "kept"))
    assert kept == sent


@pytest.mark.parametrize("depth", [200, 201, 1_500])
def test_json_of_any_depth_arrives(connection: psycopg.Connection, depth: int) -> None:
    connection.execute("CREATE TABLE sent (id int PRIMARY KEY, a jsonb, b json)")
    connection.execute("CREATE TABLE kept (id int PRIMARY KEY, a jsonb, b json)")
    connection.execute("INSERT INTO sent VALUES (1, %s, %s)", ["[" * depth + '"]\\""' + "]" * depth] * 2)
    _copy(connection)
    assert connection.execute("SELECT s.a = k.a AND s.b::text = k.b::text FROM sent s, kept k").fetchone() == (True,)


def test_a_value_of_megabytes_arrives(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE sent (id int PRIMARY KEY, a text, b bytea, c text[])")
    connection.execute("CREATE TABLE kept (id int PRIMARY KEY, a text, b bytea, c text[])")
    connection.execute(
        "INSERT INTO sent SELECT 1, x, convert_to(x, 'UTF8'), ARRAY[x, NULL] FROM repeat('ü \"\\', 700000) x"
    )
    _copy(connection)
    same = "SELECT (s.a, s.b, s.c) IS NOT DISTINCT FROM (k.a, k.b, k.c) FROM sent s, kept k"
    assert connection.execute(same.encode()).fetchone() == (True,)


def test_a_row_of_1600_columns_arrives_and_is_changed(connection: psycopg.Connection) -> None:
    columns = ", ".join(f"c{number} smallint" for number in range(1599))
    for table in ("sent", "kept"):
        connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, {columns})".encode())
    connection.execute(f"INSERT INTO sent SELECT 1{', 7' * 1598}, NULL".encode())
    _copy(connection)
    assert connection.execute("SELECT count(*) FROM sent JOIN kept ON sent::text = kept::text").fetchone() == (1,)


def test_a_table_that_others_inherit_from_is_written_alone(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE sent (id int PRIMARY KEY, a int); CREATE TABLE kept (LIKE sent INCLUDING ALL)")
    connection.execute(
        "CREATE TABLE child () INHERITS (kept); INSERT INTO child VALUES (1, 10); INSERT INTO kept VALUES (1, 1)"
    )
    table = read_catalogue(connection, "t", {"public.kept": Routing()}).tables["public.kept"]
    for statement in (table.delete(("id",)), table.update(("id",), ("a",)), table.present(("id",))):
        assert 'ONLY "public"."kept"' in statement.text
    connection.execute("SET search_path = public; INSERT INTO sent VALUES (1, 2)")
    _copy(connection)
    assert connection.execute("SELECT tableoid::regclass::text, a FROM kept ORDER BY a").fetchall() == [
        ("kept", 2), ("child", 10),
    ]  # fmt: skip


def _copy(connection: psycopg.Connection, key: tuple[str, ...] = ("id",)) -> None:
    """Send every row of table `sent` through the codec and the sink into table `kept`."""
    columns = connection.execute(
        "SELECT attname::text, atttypid::int8 FROM pg_attribute WHERE attrelid = 'sent'::regclass AND attnum > 0"
    ).fetchall()
    relation = Relation(
        1, "public", "kept", "d", tuple(Column(name, oid, -1, name in key) for name, oid in columns)
    )  # fmt: skip
    codec = Codec("s", "db", relation, key)
    head = Head(1, 500, 0, 9)
    texts = ", ".join('"' + name.replace("%", "%%") + '"::text' for name, _ in columns)
    booleans = [at for at, (_, oid) in enumerate(columns) if oid == 16]
    records = []
    for ordinal, row in enumerate(connection.execute(f"SELECT {texts} FROM sent".encode(), ()).fetchall(), 1):
        cells = [None if cell is None else cell.encode() for cell in row]
        for at in booleans:
            cells[at] = {None: None, b"true": b"t", b"false": b"f"}[cells[at]]
        key_, value = codec.insert(head, 1, ordinal, 0, cells)
        records.append(Record(table_topic("s", "public", "kept"), 0, ordinal, Position(1, 500, ordinal), key_, value))
    url = (
        connection.info.dsn + f" password={connection.info.password}"
        if connection.info.password
        else connection.info.dsn
    )
    sink = PostgresSink(Destination("t", url, "s", {"public.kept": Routing()}))
    sink.claim()
    sink.write(records)
    sink.commit(Progress(1, (1, 500), {}))
    sink.close()
