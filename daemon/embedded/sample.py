"""Seeded sample data: every table of the primary, the same rows for the same seed on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from random import Random
from typing import Any

from psycopg import Connection, sql
from psycopg.types.json import Jsonb

from daemon.embedded import sample_office as office
from daemon.embedded import sample_text as text
from daemon.embedded.sample_rows import EPOCH, Row, Rows, Sample, random_uuid

DEFAULT_SEED = 2026
LARGE_STORY_CHANCE = 0.15


def load_sample(conn: Connection[Any], seed: int = DEFAULT_SEED) -> dict[str, int]:
    """Fill an empty primary in one transaction, as its owner; returns the rows loaded by table."""
    loaded = {}
    with conn.transaction():
        for rows in sample_tables(seed):
            copy_rows(conn, rows)
            loaded[rows.table] = len(rows.rows)
    return loaded


def copy_rows(conn: Connection[Any], rows: Rows) -> None:
    columns = list(rows.rows[0])
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(rows.table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows.rows:
            copy.write_row([row[column] for column in columns])


def sample_tables(seed: int) -> Iterator[Rows]:
    """All tables, parents before children."""
    sample = Sample(Random(seed))
    yield workspaces(sample)
    tables: tuple[tuple[str, int, Callable[[Sample, int], Row]], ...] = (
        ("organisations", 15, office.organisation),
        ("projects", 40, project),
        ("storytellers", 200, storyteller),
        ("stories", 600, story),
        ("story_media", 1_200, medium),
        ("opportunities", 30, office.opportunity),
        ("contacts", 120, office.contact),
        ("interactions", 250, office.interaction),
        ("events", 60, office.event),
        ("actions", 50, office.action),
        ("places", len(text.PLACES), office.place),
        ("artifacts", 40, office.artifact),
    )
    for table, count, build in tables:
        yield sample.build(table, count, build)
    yield office.project_contacts(sample)
    yield from office.invoices(sample)


def workspaces(sample: Sample) -> Rows:
    rows: list[Row] = []
    for stage, name in enumerate(text.WORKSPACES):
        sample.workspaces.append(random_uuid(sample.rng))
        flags = {"dual_operation": stage > 0, "stories": {"max_media": 20 * (stage + 1), "kinds": ["image", "audio"]}}
        rows.append(
            {
                "id": sample.workspaces[-1],
                "name": name,
                "slug": text.slug(name),
                "migration_stage": min(stage, 4),
                "feature_flags": Jsonb(flags),
                "legacy_id": f"recWorkspace{stage}",
                "created_at": EPOCH,
                "updated_at": EPOCH,
            }
        )
    return Rows("workspaces", rows)


def project(sample: Sample, n: int) -> Row:
    rng, starts = sample.rng, sample.day()
    return {
        "name": f"{rng.choice(text.PLACES)} {rng.choice(text.UNDERTAKINGS)}",
        "description": sample.maybe(text.paragraph(rng)),
        "status": rng.choice(("planned", "active", "active", "active", "paused", "completed")),
        "area": rng.choice(text.AREAS),
        "lead": sample.maybe(text.full_name(rng)),
        "budget": sample.maybe(sample.dollars(2_000, 450_000)),
        "starts_on": starts,
        "ends_on": sample.maybe(starts + timedelta(days=rng.randrange(30, 700)), 0.6),
        "metadata": Jsonb({"funding": {"streams": rng.sample(text.FUNDERS, 2)}, "people": rng.randrange(5, 900)}),
        "legacy_id": f"recProject{n:04}",
    }


def storyteller(sample: Sample, n: int) -> Row:
    rng = sample.rng
    consented = rng.random() < 0.85
    return {
        "name": text.full_name(rng),
        "bio": sample.maybe(text.paragraph(rng)),
        "cultural_background": rng.choice(text.BACKGROUNDS),
        "consent_given": consented,
        "consent_given_at": sample.moment() if consented else None,
        "metadata": Jsonb({"languages": rng.sample(text.LANGUAGES, 2)}),
        "legacy_id": sample.maybe(f"recTeller{n:05}", 0.5),
    }


def story(sample: Sample, n: int) -> Row:
    rng = sample.rng
    title = text.title(rng)
    length = rng.randrange(8_500, 30_000) if rng.random() < LARGE_STORY_CHANCE else rng.randrange(80, 1_800)
    privacy = rng.choice(("public", "public", "community", "private"))
    return {
        "storyteller_id": sample.pick("storytellers"),
        "project_id": sample.maybe(sample.pick("projects")),
        "title": title,
        "slug": f"{text.slug(title)}-{n}",
        "content": sample.maybe(text.story(rng, length), 0.95),
        "themes": rng.sample(text.THEMES, rng.randrange(4)),
        "privacy": privacy,
        "published_at": sample.moment() if privacy == "public" else None,
        "metadata": Jsonb({"minutes": max(1, length // 1_000), "place": rng.choice(text.PLACES), "editor": None}),
    }


def medium(sample: Sample, n: int) -> Row:
    rng = sample.rng
    kind, ending = rng.choice(text.MEDIA_KINDS)
    visual = kind in ("image", "video")
    return {
        "story_id": sample.pick("stories"),
        "kind": kind,
        "url": f"https://media.example/{n:05}-{rng.getrandbits(48):012x}.{ending}",
        "caption": sample.maybe(f"{text.sentence(rng)}\nPhoto: {text.full_name(rng)} 📷", 0.6),
        "size_bytes": sample.maybe(rng.randrange(2_000, 4_000_000_000)),
        "width": rng.randrange(320, 6_000) if visual else None,
        "height": rng.randrange(240, 4_000) if visual else None,
        "metadata": Jsonb({"camera": {"iso": rng.choice((100, 200, 400)), "f": 2.8}} if kind == "image" else {}),
    }
