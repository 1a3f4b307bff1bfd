"""No worker of the audit log is at work meanwhile: each publishes heads with the key that it has read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from daemon.audit import chain
from daemon.audit.ledger import turn
from daemon.config.settings import Settings
from daemon.errors import OperatorError
from daemon.state import engine as state
from daemon.state import workers

_RELAYS = "SELECT target FROM placemat.audit_relays"


@contextmanager
def standstill(settings: Settings) -> Iterator[None]:
    """Every relay's turn is taken, also of targets that are configured no more. Raises OperatorError when one is at
    work, or waits for its turn."""
    url = settings.state.url.get_secret_value()
    with state.opened(url) as engine:
        at_work = {
            row.name.removeprefix("audit:")
            for row in workers.read(engine)
            if row.name.startswith("audit:") and row.alive and row.state not in ("stopped", "failed")
        }
    with chain.opened(url) as connection:
        known = {target for (target,) in connection.execute(_RELAYS).fetchall()}
        for target in sorted(known | set(settings.targets)):
            with turn(connection, target) as ours:
                at_work |= set() if ours else {target}
        if at_work:
            names = ", ".join(f"audit:{target}" for target in sorted(at_work))
            raise OperatorError(
                f"At work: {names}; heads would be published with the key of before.",
                "Stop what runs there (placemat run audit), repeat this, and start it again. What was killed is taken"
                f" for gone after {workers.SILENT_AFTER_SECONDS} seconds.",
            )
        yield
