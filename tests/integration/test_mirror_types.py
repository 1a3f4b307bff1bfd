"""Types of columns that a mirror has of the hub's: carried out at `placemat init`, or told with what to do."""

from __future__ import annotations

from tests.fix_mirrored import Mirrored

STORIES = {
    "table": "public.stories", "data_source": "stories", "both_ways": True,
    "fields": {"title": {"property": "title"}, "privacy": {"property": "Privacy"}},
}  # fmt: skip


def test_an_enum_that_is_to_go_both_ways_is_told_by_name(mirrored: Mirrored) -> None:
    mirrored.entity("stories", **STORIES)
    done = mirrored.site.placemat("init")
    assert done.code != 0
    assert "Column privacy of public.stories is an enum, which a mirror holds as text" in done.err


def test_a_column_whose_values_are_none_of_its_new_type_is_told_by_name(mirrored: Mirrored) -> None:
    mirrored.init()
    mirrored.run("INSERT INTO wanted.stories (id, title) VALUES (gen_random_uuid(), 'A song')")
    mirrored.hub.execute("ALTER TABLE stories ALTER title TYPE integer USING length(title)")
    done = mirrored.site.placemat("init")
    assert done.code == 1
    assert "Column title of wanted.stories in the mirror of target" in done.err
    assert "cannot become integer, as public.stories has it" in done.err
    assert 'ALTER TABLE "wanted"."stories" ALTER COLUMN "title" TYPE integer USING' in done.err
    assert "Traceback" not in done.err
    mirrored.run("ALTER TABLE wanted.stories ALTER COLUMN title TYPE integer USING 1")
    mirrored.init()
