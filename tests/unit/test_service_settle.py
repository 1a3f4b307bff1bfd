"""Rows of a service that do not match: what may be on its way is no difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from connectors.mirroring import Mirrored
from connectors.pushing import Due, Key, Lease, Linked
from connectors.service import Done, Remote
from daemon.progress import Tracker
from daemon.push.forms import Forms
from daemon.reconcile.report import TableReport
from daemon.reconcile.service_settle import ServiceSettler, ServiceSide
from schemas.resolution import Fields

TABLE = Mirrored("public.projects", "id", ("name",), seen=False)
WAITS, NEW = (Key(TABLE.table, f'{{"id":"{name}"}}') for name in ("waits", "new"))
ROW: Fields = {"name": '"Garden"'}


@dataclass
class Hub:
    """One row waits to be told for some looks; the other has its record, and the hub has it after one round."""

    looks: int = 0
    rounds: int = 0
    before: str = "Garden"
    """What the record shows of the one as long as it waits."""

    def queued(self, _keys: Sequence[Key]) -> dict[Key, int | None]:
        self.looks += 1
        return {WAITS: None} if self.looks < 4 else {}

    def load(self, leases: Sequence[Lease]) -> list[Due]:
        wanted = {WAITS: ROW, NEW: ROW if self.rounds else None}
        return [
            Due(one, wanted[one.key], None, Linked("r", alive=True), None, [], None) for one in leases
        ]  # fmt: skip

    def canonical(self, _table: str, rows: Sequence[Mapping[str, Any]]) -> list[Fields]:
        return [{name: f'"{value}"' for name, value in row.items()} for row in rows]

    def references(self, *_: object) -> set[tuple[str, str]]:
        return set()

    def shown(self, *_: object) -> Mapping[str, Any]:
        return {"name": "Garden"}

    def read(self, *_: object) -> Done:
        return Done(Remote("r", "1", {"name": self.before if self.looks < 4 else "Garden"}, None, 0))

    def go_round(self) -> bool:
        self.rounds += 1
        return True


def settled(hub: Hub, *keys: Key) -> tuple[TableReport, ServiceSettler]:
    side = ServiceSide(cast("Any", hub), cast("Any", hub), {TABLE.table: TABLE})
    forms = Forms(cast("Any", hub), cast("Any", hub), side.tables)
    report = TableReport(TABLE.table, 2, 2)
    settler = ServiceSettler(
        "notion", side, forms, Tracker(None), lambda *_: None, hub.go_round, stall_seconds=60, show_values=False
    )
    settler.settle(report, keys)
    return report, settler


def test_a_row_is_no_difference_before_all_that_was_on_its_way_has_come_round() -> None:
    hub = Hub()
    report, settler = settled(hub, WAITS, NEW)
    assert (report.differences, settler.stalled) == (0, False)
    assert hub.looks > 3, "as long as one waited"


def test_what_waits_to_be_told_is_no_difference() -> None:
    report, settler = settled(Hub(before="Orchard"), WAITS)
    assert (report.differences, settler.stalled) == (0, False)
