"""Where services are named: which room speaks with which, and how its mirror is worked from."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from daemon.apply.two_way import rules_of
from daemon.config.settings import Settings
from daemon.database import connect
from daemon.errors import OperatorError, Unavailable
from daemon.routes import routings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.contract import Destination, ReplayTarget
    from connectors.fetching import Stray
    from connectors.linking import LinkSide, LinkSpoke
    from connectors.notion.client import NotionClient
    from connectors.notion.fields import Entity
    from connectors.notion.source import NotionSource
    from connectors.pushing import Key, Mirror
    from daemon.config.notion import NotionTarget
    from daemon.push.preview import Preview
    from daemon.reconcile.report import Difference
    from daemon.reconcile.service_settle import ServiceSide
    from daemon.supervisor import Worker


def push_worker(settings: Settings, name: str, clock: Callable[[], float] = time.monotonic) -> Worker:
    """The worker that tells a service what waits in its mirror."""
    from daemon.push.worker import PushWorker

    target = settings.services[name]
    return PushWorker(
        name, lambda: _mirror(settings, name), lambda stop: service(settings, name, stop),
        target.mirrored(), rules_of(settings, name), target.concurrency, clock,
    )  # fmt: skip


def fetch_worker(settings: Settings, name: str) -> Worker:
    """The worker that reads what a service has."""
    from connectors.postgres.mirror.fetch_store import FetchStore
    from daemon.fetch.worker import FetchWorker

    target = settings.services[name]
    return FetchWorker(
        name, lambda: FetchStore(_destination(settings, name), target.mirrored()),
        lambda stop: service(settings, name, stop), target.mirrored(), target.poll_seconds, target.sweep_seconds,
    )  # fmt: skip


def differences(settings: Settings, name: str) -> list[tuple[str, str | None, str, str]]:
    """Where a service is not as the configuration takes it to be: table, column, a sentence, and what to do.

    Raises OperatorError when it does not let us in, and Unavailable when it does not answer.
    """
    from connectors.notion.opening import bound

    with notion(settings, name, threading.Event()) as client:
        _, wrong = bound(client, notion_entities(settings, name), name)
    return [(one.table, one.column, one.sentence, one.advice) for one in wrong]


def preview(settings: Settings, name: str) -> Iterator[tuple[str, Iterator[Preview]]]:
    """By table, what telling the service would come to. Raises as `service` does."""
    from daemon.push import preview as previews
    from daemon.push.forms import Forms

    tables = {one.table: one for one in settings.services[name].mirrored()}
    with service(settings, name, threading.Event()) as found, closing(_mirror(settings, name)) as mirror:
        mirror.open()
        forms = Forms(mirror, found, tables)
        for table in tables:
            records, keyless = previews.records(found, forms, table)
            yield table, previews.preview(forms, table, mirror.wanted(table), records, keyless)


@contextmanager
def side(settings: Settings, name: str) -> Iterator[ServiceSide]:
    """A service and its mirror, to be compared. Raises OperatorError where one of them does not answer."""
    from daemon.reconcile.service_settle import ServiceSide

    tables = {one.table: one for one in settings.services[name].mirrored()}
    try:
        with service(settings, name, threading.Event()) as found, closing(_mirror(settings, name)) as mirror:
            mirror.open()
            yield ServiceSide(mirror, found, tables)
    except Unavailable as error:
        raise OperatorError(f"Target {name} does not answer: {error}.", "Run the same again when it does.") from None


def replay(settings: Settings, destination: Destination) -> ReplayTarget:
    """A service, with its mirror, as `placemat replay` writes it. Nothing is connected before `open`."""
    from connectors.postgres.mirror.replay import MirrorReplay
    from daemon.progress import Tracker
    from daemon.reconcile.service_differences import service_differences
    from daemon.reconcile.verify import STALL_SECONDS
    from daemon.recover.service import ServiceReplay
    from daemon.state import engine as state
    from daemon.state import sources

    name = destination.name

    def differences(table: str, keys: Sequence[Key] | None) -> Mapping[Key, Difference]:
        with state.opened(settings.state.url.get_secret_value()) as engine:
            eras = sources.eras(engine)
        return service_differences(
            settings, name, table, keys, eras=eras, services=lambda one: side(settings, one),
            stall_seconds=STALL_SECONDS, tracker=Tracker(None),
        )  # fmt: skip

    return ServiceReplay(MirrorReplay(destination), differences)


def strays(settings: Settings, name: str) -> list[Stray]:
    """Records of a service that hold the key of another's row, and that people have to decide about.

    Raises Unavailable when the mirror does not answer, and OperatorError when it is not prepared.
    """
    from connectors.postgres.mirror.fetch_store import FetchStore

    with closing(FetchStore(_destination(settings, name), settings.services[name].mirrored())) as mirror:
        mirror.open()
        return mirror.strays.left()


@contextmanager
def link_spoke(settings: Settings, name: str, waiting: LinkSide) -> Iterator[LinkSpoke]:
    """A service that is full already. Raises Unavailable and OperatorError, as `service` does."""
    from connectors.postgres.mirror.link_store import LinkStore
    from daemon.link.service import ServiceSpoke

    tables = settings.services[name].mirrored()
    with closing(waiting), service(settings, name, threading.Event()) as found:
        mirror = LinkStore(_destination(settings, name), tables)
        with closing(ServiceSpoke(waiting, mirror, found, name, tables)) as spoke:
            mirror.open()
            yield spoke


def _mirror(settings: Settings, name: str) -> Mirror:
    from connectors.postgres.mirror.store import MirrorStore

    return MirrorStore(_destination(settings, name), settings.services[name].mirrored())


def _destination(settings: Settings, name: str) -> Destination:
    from connectors.contract import Destination

    target = settings.services[name]
    return Destination(
        name, target.url.get_secret_value(), target.source, routings(settings, name), mirror=True,
        audited=settings.audit.enabled,
    )  # fmt: skip


@contextmanager
def service(settings: Settings, name: str, stop: threading.Event) -> Iterator[NotionSource]:
    """A service that was found to be as the configuration takes it to be.

    Raises Unavailable when it does not answer, and OperatorError when it is not, or does not let us in.
    """
    from connectors.notion.opening import open_service
    from connectors.postgres.mirror import property_pins

    def pin(found: property_pins.Pins) -> None:
        with _mirror_of(settings, name) as connection:
            property_pins.keep(connection, found)

    with notion(settings, name, stop) as client:
        yield open_service(client, notion_entities(settings, name), name, pin)


@contextmanager
def notion(settings: Settings, name: str, stop: threading.Event) -> Iterator[NotionClient]:
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

    target = _notion_target(settings, name)
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


def notion_entities(settings: Settings, name: str) -> Sequence[Entity]:
    """What the room is told of the entities, with the types of their columns as the mirror has them."""
    from connectors.mirroring import wanted_table
    from connectors.notion.fields import Entity, Field
    from connectors.postgres.bookkeeping import prepared
    from connectors.postgres.mirror import property_pins
    from connectors.postgres.shape import read_types

    target = _notion_target(settings, name)
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


def _notion_target(settings: Settings, name: str) -> NotionTarget:
    from daemon.config.notion import NotionTarget

    target = settings.targets[name]
    assert isinstance(target, NotionTarget), "the only service so far"
    return target
