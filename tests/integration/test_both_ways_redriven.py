"""What the audit log tells of events that waited behind a parked key, where tables go both ways."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.asking import ask
from tests.fix_linked import Connection, Linked, made_linked
from tests.fix_servers import Kafka, Postgres
from tests.people import a_teller, a_workspace, put, value
from tests.waiting import until


@dataclass
class Side:
    """One of the two as a target, which refuses a name that is no longer welcome there."""

    both: Linked
    target: str
    connection: Connection
    other: Connection

    def parked(self) -> bool:
        return self.connection.execute("SELECT FROM placemat.parked").fetchone() is not None

    def waits(self, events: int) -> None:
        """Until so many events wait behind the key."""
        query = "SELECT FROM placemat.parked_events WHERE event::jsonb ->> 'op' <> 'n'"
        until(lambda: self.connection.execute(query).rowcount == events, what=f"{events} events waiting")

    def entries(self, key: uuid.UUID) -> list[dict[str, Any]]:
        """Of the row, once all is entered; oldest first."""
        self.both.rest()
        until(lambda: self.connection.execute("SELECT FROM placemat.outbox").fetchone() is None, 30)
        query = """
            SELECT to_jsonb(entry) FROM placemat.audit_entries AS entry WHERE target = %s AND key = %s ORDER BY sequence
        """
        found = [one for (one,) in ask(self.both.site.state, query, [self.target, f'{{"id":"{key}"}}'])]
        return [{**one, "details": json.loads(one["details"])} for one in found]


@pytest.fixture(scope="module")
def both(postgres_server: Postgres, kafka_server: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Linked]:
    with made_linked(postgres_server, kafka_server, tmp_path_factory.mktemp("redriven")) as linked:
        for at, name in ((linked.hub, "nor here"), (linked.spoke, "nor there")):
            at.execute(f"ALTER TABLE storytellers ADD CONSTRAINT welcome CHECK (name <> '{name}')".encode())
        linked.init()
        with linked.running():
            linked.copied()
            yield linked


@pytest.fixture
def at_hub(both: Linked) -> Side:
    return Side(both, both.hub_target, both.hub, both.spoke)


@pytest.fixture
def at_spoke(both: Linked) -> Side:
    return Side(both, both.spoke_name, both.spoke, both.hub)


@pytest.fixture(scope="module")
def workspace(both: Linked) -> uuid.UUID:
    return a_workspace(both)


@pytest.mark.parametrize(("side", "refused"), [("at_hub", "nor here"), ("at_spoke", "nor there")], ids=["hub", "spoke"])
def test_what_waited_is_told_when_it_comes_and_when_it_is_taken(
    request: pytest.FixtureRequest, both: Linked, workspace: uuid.UUID, side: str, refused: str
) -> None:
    at: Side = request.getfixturevalue(side)
    key = a_teller(both, at.other, workspace, name="welcome")
    known = len(at.entries(key))
    put(at.other, "storytellers", key, name=refused)
    at.waits(1)
    put(at.other, "storytellers", key, bio="waits with it")
    at.waits(2)
    put(at.other, "storytellers", key, name="better")
    until(lambda: not at.parked())
    found = at.entries(key)[known:]
    events = [one for one in found if one["kind"] == "event" and one["outcome"] != "echo"]
    assert [one["outcome"] for one in events] == ["parked", "queued", "applied"]
    places = [[one["topic"], one["partition"], one["offset"]] for one in events]
    changes = [(one["outcome"], one["details"]) for one in found if one["kind"] == "change"]
    assert changes == [("redriven", {"judged": "applied", "events": places[:2]})]
    assert value(at.connection, "storytellers", "name", key) == "better"


def test_what_a_rule_has_decided_of_events_that_waited_stands_with_their_redrive(
    both: Linked, at_hub: Side, workspace: uuid.UUID
) -> None:
    key = a_teller(both, both.hub, workspace, name="welcome")
    put(both.spoke, "storytellers", key, name="nor here")
    at_hub.waits(1)
    put(both.hub, "storytellers", key, name="of the hub")
    both.rest()
    done = both.site.placemat("dlq", "redrive", "--all", "--target", both.hub_target)
    assert done.code == 0, done.err
    until(lambda: not at_hub.parked())
    found = at_hub.entries(key)
    (waited,) = [one for one in found if one["outcome"] == "parked"]
    (redriven,) = [one for one in found if one["outcome"] == "redriven"]
    [number] = both.hub.execute("SELECT id FROM placemat.conflict_log WHERE field = 'name'").fetchone() or [0]
    assert (redriven["rule"], redriven["conflict"]) == ("latest", str(number))
    assert redriven["details"] == {
        "judged": "conflict",
        "resolution": "keep_local",
        "events": [[waited["topic"], waited["partition"], waited["offset"]]],
    }
    shown = both.site.placemat("history", "storytellers", str(key), "--source", both.spoke_name, "--json")
    told = {one["offset"]: one["targets"][both.hub_target] for one in json.loads(shown.out)["versions"]}
    assert told[waited["offset"]] == {"outcome": "redriven", "detail": "rule latest"}
