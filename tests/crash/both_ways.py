"""A pair of databases that go both ways, with people on both sides, and workers in processes that can be killed.

Every edit has a value of its own. A log of each database notes, by trigger, every value that a field came to hold and
who gave it: so it is counted without the daemon's help how often each edit was done on the other side.
"""

from __future__ import annotations

import os
import random
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg

from daemon import seams
from daemon.seams import VARIABLE
from schemas import domain
from tests import forked
from tests.asking import ask
from tests.crash.kills import APPLY_SEAMS, AT_RANDOM, STREAM_SEAMS
from tests.fix_linked import Linked
from tests.people import a_workspace, made
from tests.waiting import until
from tests.working import beside

TELLERS = 40
DEATH_SECONDS = 60.0
AUDIT_SEAMS = (seams.BEFORE_AUDIT_COMMIT, seams.AFTER_AUDIT_COMMIT, seams.AFTER_OUTBOX_DELETED)
SEAMS = {"capture": STREAM_SEAMS, "apply": APPLY_SEAMS, "audit": AUDIT_SEAMS}
LOG = """
CREATE SCHEMA noted;
CREATE TABLE noted.log (seq bigserial, field text, value text, by text);
CREATE FUNCTION noted.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.name IS DISTINCT FROM OLD.name THEN
        INSERT INTO noted.log (field, value, by) VALUES ('name', NEW.name, session_user);
    END IF;
    IF TG_OP = 'INSERT' OR NEW.bio IS DISTINCT FROM OLD.bio THEN
        INSERT INTO noted.log (field, value, by) VALUES ('bio', NEW.bio, session_user);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER noted AFTER INSERT OR UPDATE ON public.storytellers FOR EACH ROW EXECUTE FUNCTION noted.note();
"""


@dataclass(slots=True)
class Pair:
    """`linked` is prepared. Workers are `capture:…` and `apply:…`, each in a process of its own."""

    linked: Linked
    directory: Path
    processes: dict[str, forked.Forked] = field(default_factory=dict)
    keys: list[uuid.UUID] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    given: dict[str, int] = field(default_factory=dict)
    """How many values each side's people have given."""

    @property
    def workers(self) -> list[str]:
        source, spoke, back = self.linked.site.source, self.linked.spoke_name, self.linked.hub_target
        return [
            f"capture:{source}", f"capture:{spoke}", f"apply:{spoke}", f"apply:{back}", f"apply:{source}_observer",
            f"audit:{spoke}", f"audit:{back}",
        ]  # fmt: skip

    def start(self, worker: str, seam: str | None = None) -> forked.Forked:
        environment = {**os.environ, **({VARIABLE: seam} if seam else {})}
        with self.log(worker).open("ab") as log:
            process = forked.spawn(
                ["--config", str(self.linked.site.config), "run", worker], environment, log.fileno(), log.fileno()
            )
        self.processes[worker] = process
        return process

    def log(self, worker: str) -> Path:
        return self.directory / f"{worker.replace(':', '-')}.log"

    def start_dead(self) -> None:
        for worker in self.workers:
            if worker not in self.processes:
                self.start(worker)

    def kill(self, worker: str) -> None:
        process = self.processes.pop(worker)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for worker in list(self.processes):
            self.kill(worker)

    def check(self) -> None:
        """Fails the test when a worker or somebody's edits have ended by themselves."""
        if self.failures:
            raise AssertionError("the edits have ended before their time") from self.failures[0]
        for worker, process in self.processes.items():
            if process.poll() not in (None, -9):
                said = self.log(worker).read_text(errors="replace")[-2_000:]
                raise AssertionError(f"{worker} ended with {process.returncode}: {said}")

    def kill_by_lot(self, rng: random.Random) -> str:
        """Kill one worker, at a seam or at random, while people edit; it stays dead. What was killed, and where."""
        worker = rng.choice(self.workers)
        if rng.random() < 0.4:
            self._edited(rng.randrange(1, 40))
            self.kill(worker)
            return f"{worker} {AT_RANDOM}"
        self.kill(worker)
        seam = rng.choice(SEAMS[worker.partition(":")[0]])
        process = self.start(worker, f"{seam}:{rng.randrange(1, 12)}")
        until(lambda: self._dead(process), DEATH_SECONDS, what=f"{worker} dead at {seam}")
        self.kill(worker)
        return f"{worker} {seam}"

    def _edited(self, more: int) -> None:
        """Wait until people have made so many more edits: something is on its way."""
        enough = sum(self.given.values()) + more
        until(lambda: self.failures or sum(self.given.values()) >= enough, DEATH_SECONDS, what="edits")
        self.check()

    def _dead(self, process: forked.Forked) -> bool:
        self.check()
        return process.poll() is not None

    # People

    def populate(self) -> None:
        """Rows that both sides have."""
        teller = {"workspace_id": a_workspace(self.linked), "name": "made", "bio": "made"}
        self.keys = [made(self.linked.hub, "storytellers", **teller) for _ in range(TELLERS)]
        self.linked.rest(60)

    @contextmanager
    def people(self, seed: int, rate: float) -> Iterator[None]:
        """Somebody edits on each side for as long as the block runs, at about so many edits a second."""
        sides = {"hub": self.linked.site.primary, "spoke": self.linked.site.ledger}
        works = [partial(self._edit, name, url, random.Random(f"{seed} {name}"), rate) for name, url in sides.items()]
        with beside(*works):
            yield
        self.check()

    def _edit(self, name: str, url: str, rng: random.Random, rate: float, stop: threading.Event) -> None:
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                while not stop.wait(rng.expovariate(rate)):
                    number = self.given.get(name, 0) + 1
                    column = rng.choice(("name", "bio"))
                    statement = f"UPDATE storytellers SET {column} = %s WHERE id = %s"
                    with suppress(psycopg.errors.DeadlockDetected):
                        connection.execute(statement.encode(), [f"{name} {number}", rng.choice(self.keys)])
                        self.given[name] = number
        except BaseException as error:  # noqa: BLE001 handed to the test
            self.failures.append(error)


def done_twice(url: str, by: str = domain.APPLY) -> list[tuple[str, int]]:
    """Values that the daemon has given to a field of this database more than once."""
    return ask(
        url,
        "SELECT value, count(*) FROM noted.log WHERE by = %s AND value <> 'made' GROUP BY value HAVING count(*) > 1",
        [by],
    )


def unseen(pair: Pair) -> Sequence[str]:
    """Values given in the spoke that neither came to stand in the hub, nor were listed as lost there."""
    taken = {value for (value,) in ask(pair.linked.site.primary, "SELECT value FROM noted.log")}
    lost = {
        value for (value,) in ask(pair.linked.site.primary, "SELECT theirs::jsonb #>> '{}' FROM placemat.conflict_log")
    }
    given = {f"spoke {number}" for number in range(1, pair.given.get("spoke", 0) + 1)}
    return sorted(given - taken - lost)
