"""A data source that is not, or not any more, what the configuration takes it to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.errors import OperatorError
from connectors.notion.mapping import Difference, EntityMapping, Property, bind


def changed(mapping: EntityMapping, schema: Sequence[Property], sources: Mapping[str, str]) -> list[Difference]:
    """What people have changed in a data source since it was found to be so; what was only renamed is the same.

    `sources` are the data sources of tables. Pure.
    """
    now, wrong = bind(replace(mapping.entity, pinned=mapping.pins), schema, sources)
    if now is None or wrong:
        return wrong
    before = {one.column: (one.there.id, one.there.type) for one in mapping.bound}
    replaced = [one for one in now.bound if (one.there.id, one.there.type) != before[one.column]]
    found: list[tuple[str | None, str]] = [(one.column, one.there.name) for one in replaced]
    if now.key.id != mapping.key.id:
        found.append((None, now.key.name))
    return [
        Difference(
            mapping.entity.table, column, f"The property {name} of {mapping.entity.table} is another one than it was.",
            "See in Notion that its values are right.",
        )
        for column, name in found
    ]  # fmt: skip


def shows_all(mapping: EntityMapping, page: Mapping[str, Any]) -> bool:
    """Whether a page has every property of the entity, each of the type that it had. Pure."""
    types = {one["id"]: one["type"] for one in page["properties"].values()}
    return all(types.get(one.id) == one.type for one in (mapping.key, *(bound.there for bound in mapping.bound)))


def mismatch(wrong: Iterable[Difference], target: str) -> OperatorError:
    said = list(wrong)
    sentences = " ".join(one.sentence for one in said)
    advice = " ".join(dict.fromkeys(one.advice for one in said))
    return OperatorError(
        f"Target {target} does not fit what is in Notion. {sentences}", f"{advice} Then start its workers again."
    )
