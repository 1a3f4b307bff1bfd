"""What `placemat history` says of targets, where an audit log is kept."""

from __future__ import annotations

from collections.abc import Callable

from connectors.event_outcomes import Outcome
from daemon import wiring
from daemon.history.row_history import row_history
from tests.fix_servers import Kafka
from tests.integration.apply_stream import World, insert, running, update
from tests.integration.audit_world import audited, relaying
from tests.integration.past_stream import as_actor
from tests.waiting import until

A = "public.a"
DDL = "CREATE TABLE a (id int PRIMARY KEY, n int CONSTRAINT positive CHECK (n > 0), shown boolean)"


def test_the_audit_log_tells_what_was_applied_filtered_parked_and_redriven(
    kafka_server: Kafka, database_factory: Callable[..., str], state_template: str
) -> None:
    world = World(kafka_server, database_factory("target"), DDL, {A: {"where": "shown = true"}})
    here = audited(world, database_factory("state", state_template))
    wiring.prepare_target(world.settings, world.target)

    def outcomes() -> list[Outcome | None]:
        world.applied_through()
        here.relayed()
        with wiring.outcomes(here.settings, world.source, A) as targets:
            found = row_history(here.settings, world.source, A, "1", targets)
        return [one.outcomes[world.target] for one in found.versions]

    with running(world), relaying(here):
        as_actor(world, "ann", insert(A, {"id": 1, "n": 1, "shown": True}))
        world.applied_through()
        world.stream.transaction(update(A, {"id": 1, "n": -1, "shown": True}))
        applied, parked = outcomes()
        assert (applied, parked and parked.outcome) == (Outcome("applied"), "parked")
        assert parked is not None
        assert "positive" in (parked.detail or "")
        world.run_sql("ALTER TABLE a DROP CONSTRAINT positive")
        world.ask("redrive")
        until(lambda: not world.parked(), what="the key set free")
        world.stream.transaction(update(A, {"id": 1, "n": 2, "shown": False}))
        assert [one and one.outcome for one in outcomes()] == ["applied", "redriven", "filtered"]
