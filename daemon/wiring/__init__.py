"""Where concrete parts are named: which class captures, which applies, and how a target is asked how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from daemon.both_ways import OBSERVER
from daemon.config.settings import Settings
from daemon.database import connect, unreachable
from daemon.errors import OperatorError
from daemon.routes import routings, source_masks

if TYPE_CHECKING:
    from connectors.conflicts import Rulings, Waitlist
    from connectors.contract import Destination, Outbox, ReplayTarget
    from connectors.event_outcomes import OutcomesOf
    from connectors.linking import LinkHub, LinkSpoke
    from connectors.postgres.answers import Answers
    from connectors.postgres.dead_letters import DeadLetters
    from connectors.postgres.pauses import Pauses
    from connectors.postgres.put_back import PutBack
    from connectors.postgres.two_way.refusals import Way
    from connectors.restoring import RestoreTarget
    from daemon.history.rebuild import Rebuilt
    from daemon.history.restore import Task as RestoreTask
    from daemon.observe.measure import ReadProgress
    from daemon.supervisor import Worker


def worker_names(settings: Settings) -> list[str]:
    """Every worker that the configuration calls for."""
    return [
        *(f"capture:{name}" for name in settings.sources),
        *(f"apply:{name}" for name in settings.targets),
        *(f"{kind}:{name}" for name in settings.services for kind in ("push", "fetch")),
        *(["webhooks"] if settings.told_by else []),
        *(f"audit:{name}" for name in settings.targets if audited(settings, name)),
        *(f"notify:{hub}" for hub in settings.hubs if settings.notify.wanted),
    ]


def audited(settings: Settings, target: str) -> bool:
    """Whether what becomes of events at a target is entered into the audit log; an observer changes nothing."""
    return settings.audit.enabled and not settings.observes(target)


def choose(settings: Settings, wanted: Sequence[str]) -> list[str]:
    """Names as a person gives them: `capture:primary`, or `capture` for all of a kind; none means every worker.

    Raises OperatorError (exit code 2) for a name that is none.
    """
    known = worker_names(settings)
    for name in wanted:
        if name not in known and name not in ("capture", "apply", "push", "fetch", "webhooks", "audit", "notify"):
            raise OperatorError(f"There is no worker {name}.", f"Choose one of: {', '.join(known)}.", exit_code=2)
    return [name for name in known if not wanted or name in wanted or name.partition(":")[0] in wanted]


def workers(settings: Settings, names: Sequence[str]) -> list[Worker]:
    """Build the named workers."""
    return [_worker(settings, kind, name) for kind, _, name in (worker.partition(":") for worker in names)]


def _worker(settings: Settings, kind: str, name: str) -> Worker:
    if kind == "capture":
        from daemon.capture.worker import CaptureWorker

        return CaptureWorker(settings, name)
    if kind == "audit":
        from daemon.audit.worker import AuditWorker

        return AuditWorker(settings, name, lambda: outbox(settings, name))
    if kind == "notify":
        from daemon.notify.worker import NotifyWorker

        return NotifyWorker(settings, name, conflicts)
    if kind == "push":
        from daemon.wiring.services import push_worker

        return push_worker(settings, name)
    if kind == "fetch":
        from daemon.wiring.services import fetch_worker

        return fetch_worker(settings, name)
    if kind == "webhooks":
        from daemon.wiring.webhooks import webhooks_worker

        return webhooks_worker(settings)
    from connectors.postgres.sink import PostgresSink
    from daemon.apply.worker import ApplyWorker

    return ApplyWorker(settings, name, PostgresSink)


def prepare_target(settings: Settings, name: str) -> list[OperatorError]:
    """Make the sink's tables in a target, and compare its tables with the source's; every fault found.

    Raises OperatorError when one of the two databases cannot be reached, or the sink's tables cannot be made.
    """
    from connectors.postgres import bookkeeping, conditions, preflight
    from connectors.postgres.two_way import preflight as two_way

    target, role = settings.targets[name], settings.role(name)
    routes, masks = routings(settings, name), source_masks(settings, target.source)
    with (
        connect(target.url.get_secret_value(), f"Target {name}", f"targets.{name}.url") as ours,
        connect(
            settings.sources[target.source].url.get_secret_value(),
            f"Source {target.source}",
            f"sources.{target.source}.url",
        ) as theirs,
    ):
        with ours.transaction():
            bookkeeping.install(ours)
            conditions.remember(theirs, ours, target.source, routes)
        if role is not None and settings.observes(name):
            return list(two_way.check_hub(ours, name, role.hub, routes))
        both = {table: routes[table] for table, route in target.tables.items() if route.both_ways}
        return [
            *preflight.check(theirs, ours, name, routes, masks, may_be_empty=target.source in settings.services),
            *two_way.check(theirs, ours, name, target.source, both, masks),
        ]


def progress_reader(settings: Settings, name: str) -> ReadProgress:
    """What asks a target how far it is."""
    from connectors.postgres.mirror.progress import MirrorProgress
    from connectors.postgres.progress import ProgressReader

    target = settings.targets[name]
    reader = MirrorProgress if name in settings.services else ProgressReader
    return reader(target.url.get_secret_value(), target.source)


def outbox(settings: Settings, name: str) -> Outbox:
    """What a target tells of the events that it has taken. Nothing is connected before it is asked."""
    from connectors.postgres.outbox import PostgresOutbox

    target = settings.targets[name]
    return PostgresOutbox(target.url.get_secret_value(), name, target.source)


def restart_target(settings: Settings, name: str, era: int, ends: Mapping[str, list[int]]) -> None:
    """Let a target go on from these ends of its source's topics, in a new era. Raises OperatorError when it is away."""
    from connectors.postgres.restart import restart
    from schemas.position import in_era
    from schemas.topics import messages_topic, table_topic, transactions_topic

    target = settings.targets[name]
    spine = transactions_topic(target.source)
    wanted = {spine, *(table_topic(target.source, *table.split(".", 1)) for table in target.needed)}
    if settings.role(name) is not None:
        wanted.add(messages_topic(target.source))
    ends = {topic: each for topic, each in ends.items() if topic in wanted}
    with connect(target.url.get_secret_value(), f"Target {name}", f"targets.{name}.url") as connection:
        restart(connection, target.source, in_era(era, 0), spine, ends)


@contextmanager
def dead_letters(settings: Settings, name: str) -> Iterator[DeadLetters]:
    """Keys that a target, or the service behind it, has refused. Raises OperatorError when it cannot be reached."""
    from connectors.postgres.dead_letters import DeadLetters
    from connectors.postgres.mirror.dead_letters import MirrorDeadLetters

    target = settings.targets[name]
    with connect(target.url.get_secret_value(), f"Target {name}", f"targets.{name}.url") as connection:
        if name in settings.services:
            yield MirrorDeadLetters(connection, name, target.source, settings.services[name].mirrored())
        else:
            yield DeadLetters(connection, name, target.source)


@contextmanager
def conflicts(settings: Settings, hub: str) -> Iterator[tuple[Rulings, Waitlist]]:
    """The rows of a hub for those who decide, and what waits there. Raises OperatorError when it cannot be reached."""
    from connectors.contract import Destination
    from connectors.postgres.session import translated
    from connectors.postgres.two_way.ruling import HubRulings
    from connectors.postgres.two_way.waiting import HubWaitlist

    name = settings.hubs[hub]
    url = settings.targets[name].url.get_secret_value()
    connect(url, f"Hub {hub}", f"targets.{settings.brings(hub)}.url").close()
    with (
        translated(name, "refuses what placemat keeps there", "Run: placemat init", lambda: None),
        closing(HubRulings(Destination(name, url, hub, routings(settings, name)), hub)) as rulings,
    ):
        yield rulings, HubWaitlist(rulings.connection, _ways(settings, hub))


def _ways(settings: Settings, hub: str) -> Iterator[Way]:
    """How the changes of a hub's spokes come to it."""
    from connectors.postgres.two_way.refusals import Way

    for name, target in settings.targets.items():
        role = settings.role(name)
        if role is not None and role.kind == "hub" and role.hub == hub:
            routes = routings(settings, name)
            yield Way(name, role.spoke, {table: routes[table] for table, one in target.tables.items() if one.both_ways})


def replay_target(settings: Settings, name: str) -> ReplayTarget:
    """A target as `placemat replay` writes it. Nothing is connected before `open`.

    Raises OperatorError (exit code 2) for one that brings a spoke's changes to the hub.
    """
    from connectors.contract import Destination
    from connectors.postgres.replay import PostgresReplay
    from daemon.apply.two_way import two_way

    target, role = settings.targets[name], settings.role(name)
    if role is not None and role.kind != "spoke":
        raise OperatorError(
            f"Target {name} brings to {role.hub} what was changed elsewhere, and each change was judged when it came.",
            f"Name the target that {role.hub} gives its rows to.",
            exit_code=2,
        )
    url, routes, mirror = target.url.get_secret_value(), routings(settings, name), name in settings.services
    destination = Destination(name, url, target.source, routes, both_ways=two_way(settings, name), mirror=mirror)
    if not mirror:
        return PostgresReplay(destination)
    from daemon.wiring.services import replay

    return replay(settings, destination)


@contextmanager
def link_sides(settings: Settings, spoke: str) -> Iterator[tuple[LinkHub, LinkSpoke]]:
    """The hub, and a target that goes both ways. Raises as `connectors.linking.LinkSide` does."""
    from connectors.postgres.two_way.linking import PostgresLinkSide
    from connectors.postgres.two_way.linking_spoke import PostgresLinkSpoke
    from daemon.wiring.services import link_spoke

    target = settings.targets[spoke]
    observer = settings.targets[OBSERVER.format(hub=target.source)]
    hub_times = {table: route.updated_at for table, route in observer.tables.items() if route.updated_at}
    times = {
        table: route.columns.get(route.updated_at, route.updated_at)
        for table, route in target.tables.items()
        if route.updated_at
    }
    both = _both_ways(settings, spoke)
    with ExitStack() as stack:
        hub = PostgresLinkSide(_both_ways(settings, settings.brings_back(spoke)), hub_times)
        ours = stack.enter_context(closing(hub))
        if spoke in settings.services:
            theirs: LinkSpoke = stack.enter_context(link_spoke(settings, spoke, PostgresLinkSide(both, {})))
        else:
            theirs = stack.enter_context(closing(PostgresLinkSpoke(both, times)))
        yield ours, theirs


def _both_ways(settings: Settings, name: str) -> Destination:
    from connectors.contract import Destination
    from daemon.apply.two_way import two_way

    target, routes = settings.targets[name], routings(settings, name)
    both = two_way(settings, name)
    return Destination(name, target.url.get_secret_value(), target.source, routes, both_ways=both)


@contextmanager
def pauses(settings: Settings, name: str) -> Iterator[Pauses]:
    """The paused tables of a target. Raises OperatorError when it cannot be reached."""
    from connectors.postgres.pauses import Pauses

    target = settings.targets[name]
    with connect(target.url.get_secret_value(), f"Target {name}", f"targets.{name}.url") as connection:
        named = {table: {one.table for one in route.referred().values()} for table, route in target.tables.items()}
        yield Pauses(connection, name, target.source, named)


@contextmanager
def outcomes(settings: Settings, source: str, table: str) -> Iterator[dict[str, OutcomesOf | str]]:
    """Every target that has a route for this table of a source: what tells its outcomes, or why it cannot be asked.

    Raises OperatorError when the audit log is kept and the state database does not answer.
    """
    from connectors.postgres.bookkept import BookkeptOutcomes
    from daemon.audit import chain
    from daemon.audit.outcomes import AuditedOutcomes

    found: dict[str, OutcomesOf | str] = {}
    with ExitStack() as stack:
        audited, url = settings.audit.enabled, settings.state.url.get_secret_value()
        log = stack.enter_context(chain.opened(url)) if audited else None
        for name, target in settings.targets.items():
            if target.source != source or table not in target.tables:
                continue
            try:
                connection = connect(target.url.get_secret_value(), f"Target {name}", f"targets.{name}.url")
                kept = BookkeptOutcomes(stack.enter_context(connection), name, source)
                found[name] = kept if log is None else AuditedOutcomes(log, name, kept)
            except OperatorError as error:
                found[name] = str(error)
        yield found


def write_rebuilt(settings: Settings, rebuilt: Rebuilt, into: str) -> list[str]:
    """Write rows of the past as a table of the source's database; the columns that it has not got any more.

    Raises OperatorError when no role may write there, or it does not take them.
    """
    from connectors.contract import Expected
    from connectors.postgres.rebuilt import write_table
    from daemon.history.shape import content
    from daemon.restore_url import restore_url

    found = restore_url(settings, rebuilt.source)
    masked = source_masks(settings, rebuilt.source).get(rebuilt.table, {})
    rows = ([Expected(row.key, content(row)) for row in chunk] for chunk in rebuilt.known())
    what = f"The source {rebuilt.source}"
    return write_table(found.url, what, rebuilt.table, into, rebuilt.columns, masked, rows)


def restore_target(settings: Settings, task: RestoreTask) -> RestoreTarget:
    """A source's database as `placemat restore` writes it. Nothing is connected before `open`.

    Raises OperatorError (exit code 2) when no role may write there; a dry run needs none.
    """
    from connectors.postgres.restoring import PostgresRestore
    from daemon.history.restore import scopes
    from daemon.restore_url import restore_url

    source = task.question.source
    try:
        url = restore_url(settings, source).url
    except OperatorError:
        if not task.dry_run:
            raise
        url = settings.sources[source].url.get_secret_value()
    deletes = task.delete_newer and not task.dry_run
    return PostgresRestore(url, source, scopes(settings, task), deletes=deletes, reading=task.dry_run)


@contextmanager
def answers(settings: Settings, name: str) -> Iterator[Answers]:
    """The deletes of a target that wait for an operator. Raises OperatorError when it cannot be reached."""
    from connectors.postgres.answers import Answers

    target = settings.targets[name]
    with connect(target.url.get_secret_value(), f"Target {name}", f"targets.{name}.url") as connection:
        yield Answers(connection, name, target.source)


@contextmanager
def put_back(settings: Settings, name: str, by: str) -> Iterator[PutBack]:
    """What puts rows of a target back into its source, in the name of `by`.

    Raises OperatorError when one of the two cannot be reached, or no role is known that may write to the source.
    """
    from connectors.postgres.put_back import PutBack
    from connectors.postgres.session import open_session, translated
    from daemon.restore_url import restore_url

    target = settings.targets[name]
    source, (url, setting) = target.source, restore_url(settings, target.source)
    application = f"placemat put back {name}"
    with ExitStack() as stack:
        opened = []
        for place, where, what in (
            (target.url.get_secret_value(), f"targets.{name}.url", f"Target {name}"),
            (url, setting, f"Source {source}"),
        ):
            try:
                opened.append(stack.enter_context(closing(open_session(place, application))))
            except psycopg.Error as error:
                raise unreachable(error, what, where) from None
        stack.enter_context(translated(name, "refuses what placemat keeps there", "Run: placemat init", lambda: None))
        masked = source_masks(settings, source)
        routes = {
            table: replace(routing, masks={**routing.masks, **masked.get(table, {})})
            for table, routing in routings(settings, name).items()
        }
        yield PutBack(opened[0], opened[1], name, source, routes, by)
