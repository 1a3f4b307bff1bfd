"""Tables that go one way beside those that go both ways: what their rows set off at the hub comes to spokes, too."""

from __future__ import annotations

from tests.fix_linked import Linked
from tests.people import a_teller, a_workspace, put, value

VISITS = """
CREATE TABLE visits (id bigint PRIMARY KEY, storyteller_id uuid NOT NULL);
GRANT ALL ON visits TO PUBLIC;
"""
VISITED = """
CREATE FUNCTION visited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.storytellers SET bio = 'visited' WHERE id = NEW.storyteller_id;
    RETURN NEW;
END
$$;
CREATE TRIGGER visited AFTER INSERT ON visits FOR EACH ROW EXECUTE FUNCTION visited();
"""


def test_an_answer_tells_what_a_row_that_goes_one_way_has_set_off_in_the_same_transaction(linked: Linked) -> None:
    for connection, statement in ((linked.hub, VISITS + VISITED), (linked.spoke, VISITS)):
        connection.execute(statement.encode())
    linked.spoke.execute("ALTER PUBLICATION placemat ADD TABLE visits")
    values = linked.site.values
    values["sources"][linked.spoke_name]["tables"].append("public.visits")
    values["targets"][linked.hub_target]["tables"] = {"public.visits": {}}
    linked.route("storytellers", rules={"name": "hub"})
    linked.init()
    with linked.running():
        key = a_teller(linked, linked.hub, a_workspace(linked))
        with linked.held(), linked.spoke.transaction():
            put(linked.hub, "storytellers", key, name="of the hub")
            put(linked.spoke, "storytellers", key, name="of the spoke")
            linked.spoke.execute("INSERT INTO visits VALUES (1, %s)", [key])
        linked.rest()
    for connection in (linked.hub, linked.spoke):
        assert value(connection, "storytellers", "name", key) == "of the hub"
        assert value(connection, "storytellers", "bio", key) == "visited"
