"""Where kinds of services are named, and how a service's mirror is worked from."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, Protocol

from daemon.apply.two_way import rules_of
from daemon.config.settings import Settings
from daemon.errors import OperatorError, Unavailable
from daemon.routes import routings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.contract import Destination, ReplayTarget
    from connectors.fetching import Stray
    from connectors.hooks import Hooks
    from connectors.linking import LinkSide, LinkSpoke
    from connectors.pushing import Key, Mirror
    from connectors.service import Whole
    from daemon.push.preview import Preview
    from daemon.reconcile.report import Difference
    from daemon.reconcile.service_settle import ServiceSide
    from daemon.supervisor import Worker


class Kind(Protocol):
    """What a kind of service brings: a module of this folder, beside its room in `connectors`."""

    def service(self, settings: Settings, name: str, stop: threading.Event) -> AbstractContextManager[Whole]:
        """See `service`."""

    def differences(self, settings: Settings, name: str) -> list[tuple[str, str | None, str, str]]:
        """See `differences`."""

    def hooks(self, settings: Settings, name: str) -> Hooks:
        """Who understands what a service of this kind tells by webhooks."""


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
    return kind(settings, name).differences(settings, name)


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
def service(settings: Settings, name: str, stop: threading.Event) -> Iterator[Whole]:
    """A service that was found to be as the configuration takes it to be.

    Raises Unavailable when it does not answer, and OperatorError when it is not, or does not let us in.
    """
    with kind(settings, name).service(settings, name, stop) as found:
        yield found


def kind(settings: Settings, name: str) -> Kind:
    """How services of a target's kind are opened."""
    from daemon.wiring import notion

    kinds: Mapping[str, Kind] = {"notion": notion}
    return kinds[settings.services[name].kind]
