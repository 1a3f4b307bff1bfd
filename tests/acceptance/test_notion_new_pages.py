"""People make a page as Notion lets them: it is there before it has a title, and most of its fields stay empty."""

from __future__ import annotations

from tests.fix_office import Office
from tests.waiting import until


def test_a_page_with_a_title_alone_is_a_row_with_the_hub_s_own_defaults(at_work: Office) -> None:
    at_work.notion.people.create("Projects", {"Name": "Garden"})
    at_work.until_both(("Garden", "planned", None))


def test_a_page_is_a_row_as_soon_as_it_has_a_title(at_work: Office) -> None:
    page = at_work.notion.people.create("Projects", {})
    record = "SELECT count(*) FROM placemat.remotes"
    until(lambda: at_work.mirrored.run(record) == [(1,)], 30, what="the page read")
    at_work.notion.people.edit(page, {"Name": "Garden", "Status": "Active"})
    at_work.until_both(("Garden", "active", None))


def test_a_default_that_the_daemon_may_not_call_stands_in_no_way(office: Office) -> None:
    """As of extensions in a schema of their own."""
    office.mirrored.hub.execute(
        "CREATE SCHEMA extensions;"
        " CREATE FUNCTION extensions.new_id() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()';"
        " REVOKE ALL ON FUNCTION extensions.new_id() FROM PUBLIC;"
        " ALTER TABLE projects ALTER id SET DEFAULT extensions.new_id()"
    )
    with office.mirrored.running():
        office.notion.people.create("Projects", {"Name": "Garden"})
        office.until_both(("Garden", "planned", None))
