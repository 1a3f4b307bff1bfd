"""Meets a workspace for the first time: are its data sources what the configuration takes them to be?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from connectors.errors import OperatorError, Unavailable
from connectors.http.outcome import Answered, Forbidden, Gone, Outcome, Rejected, Unauthorized
from connectors.notion.client import NotionClient, schema
from connectors.notion.differing import mismatch
from connectors.notion.fields import Entity
from connectors.notion.mapping import Difference, EntityMapping, bind
from connectors.notion.source import NotionSource


def bound(
    client: NotionClient, entities: Sequence[Entity], target: str
) -> tuple[dict[str, EntityMapping], list[Difference]]:
    """Every entity with the properties of its data source, by table, and what differs.

    Raises Unavailable when Notion does not answer, and OperatorError when it does not let us see one of them.
    """
    sources = {one.table: one.data_source for one in entities}
    found: dict[str, EntityMapping] = {}
    wrong: list[Difference] = []
    for entity in entities:
        answer = client.data_source(entity.data_source)
        if not isinstance(answer, Answered):
            raise _unseen(answer, entity, target)
        mapping, differences = bind(entity, schema(answer), sources)
        wrong += differences
        if mapping is not None:
            found[entity.table] = mapping
    return found, wrong


def open_service(
    client: NotionClient,
    entities: Sequence[Entity],
    target: str,
    pin: Callable[[Mapping[str, Mapping[str, str]]], None],
) -> NotionSource:
    """`pin` is told by table what the configuration's properties were found to be. Raises as `bound` does, and
    OperatorError that names every difference."""
    found, wrong = bound(client, entities, target)
    if wrong:
        raise mismatch(wrong, target)
    pin({table: one.pins for table, one in found.items()})
    return NotionSource(client, found, target, _bot(client))


def _bot(client: NotionClient) -> str | None:
    """Who we are; None where that is a person, whose own edits nobody could tell from ours.

    Raises Unavailable when Notion does not answer.
    """
    answer = client.me()
    if isinstance(answer, Answered):
        return str(answer.body["id"]) if answer.body.get("type") == "bot" else None
    if isinstance(answer, Gone | Rejected | Forbidden):
        return None
    raise Unavailable(f"Notion does not answer ({type(answer).__name__})")


def _unseen(answer: Outcome, entity: Entity, target: str) -> Exception:
    match answer:
        case Gone() | Rejected():
            return OperatorError(
                f"Target {target} sees no data source {entity.data_source} in Notion, which is to hold {entity.table}.",
                "Share its database with the connection in Notion, and see that the id is that of the data source.",
            )
        case Unauthorized() | Forbidden():
            return OperatorError(
                f"Notion does not let target {target} in.",
                f"Give it a valid token: targets.{target}.auth, or placemat auth login {target}.",
            )
        case _:
            return Unavailable(f"Notion does not answer ({type(answer).__name__})")
