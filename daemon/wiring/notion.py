"""How Notion is opened for a target (`daemon.wiring.services.Kind`)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from daemon.config.settings import Settings
from daemon.database import connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.hooks import Hooks
    from connectors.notion.client import NotionClient
    from connectors.notion.fields import Entity
    from connectors.notion.source import NotionSource
    from daemon.config.notion import NotionTarget


@contextmanager
def service(settings: Settings, name: str, stop: threading.Event) -> Iterator[NotionSource]:
    """See `Kind`."""
    from connectors.notion.opening import open_service
    from connectors.postgres.mirror import property_pins

    def pin(found: property_pins.Pins) -> None:
        with _mirror_of(settings, name) as connection:
            property_pins.keep(connection, found)

    with client(settings, name, stop) as found:
        yield open_service(found, _entities(settings, name), name, pin)


def differences(settings: Settings, name: str) -> list[tuple[str, str | None, str, str]]:
    """See `Kind`."""
    from connectors.notion.opening import bound

    with client(settings, name, threading.Event()) as found:
        _, wrong = bound(found, _entities(settings, name), name)
    return [(one.table, one.column, one.sentence, one.advice) for one in wrong]


def hooks(settings: Settings, name: str) -> Hooks:
    """See `Kind`."""
    from connectors.notion.hooks import NotionHooks

    entities = _target(settings, name).entities.values()
    return NotionHooks({one.table: one.data_source for one in entities if one.both_ways})


@contextmanager
def client(settings: Settings, name: str, stop: threading.Event) -> Iterator[NotionClient]:
    """Notion, with the pace and the token of a target."""
    from connectors.http.client import Bounds, HttpClient
    from connectors.http.pacing import Pacing
    from connectors.http.quota import Limit, Quota
    from connectors.notion.client import NotionClient
    from connectors.notion.dialect import NotionDialect
    from daemon.state import engine as state
    from daemon.state.quotas import Quotas
    from daemon.state.tokens import Tokens
    from daemon.wiring.authorizing import bearer

    target = _target(settings, name)
    with ExitStack() as stack:
        engine = stack.enter_context(state.opened(settings.state.url.get_secret_value()))
        tokens = None if target.auth.kind == "token" else Tokens(engine, settings.state.token_keys())
        quota = Quota((Limit(target.requests_per_minute, 60.0),))
        http = HttpClient(
            target.base_url, NotionDialect(), connection=name, auth=bearer(target.auth, name, tokens),
            pacing=Pacing(Quotas(engine), name, quota, stop), headers={"Notion-Version": target.version},
            bounds=Bounds(connections=target.concurrency),
        )  # fmt: skip
        yield NotionClient(stack.enter_context(closing(http)))


def _entities(settings: Settings, name: str) -> Sequence[Entity]:
    """What the room is told of the entities, with the types of their columns as the mirror has them."""
    from connectors.mirroring import wanted_table
    from connectors.notion.fields import Entity, Field
    from connectors.postgres.bookkeeping import prepared
    from connectors.postgres.mirror import property_pins
    from connectors.postgres.shape import read_types

    target = _target(settings, name)
    tables = {one: entity.table for one, entity in target.entities.items()}
    found = []
    with _mirror_of(settings, name) as connection, prepared(name):
        pins = property_pins.read(connection)
        for entity in target.entities.values():
            types = {column: type_ for column, (type_, _) in read_types(connection, wanted_table(entity.table)).items()}
            fields = tuple(
                Field(
                    column, one.property, one.direction, None if one.relation is None else tables[one.relation],
                    one.options, one.zone,
                )
                for column, one in entity.fields.items()
            )  # fmt: skip
            found.append(
                Entity(
                    entity.table, entity.data_source, entity.sync_key, fields, entity.both_ways, types,
                    pins.get(entity.table, {}),
                )
            )  # fmt: skip
    return found


def _mirror_of(settings: Settings, name: str) -> psycopg.Connection[Any]:
    """Raises OperatorError when it cannot be reached."""
    url = settings.services[name].url.get_secret_value()
    return connect(url, f"The mirror of target {name}", f"targets.{name}.url")


def _target(settings: Settings, name: str) -> NotionTarget:
    from daemon.config.notion import NotionTarget

    target = settings.targets[name]
    assert isinstance(target, NotionTarget), "its kind says so"
    return target
