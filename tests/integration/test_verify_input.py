"""What stops `verify` is said in one sentence, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from daemon.embedded.ports import free_port
from daemon.errors import OperatorError
from daemon.reconcile import verify
from tests.fix_servers import Postgres
from tests.integration.verify_pair import Pair, pair_of


@pytest.fixture
def pair(database_factory: Callable[[str], str]) -> Iterator[Pair]:
    with pair_of(database_factory) as made:
        yield made


def refusal(pair: Pair, table: str = "notes") -> OperatorError:
    with pytest.raises(OperatorError) as caught:
        pair.verify(table)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    return caught.value


def test_tables_are_named_with_or_without_their_schema(pair: Pair) -> None:
    pair.both("CREATE TABLE notes (id int PRIMARY KEY)")
    pair.both("CREATE TABLE others (id int PRIMARY KEY)")
    settings = pair.settings("notes", "others")
    for names, compared in [
        (["notes"], ["public.notes"]),
        (["public.others", "notes", "others"], ["public.others", "public.notes"]),
        ([], ["public.notes", "public.others"]),
    ]:
        report = verify(settings, names, eras={}, sample=None)
        assert [table.table for table in report.tables] == compared


def test_a_table_without_a_route_is_a_usage_error(pair: Pair) -> None:
    with pytest.raises(OperatorError, match=r"No target has a route for table public\.contacts") as caught:
        verify(pair.settings("notes"), ["contacts"], eras={}, sample=None)
    assert caught.value.exit_code == 2
    assert "public.notes" in caught.value.try_


def test_a_table_missing_on_one_side_is_named(pair: Pair) -> None:
    assert str(refusal(pair)) == "The source primary has no table public.notes."
    pair.source.execute("CREATE TABLE notes (id int PRIMARY KEY)")
    assert str(refusal(pair)) == "The target empathy_ledger has no table public.notes."


def test_a_column_missing_in_the_target_is_named(pair: Pair) -> None:
    pair.source.execute("CREATE TABLE notes (id int PRIMARY KEY, title text)")
    pair.target.execute("CREATE TABLE notes (id int PRIMARY KEY)")
    assert str(refusal(pair)) == "Table public.notes of the target empathy_ledger has no column title."
    assert pair.verify("notes", local=("title",)).clean


def test_a_table_without_a_key_cannot_be_verified(pair: Pair) -> None:
    pair.both("CREATE TABLE notes (id int)")
    assert "of the source primary has no primary key" in str(refusal(pair))
    pair.source.execute("ALTER TABLE notes ADD PRIMARY KEY (id)")
    assert "of the target empathy_ledger has no primary key or unique index on (id)" in str(refusal(pair))
    pair.target.execute("CREATE UNIQUE INDEX ON notes (id)")
    assert pair.verify("notes").clean


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_server_that_does_not_answer_is_named_without_its_password(pair: Pair, side: str) -> None:
    gone = f"postgresql://someone:secret-word@127.0.0.1:{free_port()}/nowhere"
    broken = Pair(
        gone if side == "source" else pair.source_url,
        gone if side == "target" else pair.target_url,
        pair.source,
        pair.target,
    )
    error = refusal(broken)
    assert str(error).startswith(f"The {side} {'primary' if side == 'source' else 'empathy_ledger'} cannot be reached")
    assert "secret-word" not in str(error) + error.try_


def test_a_role_that_may_not_read_or_is_under_row_level_security_is_named(
    pair: Pair, postgres_server: Postgres
) -> None:
    pair.both("CREATE TABLE notes (id int PRIMARY KEY)")
    role = pair.source.info.dbname
    pair.source.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'word'".encode())
    try:
        url = postgres_server.dsn(pair.source.info.dbname, role, "word")
        as_role = Pair(url, pair.target_url, pair.source, pair.target)
        error = refusal(as_role)
        assert f"The source primary does not let role {role} read" in str(error)
        assert f"GRANT SELECT on the table TO {role}" in error.try_
        pair.source.execute("REVOKE USAGE ON SCHEMA public FROM public")
        assert f"GRANT USAGE ON SCHEMA public TO {role}" in refusal(as_role).try_
        pair.source.execute("GRANT USAGE ON SCHEMA public TO public")
        pair.source.execute(f"GRANT SELECT ON notes TO {role}".encode())
        assert as_role.verify("notes").clean
        pair.source.execute("ALTER TABLE notes ENABLE ROW LEVEL SECURITY")
        assert "row-level security" in str(refusal(as_role))
    finally:
        pair.source.execute(f"DROP OWNED BY {role}".encode())
        pair.source.execute(f"DROP ROLE {role}".encode())


def test_a_url_that_is_none_is_refused(pair: Pair) -> None:
    settings = pair.settings("notes")
    source = settings.sources["primary"].model_copy(update={"url": SecretStr("no url at all")})
    broken = settings.model_copy(update={"sources": {"primary": source}})
    with pytest.raises(OperatorError, match=r"The source primary cannot be reached: sources\.primary\.url is not a"):
        verify(broken, [], eras={}, sample=None)
