from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from schemas import domain
from tests.fix_servers import Postgres

Database = psycopg.Connection[Any]

ALL_TABLES = {
    "workspaces", "organisations", "projects", "storytellers", "stories", "story_media", "opportunities", "contacts",
    "project_contacts", "interactions", "events", "invoices", "invoice_lines", "bank_transactions", "payments",
    "actions", "places", "artifacts",
}  # fmt: skip
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"


@pytest.fixture
def primary(database_factory: Callable[[str], str]) -> Iterator[Database]:
    with psycopg.connect(database_factory("primary"), autocommit=True) as conn:
        domain.install_primary(conn)
        yield conn


@pytest.fixture
def ledger(database_factory: Callable[[str], str]) -> Iterator[Database]:
    with psycopg.connect(database_factory("ledger"), autocommit=True) as conn:
        domain.install_empathy_ledger(conn)
        yield conn


def column(conn: Database, statement: str) -> list[Any]:
    return [value for (value,) in conn.execute(statement.encode())]


def add_workspace(conn: Database) -> Any:
    key = uuid4()
    conn.execute("INSERT INTO workspaces (id, name, slug) VALUES (%s, 'Commons', %s)", (key, str(key)))
    return key


def add_story(conn: Database, workspace: object, privacy: str) -> None:
    teller = uuid4()
    conn.execute(
        "INSERT INTO storytellers (id, workspace_id, name, consent_given) VALUES (%s, %s, 'Una', true)",
        (teller, workspace),
    )
    conn.execute(
        "INSERT INTO stories (workspace_id, storyteller_id, title, privacy, published_at)"
        " VALUES (%s, %s, 'A song', %s, now())",
        (workspace, teller, privacy),
    )


def test_the_primary_has_every_entity_and_the_ledger_the_routed_ones(primary: Database, ledger: Database) -> None:
    assert set(column(primary, TABLES)) == ALL_TABLES
    assert set(column(ledger, TABLES)) == set(domain.ROUTED_TABLES)


def test_every_key_is_made_of_uuids(primary: Database) -> None:
    types = """
        SELECT DISTINCT format_type(atttypid, NULL) FROM pg_index
        JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey) JOIN pg_class ON pg_class.oid = indrelid
        WHERE indisprimary AND relnamespace = 'public'::regnamespace
    """
    assert column(primary, types) == ["uuid"]


def test_updated_at_is_kept_by_a_trigger_on_both_sides(primary: Database, ledger: Database) -> None:
    for conn in (primary, ledger):
        add_workspace(conn)
        conn.execute("UPDATE workspaces SET name = 'Renamed', updated_at = '2001-01-01'")
        assert column(conn, "SELECT updated_at > now() - interval '1 minute' FROM workspaces") == [True]
        with_trigger = "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'set_updated_at' ORDER BY 1"
        assert sorted(column(conn, with_trigger)) == column(conn, TABLES)


def test_routed_columns_have_the_same_types_and_the_ledger_has_columns_of_its_own(
    primary: Database, ledger: Database
) -> None:
    statement = """
        SELECT (attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod), attnotnull) FROM pg_attribute
        WHERE attrelid::regclass::text = ANY('{workspaces,projects,storytellers,stories,story_media}') AND attnum > 0
    """
    ours, theirs = set(column(primary, statement)), set(column(ledger, statement))
    assert ours < theirs
    own = {(table, name) for table, name, _, _ in theirs - ours}
    assert own == {
        ("workspaces", "theme_colour"),
        ("storytellers", "preferred_contact"),
        ("stories", "featured"),
        ("stories", "reading_count"),
        ("story_media", "alt_text"),
    }


def test_foreign_keys_have_the_same_delete_rules_on_both_sides(primary: Database, ledger: Database) -> None:
    statement = """
        SELECT (conrelid::regclass::text, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE contype = 'f' AND conrelid::regclass::text = ANY('{projects,storytellers,stories,story_media}')
    """
    assert set(column(primary, statement)) == set(column(ledger, statement))


def test_row_level_security_is_on_everywhere_and_has_policies(primary: Database, ledger: Database) -> None:
    unprotected = """
        SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        AND NOT (relrowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid))
    """
    assert column(primary, unprotected) == []
    assert column(ledger, unprotected) == []


def test_the_daemon_s_roles_are_neither_superuser_nor_owner(primary: Database) -> None:
    flags = "SELECT rolsuper, rolreplication, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = %s"
    assert primary.execute(flags, (domain.CAPTURE,)).fetchone() == (False, True, True, True)
    assert primary.execute(flags, (domain.APPLY,)).fetchone() == (False, False, True, True)
    assert column(primary, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == [domain.OWNER]


def test_the_publication_names_the_routed_tables(primary: Database) -> None:
    published = primary.execute(
        "SELECT tablename FROM pg_publication_tables WHERE pubname = %s", (domain.PUBLICATION,)
    ).fetchall()
    assert {table for (table,) in published} == set(domain.ROUTED_TABLES)


def test_capture_reads_the_published_tables_whatever_their_workspace_and_nothing_else(primary: Database) -> None:
    add_workspace(primary)
    primary.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(domain.CAPTURE)))
    primary.execute("SET row_security = off")
    assert column(primary, "SELECT count(*) FROM workspaces") == [1]
    for refused in ("SELECT count(*) FROM invoices", "UPDATE workspaces SET name = 'x'", "CREATE TABLE own ()"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            primary.execute(refused.encode())


def test_apply_writes_the_five_tables_and_keeps_books_in_its_own_schema(ledger: Database) -> None:
    ledger.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(domain.APPLY)))
    ledger.execute("SET row_security = off")
    add_story(ledger, add_workspace(ledger), "private")
    ledger.execute("UPDATE stories SET title = 'Another song'")
    ledger.execute("DELETE FROM stories")
    ledger.execute("TRUNCATE workspaces, projects, storytellers, stories, story_media")
    ledger.execute("CREATE TABLE placemat.books (id int)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ledger.execute("CREATE TABLE public.books (id int)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ledger.execute("ALTER TABLE stories DISABLE TRIGGER set_updated_at")


def test_a_member_sees_one_workspace_and_the_public_sees_published_stories(primary: Database) -> None:
    first, second = add_workspace(primary), add_workspace(primary)
    for workspace, privacy in ((first, "private"), (first, "public"), (second, "public")):
        add_story(primary, workspace, privacy)
    primary.execute("SET ROLE anon")
    assert column(primary, "SELECT privacy FROM stories") == ["public", "public"]
    assert column(primary, "SELECT count(*) FROM storytellers") == [2]
    primary.execute("SET ROLE authenticated")
    assert column(primary, "SELECT count(*) FROM stories") == [0]
    primary.execute(
        "SELECT set_config('request.jwt.claims', jsonb_build_object('workspace_id', %s::text)::text, false)", (first,)
    )
    assert sorted(column(primary, "SELECT privacy FROM stories")) == ["private", "public"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        add_story(primary, second, "public")


def test_passwords_are_set_beside_the_files(postgres_server: Postgres, database_factory: Callable[[str], str]) -> None:
    role, password = f"role_{uuid4().hex[:8]}", "it's a 'secret' – ü"
    with psycopg.connect(database_factory("passwords"), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        domain.set_passwords(conn, {role: password})
        with psycopg.connect(postgres_server.dsn("postgres", role, password)) as own:
            assert own.execute("SELECT current_user").fetchone() == (role,)
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_what_notion_is_to_have_is_published_and_a_contact_has_one_name_and_one_address(primary: Database) -> None:
    domain.add_notion(primary)
    published = set(column(primary, "SELECT tablename FROM pg_publication_tables WHERE pubname = 'placemat'"))
    assert published == {*domain.ROUTED_TABLES, *domain.NOTION_TABLES}
    readable = "SELECT bool_and(has_table_privilege('placemat_capture', t, 'SELECT')) FROM unnest(%s::text[]) t"
    assert primary.execute(readable, [list(published)]).fetchone() == (True,)
    assert column(primary, "SELECT has_table_privilege('placemat_apply', 'opportunities', 'INSERT')") == [True]
    primary.execute(
        "INSERT INTO contacts (workspace_id, given_name, family_name, emails) VALUES (%s, 'Una', 'Ashgrove', %s)",
        [add_workspace(primary), ["una@mail.example", "una@work.example"]],
    )
    shown = "SELECT full_name, email FROM contacts"
    assert primary.execute(shown).fetchone() == ("Una Ashgrove", "una@mail.example")
    primary.execute("UPDATE contacts SET family_name = NULL, emails = '{}'")
    assert primary.execute(shown).fetchone() == ("Una", None)
