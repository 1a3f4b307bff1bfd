"""At the hub: what the sink asks of the hub's own changes, in the texts that it stores and reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.resolve import wire
from daemon.resolve.observer import observe, settle_link
from daemon.resolve.read import hub_record
from schemas.resolution import RowChange


class HubObserver:
    """See `connectors.contract.Observing`."""

    def observe(
        self, changes: Sequence[RowChange], state: str | None, links: Mapping[str, str]
    ) -> tuple[str, Mapping[str, str]]:
        known = wire.read_state(state)
        seen = {spoke: wire.read_link(link) for spoke, link in links.items()}
        for change in changes:
            record = hub_record(change)
            known = observe(record, known)
            if record.pending is not None:
                seen = {spoke: settle_link(link, record.pending, record.at) for spoke, link in seen.items()}
        return wire.write_state(known), {spoke: wire.write_link(link) for spoke, link in seen.items()}
