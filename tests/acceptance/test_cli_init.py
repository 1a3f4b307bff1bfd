"""`placemat init` makes what is missing once, and every fault is one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from daemon import broker
from daemon.embedded.postgres import PostgresServer
from schemas import domain
from tests.command import Ended
from tests.fix_servers import Postgres
from tests.fix_site import PASSWORD, Site


def assert_fault(ended: Ended, sentence: str, advice: str, code: int = 1) -> None:
    """One pair of lines on standard error, nothing on standard output, and no traceback."""
    assert f"Error: {sentence}" in ended.err
    assert advice in ended.err
    assert ended.err.count("Error: ") == ended.err.count("Try: ") == 1, ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert ended.code == code


def slots(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [
            name
            for (name,) in connection.execute(
                "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
            )
        ]


def test_init_makes_slot_topics_and_state_and_changes_nothing_the_second_time(site: Site) -> None:
    first, second = site.placemat("init", "--json"), site.placemat("init", "--json")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    source = first.json["sources"][site.source]
    assert (source["slot"], source["created"]) == (site.slot, True)
    assert second.json["sources"][site.source] == {**source, "created": False}
    assert slots(site.primary) == [site.slot]
    topics = broker.describe(broker.reach(site.settings.kafka), source["topics"])
    assert sorted(topic.partitions for topic in topics.values()) == [1, 1, 1, 3, 3, 3, 3, 3]
    with psycopg.connect(site.state) as state:
        pinned = state.execute("SELECT topic, topic_id, partitions FROM placemat.topics").fetchall()
        assert set(pinned) == {(topic.name, topic.topic_id, topic.partitions) for topic in topics.values()}
        ordered = [
            row[0] for row in state.execute("SELECT table_name FROM placemat.snapshots ORDER BY place, table_name")
        ]
    assert ordered.index("public.storytellers") < ordered.index("public.stories") < ordered.index("public.story_media")


def test_init_tells_every_fault_at_once(site: Site) -> None:
    site.run_sql(site.ledger, "ALTER TABLE stories DROP COLUMN slug")
    site.run_sql(site.ledger, "DROP TABLE story_media")
    site.run_sql(site.primary, "DROP PUBLICATION placemat")
    ended = site.placemat("init")
    assert ended.code == 1
    assert ended.err.count("Error: ") == ended.err.count("Try: ") == 3


def test_topics_take_records_of_the_configured_size_and_keep_them_for_the_configured_time(site: Site) -> None:
    from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]

    site.placemat("init")
    site.set("kafka.max_record_bytes", 1_000_000)
    site.set("kafka.retention_hours", 1)
    assert site.placemat("init").code == 0
    admin = broker.reach(site.settings.kafka)
    resource = ConfigResource(ResourceType.TOPIC, f"placemat.{site.source}.public.stories")
    entries = admin.describe_configs([resource])[resource].result()
    assert entries["max.message.bytes"].value == str(1_000_000 + broker.RECORD_OVERHEAD_BYTES)
    assert entries["retention.ms"].value == "3600000"
    assert entries["cleanup.policy"].value == "delete"


# What is wrong with the source.


@pytest.mark.parametrize(
    ("url", "sentence", "code"),
    [
        ("postgresql://x@127.0.0.1:1/none", "Source {source} cannot be reached: ", 1),
        ("postgres//user:secret@host", "Source {source} cannot be reached: sources.{source}.url is not a", 2),
    ],
)
def test_a_wrong_source_url_is_named(site: Site, url: str, sentence: str, code: int) -> None:
    site.set(f"sources.{site.source}.url", url)
    ended = site.placemat("init")
    assert_fault(
        ended, sentence.format(source=site.source), f"sources.{site.source}.url".upper().replace(".", "__"), code
    )
    assert "secret" not in ended.err


def test_a_wrong_password_is_told_and_not_shown(site: Site) -> None:
    site.set(f"sources.{site.source}.url", site.values["sources"][site.source]["url"].replace(PASSWORD, "wrong-one"))
    ended = site.placemat("init")
    assert_fault(ended, f"Source {site.source} cannot be reached: ", "is right")
    assert "wrong-one" not in ended.err


def test_a_server_without_logical_wal_is_told(site: Site, own_postgres: Callable[..., PostgresServer]) -> None:
    server = own_postgres(settings={"wal_level": "replica"})
    with psycopg.connect(server.dsn()) as connection:
        domain.install_primary(connection, {domain.CAPTURE: PASSWORD})
    site.set(f"sources.{site.source}.url", server.dsn("postgres", domain.CAPTURE, PASSWORD))
    assert_fault(
        site.placemat("init"),
        f"Source {site.source} has wal_level replica, and capture needs logical.",
        "ALTER SYSTEM SET wal_level = logical",
    )


def use_role(site: Site, server: Postgres, role: str) -> None:
    site.set(f"sources.{site.source}.url", server.dsn(site.primary.rpartition("/")[2], role, PASSWORD))


def test_a_role_that_may_not_replicate_is_told(
    site: Site, postgres_server: Postgres, role_factory: Callable[[str], str]
) -> None:
    role = role_factory(f"BYPASSRLS IN ROLE {domain.CAPTURE}")
    use_role(site, postgres_server, role)
    assert_fault(
        site.placemat("init"), f"Role {role} of source {site.source} may not replicate.", f'ALTER ROLE "{role}" REPLIC'
    )


def test_a_table_that_may_not_be_read_is_named(
    site: Site, postgres_server: Postgres, role_factory: Callable[[str], str]
) -> None:
    role = role_factory("REPLICATION BYPASSRLS")
    use_role(site, postgres_server, role)
    site.set(f"sources.{site.source}.tables", ["public.stories"])
    site.set("targets", None)
    assert_fault(
        site.placemat("init"),
        f"Role {role} may not read public.stories of source {site.source}.",
        f'GRANT SELECT ON "public"."stories" TO "{role}"',
    )


def test_row_level_security_in_the_way_of_capture_is_told(
    site: Site, postgres_server: Postgres, role_factory: Callable[[str], str]
) -> None:
    role = role_factory(f"REPLICATION IN ROLE {domain.CAPTURE}")
    use_role(site, postgres_server, role)
    site.set(f"sources.{site.source}.tables", ["public.stories"])
    site.set("targets", None)
    assert_fault(
        site.placemat("init"),
        f"Row-level security hides rows of public.stories in source {site.source} from role {role}.",
        f'ALTER ROLE "{role}" BYPASSRLS',
    )


def test_a_table_that_is_missing_in_the_source_is_named(site: Site) -> None:
    tables = site.values["sources"][site.source]["tables"]
    site.set(f"sources.{site.source}.tables", [*tables, "public.gone"])
    assert_fault(site.placemat("init"), f"Source {site.source} has no table public.gone.", "take it out of")


def test_a_table_without_a_key_is_named(site: Site) -> None:
    site.run_sql(site.primary, "CREATE TABLE notes (line text); GRANT SELECT ON notes TO placemat_capture")
    tables = site.values["sources"][site.source]["tables"]
    site.set(f"sources.{site.source}.tables", [*tables, "public.notes"])
    assert_fault(
        site.placemat("init"),
        f"public.notes of source {site.source} has no primary key",
        'ALTER TABLE "public"."notes" REPLICA IDENTITY FULL',
    )


def test_a_table_that_does_not_log_its_key_is_named(site: Site) -> None:
    site.run_sql(site.primary, "ALTER TABLE stories REPLICA IDENTITY NOTHING")
    assert_fault(
        site.placemat("init"), f"public.stories of source {site.source} does not log its", "REPLICA IDENTITY DEFAULT"
    )


def test_a_publication_that_is_missing_comes_with_the_statement_that_makes_it(site: Site) -> None:
    site.run_sql(site.primary, "DROP PUBLICATION placemat")
    ended = site.placemat("init")
    assert_fault(ended, f"Publication placemat is missing in source {site.source}, and role", "CREATE PUBLICATION")
    site.run_sql(site.primary, ended.err.partition("run: ")[2].splitlines()[0])
    assert site.placemat("init").code == 0


def test_a_role_that_owns_the_tables_makes_the_publication_itself(site: Site) -> None:
    site.run_sql(site.primary, "DROP PUBLICATION placemat")
    site.set(f"sources.{site.source}.url", site.primary)
    assert site.placemat("init").code == 0


def test_a_publication_that_leaves_out_a_table_comes_with_the_statement_that_adds_it(site: Site) -> None:
    site.run_sql(site.primary, "ALTER PUBLICATION placemat DROP TABLE stories")
    ended = site.placemat("init")
    assert_fault(ended, f"Publication placemat of source {site.source} leaves out public.stories", "ADD TABLE")
    site.run_sql(site.primary, ended.err.partition("run: ")[2].splitlines()[0])
    assert site.placemat("init").code == 0


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("ALTER PUBLICATION placemat SET (publish = 'insert, update')", "delete, truncate."),
        (
            (
                "ALTER PUBLICATION placemat DROP TABLE stories;"
                " ALTER PUBLICATION placemat ADD TABLE stories WHERE (title <> '')"
            ),
            "rows of public.stories,",
        ),
        (
            (
                "ALTER PUBLICATION placemat DROP TABLE stories;"
                " ALTER PUBLICATION placemat ADD TABLE stories (id, workspace_id, storyteller_id)"
            ),
            "column content of public.stories,",
        ),
    ],
)
def test_a_publication_that_leaves_out_a_part_is_told_and_mended_as_told(site: Site, statement: str, what: str) -> None:
    site.run_sql(site.primary, statement)
    ended = site.placemat("init")
    assert_fault(ended, f"Publication placemat of source {site.source} leaves out {what}", "ALTER PUBLICATION")
    site.run_sql(site.primary, ended.err.partition("run: ")[2].splitlines()[0])
    assert site.placemat("init").code == 0


# What was made once is never made again without a word.


def test_a_slot_that_the_state_does_not_know_is_not_taken(site: Site) -> None:
    site.run_sql(site.primary, f"SELECT pg_create_logical_replication_slot('{site.slot}', 'pgoutput')")
    ended = site.placemat("init")
    assert_fault(ended, f"Source {site.source} has a slot {site.slot} already", "pg_drop_replication_slot")
    site.run_sql(site.primary, f"SELECT pg_drop_replication_slot('{site.slot}')")
    assert site.placemat("init").code == 0


def test_a_slot_that_is_gone_is_not_made_again(site: Site) -> None:
    site.placemat("init")
    site.run_sql(site.primary, f"SELECT pg_drop_replication_slot('{site.slot}')")
    assert_fault(site.placemat("init"), f"Slot {site.slot} of source {site.source} is missing", "A gap")
    assert slots(site.primary) == []


def test_a_topic_that_was_made_anew_is_told(site: Site) -> None:
    site.placemat("init")
    admin = broker.reach(site.settings.kafka)
    topic = f"placemat.{site.source}.public.stories"
    admin.delete_topics([topic])[topic].result()
    assert_fault(site.placemat("init"), f"Topic {topic} was made anew", "A gap")


def test_another_server_under_the_same_name_is_told(site: Site) -> None:
    site.placemat("init")
    site.run_sql(site.state, "UPDATE placemat.sources SET system_identifier = '1'")
    assert_fault(site.placemat("init"), f"Source {site.source} is another server", "A gap")


# What is wrong with the target.


@pytest.mark.parametrize(
    ("statement", "sentence", "advice"),
    [
        (
            "DROP TABLE story_media",
            "Target empathy_ledger has no table public.story_media.",
            "take it out of targets.empathy_ledger.tables",
        ),
        (
            "ALTER TABLE stories DROP COLUMN slug",
            "public.stories of target empathy_ledger has no column slug.",
            'ALTER TABLE "public"."stories" ADD "slug" text',
        ),
        (
            "ALTER TABLE story_media ALTER width TYPE smallint",
            (
                "Column width of public.story_media is smallint in target empathy_ledger,"
                " which cannot hold the source's"
                " integer."
            ),
            'ALTER "width" TYPE integer',
        ),
        (
            "ALTER TABLE projects ALTER budget TYPE numeric(8, 2)",
            "Column budget of public.projects is numeric(8,2) in target empathy_ledger",
            "TYPE numeric(14,2)",
        ),
        (
            "ALTER TABLE stories ALTER content SET NOT NULL",
            "Column content of public.stories must not be null in target empathy_ledger",
            'ALTER "content" DROP NOT NULL',
        ),
        (
            "ALTER TABLE stories ADD shelf text NOT NULL",
            "Column shelf of public.stories in target empathy_ledger must not be null, has no default",
            'ALTER "shelf" DROP NOT NULL',
        ),
        (
            "REVOKE DELETE, TRUNCATE ON stories FROM placemat_apply",
            "Role placemat_apply lacks DELETE, TRUNCATE on public.stories of target empathy_ledger.",
            'GRANT DELETE, TRUNCATE ON "public"."stories"',
        ),
        (
            "ALTER TABLE stories DROP CONSTRAINT stories_pkey CASCADE",
            "public.stories of target empathy_ledger has no unique key on (id)",
            "ADD PRIMARY KEY (id)",
        ),
        (
            "DROP SCHEMA placemat",
            "Role placemat_apply may not keep its tables in schema placemat",
            "CREATE SCHEMA placemat AUTHORIZATION placemat_apply",
        ),
    ],
)
def test_a_target_that_cannot_take_what_comes_is_told(site: Site, statement: str, sentence: str, advice: str) -> None:
    site.run_sql(site.ledger, statement)
    assert_fault(site.placemat("init"), sentence, advice)


def test_an_enum_of_the_target_that_lacks_a_label_is_told_and_mended_as_told(site: Site) -> None:
    site.run_sql(site.primary, "ALTER TYPE privacy_level ADD VALUE 'elders'")
    ended = site.placemat("init")
    assert_fault(
        ended, "Column privacy of public.stories is public.privacy_level without elders in target", "ADD VALUE"
    )
    site.run_sql(site.ledger, ended.err.partition("run: ")[2].partition(";")[0])
    assert site.placemat("init").code == 0


def test_a_check_that_refuses_rows_of_the_source_is_told(site: Site) -> None:
    site.run_sql(site.ledger, "ALTER TABLE workspaces ADD CONSTRAINT short CHECK (length(slug) < 5)")
    assert site.placemat("init").code == 0, "no row is refused yet"
    site.run_sql(site.primary, "INSERT INTO workspaces (name, slug) VALUES ('Long', 'too-long')")
    assert_fault(
        site.placemat("init"),
        "Constraint short on public.workspaces of target empathy_ledger refuses 1 row that the source holds.",
        'DROP CONSTRAINT "short"',
    )


def test_row_level_security_in_the_way_of_apply_is_told(
    site: Site, postgres_server: Postgres, role_factory: Callable[[str], str]
) -> None:
    role = role_factory(f"IN ROLE {domain.APPLY}")
    site.set("targets.empathy_ledger.url", postgres_server.dsn(site.ledger.rpartition("/")[2], role, PASSWORD))
    tables = site.values["targets"]["empathy_ledger"]["tables"]
    site.set("targets.empathy_ledger.tables", {"public.stories": tables["public.stories"]})
    assert_fault(
        site.placemat("init"),
        f"Row-level security hides rows of public.stories in target empathy_ledger from role {role}.",
        f'ALTER ROLE "{role}" BYPASSRLS',
    )


# What is wrong around them.


def test_a_state_database_that_is_down_is_told(site: Site) -> None:
    site.set("state.url", "postgresql://x@127.0.0.1:1/none")
    assert_fault(site.placemat("init"), "The state database cannot be reached: ", "PLACEMAT_STATE__URL")


def test_a_kafka_that_does_not_answer_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "REACH_SECONDS", 0.5)
    site.set("kafka.bootstrap_servers", "127.0.0.1:1")
    ended = site.placemat("init")
    assert_fault(ended, "Kafka cannot be reached at 127.0.0.1:1: ", "PLACEMAT_KAFKA__BOOTSTRAP_SERVERS")
    assert "Connection refused" in ended.err


def test_an_unknown_configuration_key_is_named(site: Site) -> None:
    site.set("kafka.partition", 3)
    assert_fault(
        site.placemat("init"), f"{site.config} cannot be used: kafka.partition: there is no such key.", "schema", code=2
    )
