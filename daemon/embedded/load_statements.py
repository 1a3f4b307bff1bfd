"""What a load does to the five routed tables: each function is one kind of work inside a transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Cursor, sql
from psycopg.types.json import Jsonb

from daemon.embedded import sample_text as text
from daemon.embedded.sample import copy_rows
from daemon.embedded.sample_rows import Row, Rows, random_uuid

CASCADE_LIMIT = 40
"""A storyteller with more stories than this is not deleted: one statement would be the whole load."""


@dataclass(slots=True)
class Writer:
    """One transaction's cursor, the random source, and the row changes made so far by kind."""

    cursor: Cursor[Any]
    rng: Random
    changes: Counter[str] = field(default_factory=Counter)

    def lock(self, table: str, count: int) -> list[UUID]:
        """Lock up to that many rows from a random place on; rows of other writers are left to them, so nobody waits."""
        statement = sql.SQL("SELECT id FROM {} WHERE id >= %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED").format(
            sql.Identifier(table)
        )
        return [key for (key,) in self.cursor.execute(statement, (random_uuid(self.rng), count))]

    def lock_children(self, statement: LiteralString, parents: Sequence[UUID]) -> list[UUID]:
        return [key for (key,) in self.cursor.execute(statement, (list(parents),))]

    def parents(self, table: str, count: int) -> list[tuple[UUID, UUID]]:
        """Key and workspace of up to that many rows from a random place on, not locked."""
        statement = sql.SQL("SELECT id, workspace_id FROM {} WHERE id >= %s ORDER BY id LIMIT %s").format(
            sql.Identifier(table)
        )
        return list(self.cursor.execute(statement, (random_uuid(self.rng), count)))

    def insert(self, table: str, rows: list[Row]) -> None:
        if rows:
            copy_rows(self.cursor.connection, Rows(table, rows))
            self.changes["inserted"] += len(rows)

    def update(self, statement: LiteralString, *parameters: object) -> None:
        self.changes["updated"] += self.cursor.execute(statement, parameters).rowcount

    def delete(self, statement: LiteralString, *parameters: object) -> None:
        self.changes["deleted"] += self.cursor.execute(statement, parameters).rowcount


def add_stories(writer: Writer, count: int) -> None:
    tellers = writer.parents("storytellers", 20)
    projects = dict((workspace, key) for key, workspace in writer.parents("projects", 20))
    if tellers:
        chosen = [writer.rng.choice(tellers) for _ in range(count)]
        writer.insert("stories", [new_story(writer.rng, *teller, projects.get(teller[1])) for teller in chosen])


def add_media(writer: Writer, count: int) -> None:
    stories = writer.parents("stories", max(1, count // 2))
    if stories:
        writer.insert("story_media", [new_medium(writer.rng, *writer.rng.choice(stories)) for _ in range(count)])


def add_storyteller(writer: Writer, count: int) -> None:
    """A new storyteller with stories, and the stories with media, in one transaction."""
    for _, workspace in writer.parents("storytellers", 1):
        rng = writer.rng
        teller = random_uuid(rng)
        row = {"id": teller, "workspace_id": workspace, "name": text.full_name(rng), "bio": text.paragraph(rng)}
        stories = [new_story(rng, teller, workspace, None) for _ in range(1 + count // 3)]
        writer.insert("storytellers", [row])
        writer.insert("stories", stories)
        writer.insert("story_media", [new_medium(rng, story["id"], workspace) for story in stories for _ in "ab"])


def add_projects(writer: Writer, count: int) -> None:
    rng = writer.rng
    workspaces = writer.cursor.execute("SELECT id FROM workspaces ORDER BY id LIMIT 20").fetchall()
    if workspaces:
        writer.insert("projects", [new_project(rng, *rng.choice(workspaces)) for _ in range(min(count, 5))])


def retitle_stories(writer: Writer, count: int) -> None:
    """The title alone: a large content is stored as it was, and not sent by replication."""
    keys = writer.lock("stories", count)
    writer.update(
        "UPDATE stories SET title = new.title FROM unnest(%s::uuid[], %s::text[]) AS new (id, title)"
        " WHERE stories.id = new.id",
        keys,
        [text.title(writer.rng) for _ in keys],
    )


def annotate_stories(writer: Writer, count: int) -> None:
    keys = writer.lock("stories", count)
    note = Jsonb({"review": {"score": writer.rng.randrange(100), "by": text.full_name(writer.rng)}})
    writer.update(
        "UPDATE stories SET metadata = metadata || %s, themes = %s WHERE id = ANY(%s)",
        note,
        writer.rng.sample(text.THEMES, writer.rng.randrange(4)),
        keys,
    )


def rewrite_stories(writer: Writer, count: int) -> None:
    """New content, small or large, also empty and NULL."""
    keys = writer.lock("stories", min(count, 50))
    writer.update(
        "UPDATE stories SET content = new.content FROM unnest(%s::uuid[], %s::text[]) AS new (id, content)"
        " WHERE stories.id = new.id",
        keys,
        [content(writer.rng) for _ in keys],
    )


def change_privacy(writer: Writer, count: int) -> None:
    privacy = writer.rng.choice(("public", "community", "private"))
    writer.update(
        "UPDATE stories SET privacy = %s, published_at = CASE WHEN %s THEN now() END WHERE id = ANY(%s)",
        privacy,
        privacy == "public",
        writer.lock("stories", count),
    )


def update_projects(writer: Writer, count: int) -> None:
    writer.update(
        "UPDATE projects SET status = %s, budget = %s WHERE id = ANY(%s)",
        writer.rng.choice(("planned", "active", "paused", "completed", "archived")),
        writer.rng.randrange(100_000) + writer.rng.randrange(100) / 100,
        writer.lock("projects", min(count, 20)),
    )


def update_across(writer: Writer, count: int) -> None:
    """Storytellers, their stories and the stories' media, all in one transaction."""
    tellers = writer.lock("storytellers", max(1, count // 4))
    stories = "SELECT id FROM stories WHERE storyteller_id = ANY(%s) ORDER BY id LIMIT 200 FOR UPDATE SKIP LOCKED"
    keys = writer.lock_children(stories, tellers)
    writer.update("UPDATE storytellers SET bio = %s WHERE id = ANY(%s)", text.paragraph(writer.rng), tellers)
    writer.update("UPDATE stories SET title = title WHERE id = ANY(%s)", keys)
    writer.update("UPDATE story_media SET caption = %s WHERE story_id = ANY(%s)", text.sentence(writer.rng), keys[:100])


def caption_media(writer: Writer, count: int) -> None:
    keys = writer.lock("story_media", count)
    writer.update(
        "UPDATE story_media SET caption = new.caption FROM unnest(%s::uuid[], %s::text[]) AS new (id, caption)"
        " WHERE story_media.id = new.id",
        keys,
        [text.sentence(writer.rng) if writer.rng.random() < 0.9 else None for _ in keys],
    )


def swap_story_slugs(writer: Writer, count: int) -> None:
    keys = writer.lock("stories", min(count, 20) + 1)
    rows = writer.cursor.execute(
        "SELECT id, slug, workspace_id FROM stories WHERE id = ANY(%s) AND slug IS NOT NULL ORDER BY workspace_id, id",
        (keys,),
    ).fetchall()
    for (left, left_slug, workspace), (right, right_slug, same) in list(pairwise(rows))[::2]:
        if workspace == same:
            statement: LiteralString = "UPDATE stories SET slug = %s WHERE id = %s"
            writer.update(statement, f"~{left}", left)
            writer.update(statement, left_slug, right)
            writer.update(statement, right_slug, left)


def swap_workspace_slugs(writer: Writer, _count: int) -> None:
    rows = writer.cursor.execute(
        "SELECT id, slug FROM workspaces ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED"
    ).fetchall()
    if len(rows) == 2:
        (left, left_slug), (right, right_slug) = rows
        statement: LiteralString = "UPDATE workspaces SET slug = %s WHERE id = %s"
        writer.update(statement, f"~{left}", left)
        writer.update(statement, left_slug, right)
        writer.update(statement, right_slug, left)


def move_media(writer: Writer, count: int) -> None:
    """New primary keys for rows that nothing refers to."""
    keys = writer.lock("story_media", min(count, 50))
    writer.update(
        "UPDATE story_media SET id = new.new_id FROM unnest(%s::uuid[], %s::uuid[]) AS new (id, new_id)"
        " WHERE story_media.id = new.id",
        keys,
        [random_uuid(writer.rng) for _ in keys],
    )


def delete_media(writer: Writer, count: int) -> None:
    writer.delete("DELETE FROM story_media WHERE id = ANY(%s)", writer.lock("story_media", count))


def delete_stories(writer: Writer, count: int) -> None:
    """Their media go along by cascade."""
    keys = writer.lock("stories", max(1, count // 3))
    media = writer.lock_children("SELECT id FROM story_media WHERE story_id = ANY(%s) FOR UPDATE", keys)
    writer.delete("DELETE FROM stories WHERE id = ANY(%s)", keys)
    writer.changes["deleted"] += len(media)


def delete_storyteller(writer: Writer, _count: int) -> None:
    """Stories and media go along by cascade, in two steps."""
    keys = writer.lock("storytellers", 1)
    stories = writer.lock_children("SELECT id FROM stories WHERE storyteller_id = ANY(%s) FOR UPDATE", keys)
    if len(stories) > CASCADE_LIMIT:
        return
    media = writer.lock_children("SELECT id FROM story_media WHERE story_id = ANY(%s) FOR UPDATE", stories)
    writer.delete("DELETE FROM storytellers WHERE id = ANY(%s)", keys)
    writer.changes["deleted"] += len(stories) + len(media)


def delete_project(writer: Writer, _count: int) -> None:
    """Its stories stay, without a project."""
    keys = writer.lock("projects", 1)
    stories = writer.lock_children("SELECT id FROM stories WHERE project_id = ANY(%s) FOR UPDATE", keys)
    writer.delete("DELETE FROM projects WHERE id = ANY(%s)", keys)
    writer.changes["updated"] += len(stories)


def new_project(rng: Random, workspace: UUID) -> Row:
    name = f"{rng.choice(text.PLACES)} {rng.choice(text.UNDERTAKINGS)}"
    return {"id": random_uuid(rng), "workspace_id": workspace, "name": name, "area": rng.choice(text.AREAS)}


def new_story(rng: Random, storyteller: UUID, workspace: UUID, project: UUID | None) -> Row:
    key = random_uuid(rng)
    return {
        "id": key,
        "workspace_id": workspace,
        "storyteller_id": storyteller,
        "project_id": project,
        "title": text.title(rng),
        "slug": f"story-{key}",
        "content": content(rng),
        "themes": rng.sample(text.THEMES, rng.randrange(4)),
        "privacy": rng.choice(("public", "community", "private")),
        "metadata": Jsonb({"source": "load", "words": rng.randrange(5_000)}),
    }


def new_medium(rng: Random, story: object, workspace: object) -> Row:
    key = random_uuid(rng)
    kind, ending = rng.choice(text.MEDIA_KINDS)
    return {
        "id": key,
        "workspace_id": workspace,
        "story_id": story,
        "kind": kind,
        "url": f"https://media.example/{key}.{ending}",
        "caption": text.sentence(rng) if rng.random() < 0.7 else None,
        "size_bytes": rng.randrange(1, 2**40),
    }


def content(rng: Random) -> str | None:
    kind = rng.random()
    if kind < 0.04:
        return None if kind < 0.02 else ""
    return text.story(rng, rng.randrange(8_500, 20_000) if kind > 0.95 else rng.randrange(50, 900))


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of work, how often it is drawn relative to the others, and the tables whose rows it changes."""

    run: Callable[[Writer, int], None]
    weight: int
    tables: frozenset[str]


def operation(run: Callable[[Writer, int], None], weight: int, *tables: str) -> Operation:
    return Operation(run, weight, frozenset(tables))


OPERATIONS = (
    operation(add_stories, 12, "stories"),
    operation(add_media, 12, "story_media"),
    operation(add_storyteller, 6, "storytellers", "stories", "story_media"),
    operation(add_projects, 2, "projects"),
    operation(retitle_stories, 14, "stories"),
    operation(annotate_stories, 10, "stories"),
    operation(rewrite_stories, 5, "stories"),
    operation(change_privacy, 5, "stories"),
    operation(update_projects, 3, "projects"),
    operation(update_across, 6, "storytellers", "stories", "story_media"),
    operation(caption_media, 10, "story_media"),
    operation(swap_story_slugs, 3, "stories"),
    operation(swap_workspace_slugs, 1, "workspaces"),
    operation(move_media, 3, "story_media"),
    operation(delete_media, 6, "story_media"),
    operation(delete_stories, 6, "stories", "story_media"),
    operation(delete_storyteller, 2, "storytellers", "stories", "story_media"),
    operation(delete_project, 1, "projects", "stories"),
)
