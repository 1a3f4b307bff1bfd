"""`placemat conflicts`: what waits for a person where tables go both ways, and what they decide."""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import typer

from daemon.cli import conflict_view as view
from daemon.cli.conflict_wish import Asked
from daemon.cli.context import settings as read_settings
from daemon.cli.output import Json, say, write_json
from daemon.errors import OperatorError, Unavailable

if TYPE_CHECKING:
    from connectors.conflicts import Done, Filter, Key, Order, Waiting
    from daemon.conflicts.desk import Before, Desk, Shown

app = typer.Typer(help="What waits for a person's decision.", no_args_is_help=True, rich_markup_mode=None)

Id = Annotated[int, typer.Argument(metavar="ID", help="Number as placemat conflicts list shows it.")]
Target = Annotated[str | None, typer.Option(help="Only those with this spoke.")]
Table = Annotated[str | None, typer.Option(help="Only those of this table, as the hub names it.")]
Field = Annotated[str | None, typer.Option(help="Only those in which this field waits.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Try it, show what each side would have, and write nothing.")]
Reason = Annotated[str | None, typer.Option(help="Kept with the decision.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; else the user of this system.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait until the hub's own changes are known.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    target: Target = None,
    table: Table = None,
    field: Field = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that rules have decided, newest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Most that are shown of each.")] = 100,
    before: Annotated[int | None, typer.Option(help="Of those that rules have decided, the ones before this.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what waits, oldest first."""
    with _opened(ctx, target) as desk:
        which = _filter(target, table, field)
        many, found = desk.waitlist.count(which), desk.waitlist.waiting(which, limit)
        titles = desk.titles(view.keys(found))
        rules = desk.waitlist.decided_by_rule(which, limit, before) if every else []
    waiting = [view.waiting_json(one, titles.get((one.table_name, one.key))) for one in found]
    decided = [view.logged_json(one) for one in rules]
    if as_json:
        told: dict[str, Json] = {"count": many, "waiting": waiting}
        page: dict[str, Json] = {"decided": decided, "before": rules[-1].id if len(rules) == limit else None}
        write_json({**told, **page} if every else told)
        return
    if waiting:
        view.write_waiting(waiting)
    say("Nothing waits." if not many else f"{many:,} wait{'s' if many == 1 else ''}.")
    if decided:
        view.write_logged(decided)
    if len(rules) == limit:
        say(f"Older ones: placemat conflicts list --all --before {rules[-1].id}")


@app.command()
def show(ctx: typer.Context, conflict_id: Id, target: Target = None, as_json: AsJson = False) -> None:
    """Show one conflict: every side's value, its time and who it is from, and what was decided before."""
    with _opened(ctx, target) as desk:
        told = _shown_json(desk, desk.show(conflict_id))
    if as_json:
        write_json(told)
    else:
        view.write_shown(told)


@app.command()
def resolve(
    ctx: typer.Context,
    conflict_id: Annotated[int | None, typer.Argument(metavar="[ID]", help="Number as list shows it.")] = None,
    take: Annotated[
        list[str] | None, typer.Option(metavar="SIDE|FIELD=SIDE", help="hub or a spoke, for all or for one field.")
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Another value; JSON where it is JSON.")
    ] = None,
    nulls: Annotated[list[str] | None, typer.Option("--null", metavar="FIELD", help="No value.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="The row stays.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="The row goes, on all sides.")] = False,
    every: Annotated[bool, typer.Option("--all", help="All that wait, or those that the filters name.")] = False,
    target: Target = None,
    table: Table = None,
    field: Field = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --all: do it.")] = False,
    seen: Annotated[
        str | None, typer.Option(help="What was shown, from the JSON of show: nothing is done if it has changed.")
    ] = None,
    dry_run: DryRun = False,
    reason: Reason = None,
    by: By = None,
    wait: Wait = 5,
    as_json: AsJson = False,
) -> None:
    """Decide what shall stand. It goes to all sides as a change of yours at the hub."""
    if (conflict_id is None) == (not every):
        raise OperatorError(
            "Say which conflict to decide.", "placemat conflicts resolve ID …, or --all and filters", exit_code=2
        )
    if keep and delete:
        raise OperatorError("The row cannot stay and go.", "Say --keep or --delete.", exit_code=2)
    asked = Asked(take or (), values or (), nulls or (), True if keep else False if delete else None)
    asked.check(bulk=every)
    how = How(by or _who(), reason, wait, dry_run, as_json)
    with _opened(ctx, target) as desk:
        if conflict_id is not None:
            _resolve_one(desk, conflict_id, asked, how, seen)
        else:
            _resolve_all(desk, _filter(target or _spoke(asked), table, field), asked, how, sure=yes)


@app.command()
def undo(
    ctx: typer.Context,
    conflict_id: Id,
    target: Target = None,
    dry_run: DryRun = False,
    reason: Reason = None,
    by: By = None,
    wait: Wait = 5,
    as_json: AsJson = False,
) -> None:
    """Take the newest decision back, as a change of yours at the hub to what was there before it."""
    how = How(by or _who(), reason, wait, dry_run, as_json)
    with _opened(ctx, target) as desk:
        before = desk.decided(conflict_id, wait)
        _refuse_changed(desk, before)
        done = desk.undo(before, how.order((before.decision.table_name, before.decision.key), before.decision.id))
        if done is None:
            _refuse_changed(desk, desk.decided(conflict_id, wait))
            raise _changed(conflict_id)
    told = view.undone_json(before, done)
    if as_json:
        write_json({"id": conflict_id, **how.to_json(), **told})
    else:
        view.write_effect(told)
    _done("undo", conflict_id, how, before.decision.table_name, before.decision.key)


@dataclass(frozen=True, slots=True)
class How:
    """Who does it, why, and with what patience."""

    by: str
    reason: str | None
    wait: float
    dry_run: bool
    as_json: bool

    def order(self, key: Key, undoes: int | None = None) -> Order:
        from connectors.conflicts import Order

        return Order(key, self.by, self.reason, undoes, self.dry_run)

    def to_json(self) -> dict[str, Json]:
        return {"dry_run": self.dry_run, "by": self.by, "reason": self.reason}


def _resolve_one(desk: Desk, conflict_id: int, asked: Asked, how: How, seen: str | None) -> None:
    shown = desk.look(conflict_id, how.wait)
    done = None if seen not in (None, shown.case.seen) else _resolve(desk, shown, asked, how)
    if done is None:
        told = _shown_json(desk, desk.show(conflict_id))
        if how.as_json:
            write_json(
                {**how.to_json(), "decided": [], "left": [{"id": conflict_id, "reason": "changed"}], "now": told}
            )
        else:
            view.write_shown(told)
        raise _changed(conflict_id)
    told = view.effect_json(shown, done)
    if how.as_json:
        write_json({**how.to_json(), "decided": [{"id": conflict_id, **told}], "left": []})
    else:
        view.write_effect(told)
        say(f"{'Would decide' if how.dry_run else 'Decided'} conflict {conflict_id}.")


def _resolve(desk: Desk, shown: Shown, asked: Asked, how: How) -> Done | None:
    done = desk.resolve(shown, asked.wish(shown.key[0], desk.rulings), how.order(shown.key))
    if done is not None:
        _done("resolve", shown.waiting.id, how, *shown.key)
    return done


def _resolve_all(desk: Desk, which: Filter, asked: Asked, how: How, *, sure: bool) -> None:
    asked.check(bulk=True)
    found = desk.waitlist.waiting(which)
    if not sure and not how.dry_run:
        raise OperatorError(
            f"This would decide {len(found):,} conflict{'s' if len(found) != 1 else ''}{_by_table(found)}.",
            "Add --yes to do it, or --dry-run to see what each side would have.",
            exit_code=2,
        )
    decided: list[Json] = []
    left: list[Json] = []
    for one in found:
        try:
            shown = desk.look(one.id, how.wait)
            done = _resolve(desk, shown, asked, how)
        except OperatorError as error:
            left.append({"id": one.id, "reason": str(error)})
            continue
        if done is None:
            left.append({"id": one.id, "reason": "changed"})
            continue
        decided.append({"id": one.id, **(told := view.effect_json(shown, done))})
        if how.dry_run and not how.as_json:
            typer.echo(f"Conflict {one.id}: {one.table_name}, {shown.title or one.key}")
            view.write_effect(told)
    if how.as_json:
        write_json({**how.to_json(), "decided": decided, "left": left})
    else:
        say(f"{'Would decide' if how.dry_run else 'Decided'} {len(decided):,} of {len(found):,}.")
    if left:
        first = cast("dict[str, object]", left[0])
        raise OperatorError(
            f"{len(left):,} of {len(found):,} were not decided; conflict {first['id']}: {first['reason']}",
            "placemat conflicts list shows those that wait still.",
        )


@contextmanager
def _opened(ctx: typer.Context, target: str | None) -> Iterator[Desk]:
    """The desk of the hub that is meant. Raises OperatorError (exit code 2) when none is, or one of several."""
    from connectors.contract import TryAgain
    from daemon import wiring
    from daemon.conflicts.desk import Desk

    settings = read_settings(ctx)
    role = settings.role(target) if target is not None else None
    hubs = [role.hub] if role is not None else list(settings.hubs)
    if target is not None and (role is None or role.kind != "spoke"):
        spokes = [name for hub in hubs for name in settings.spokes(hub)]
        raise OperatorError(f"There is no spoke {target}.", f"Choose of: {', '.join(spokes) or 'none'}.", exit_code=2)
    if len(hubs) != 1:
        raise OperatorError(
            f"There are {len(hubs)} hubs." if hubs else "No table goes both ways: nothing can wait.",
            "Name a spoke with --target." if hubs else "Set both_ways in the route of a table that shall.",
            exit_code=2,
        )
    try:
        with wiring.conflicts(settings, hubs[0]) as (rulings, waitlist):
            yield Desk(settings, hubs[0], rulings, waitlist)
    except (Unavailable, TryAgain) as error:
        raise OperatorError(f"The hub cannot do it now: {error}.", "Nothing was done; try again.") from error


def _filter(target: str | None, table: str | None, field: str | None) -> Filter:
    from connectors.conflicts import Filter

    return Filter(target, table if table is None or "." in table else f"public.{table}", field)


def _spoke(asked: Asked) -> str | None:
    """With a spoke's side only those are meant in which that has one."""
    from daemon.conflicts.titles import HUB

    return asked.side if asked.side != HUB else None


def _shown_json(desk: Desk, shown: Shown) -> dict[str, Json]:
    from daemon.conflicts.who import Who

    who, case = Who(desk.settings, desk.hub), shown.case
    logged = desk.waitlist.history(*shown.key)
    spokes = {
        (spoke, name): who.at_spoke(spoke, logged, name)
        for spoke, own in case.conflict.fields.items() for name in own
    } | {(spoke, ""): who.at_spoke(spoke, logged, None) for spoke in case.conflict.deletions}  # fmt: skip
    behind = view.Behind(who.at_hub(shown.key[0], case, case.fields), spokes)
    return view.shown_json(shown, behind, logged, desk.waitlist.decisions(shown.waiting.id))


def _refuse_changed(desk: Desk, before: Before) -> None:
    """Raises OperatorError when somebody has changed since what was decided."""
    from daemon.conflicts.who import Who
    from daemon.resolve.ruling import changed_since

    case, decision = before.case, before.decision
    there = case.row is not None
    if there != decision.keeps_row:
        when = view.when(view.moment(case.hub.state.time))
        raise OperatorError(
            f"The row was {'made again' if there else 'deleted'} since, {when}: the decision cannot be taken back.",
            "Change it on either side, as any other.",
        )
    if changed := changed_since(before.decided, case.hub.state):
        who = Who(desk.settings, desk.hub).at_hub(decision.table_name, case, changed)
        told = ", ".join(
            f"{name} by {who[name]} {view.when(view.moment(case.hub.state.fields[name].time))}" for name in changed
        )
        raise OperatorError(
            f"Changed since the decision: {told}. It cannot be taken back.", "Change it on either side, as any other."
        )


def _changed(conflict_id: int) -> OperatorError:
    return OperatorError(
        f"Conflict {conflict_id} has changed since it was shown; nothing was done.",
        f"Decide over what it is now: placemat conflicts show {conflict_id}",
    )


def _by_table(found: Sequence[Waiting]) -> str:
    counts = Counter(one.table_name for one in found)
    return ": " + ", ".join(f"{many:,} in {table}" for table, many in sorted(counts.items())) if counts else ""


def _done(verb: str, conflict_id: int, how: How, table: str, key: str) -> None:
    """What a person has done, once it is; the one place for whoever keeps account of that."""
    import structlog

    if not how.dry_run:
        structlog.get_logger(__name__).info(
            "conflict decided", verb=verb, conflict=conflict_id, by=how.by, table=table, key=key
        )


def _who() -> str:
    """The person at the terminal; a container may have no name for its user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
