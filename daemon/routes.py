"""Routes as the configuration has them, made into what sinks work with."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.contract import Parent, Routing
from connectors.route import masks
from connectors.route.condition import parse
from daemon.config import masking
from daemon.config.settings import Settings


def routings(settings: Settings, target: str) -> dict[str, Routing]:
    """The routes of a target by table. Raises OperatorError (exit code 2) when the key of a hash is missing."""
    return {
        table: Routing(
            local=frozenset(route.local),
            truncate=route.truncate,
            table=route.table,
            columns=route.columns,
            exclude=frozenset(route.exclude),
            only=None if route.only is None else frozenset(route.only),
            constants=route.constants,
            masks=read_masks(settings, route.masks),
            where=parse(route.where) if route.where is not None else None,
            parents={
                tuple(path.split(".")): Parent(parent.table, parent.column) for path, parent in route.referred().items()
            },
        )
        for table, route in settings.targets[target].tables.items()
    }


def source_masks(settings: Settings, source: str) -> dict[str, dict[str, masks.Mask]]:
    """What a source masks, by table and column. Raises OperatorError as `routings` does."""
    return {table: read_masks(settings, found) for table, found in settings.sources[source].masks.items()}


def read_masks(settings: Settings, wanted: Mapping[str, masking.Mask]) -> dict[str, masks.Mask]:
    """Raises OperatorError (exit code 2) when the key of a hash is missing."""
    return {column: _mask(settings, mask) for column, mask in wanted.items()}


def _mask(settings: Settings, mask: masking.Mask) -> masks.Mask:
    match mask:
        case "drop":
            return masks.Drop()
        case "hash":
            return masks.Hash(masks.hash_key(settings.masking.secret()))
        case masking.Truncated(truncate=length):
            return masks.Truncate(length)
        case masking.Fixed(constant=value):
            return masks.Constant(value)
