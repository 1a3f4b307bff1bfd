"""`placemat conflicts`: what waits for a person where tables go both ways, and what they decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import typer

from daemon.cli import conflict_json, conflict_show, conflict_view
from daemon.cli.conflict_bulk import resolve_all
from daemon.cli.conflict_number import conflict_number
from daemon.cli.conflict_show import Field, Id, Table, Target, opened, shown_json, which
from daemon.cli.conflict_wish import Asked
from daemon.cli.context import AsJson, By, Reason
from daemon.cli.output import Json, json_text, say, write_json
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from connectors.conflicts import Done, Key, Order
    from daemon.conflicts.desk import Before, Desk, Shown
    from schemas.resolution import Fields

app = typer.Typer(help="What waits for a person's decision.", no_args_is_help=True, rich_markup_mode=None)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Try it, show what each side would have, and write nothing.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait until the hub's own changes are known.")]


app.command("list")(conflict_show.list_)
app.command("show")(conflict_show.show)


@app.command()
def resolve(
    ctx: typer.Context,
    conflict_id: Annotated[
        int | None, typer.Argument(metavar="[ID]", parser=conflict_number, help="Number as list shows it.")
    ] = None,
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
    from daemon.audit.actions import person

    if (conflict_id is None) == (not every):
        raise OperatorError(
            "Say which conflict to decide.", "placemat conflicts resolve ID …, or --all and filters", exit_code=2
        )
    if keep and delete:
        raise OperatorError("The row cannot stay and go.", "Say --keep or --delete.", exit_code=2)
    asked = Asked(take or (), values or (), nulls or (), True if keep else False if delete else None)
    asked.check(bulk=every)
    how = How(by or person(), reason, wait, dry_run, as_json)
    with opened(ctx, target) as desk:
        if conflict_id is not None:
            _resolve_one(desk, conflict_id, asked, how, seen)
        else:
            wanted = which(target or _spoke(asked), table, field)
            resolve_all(desk, wanted, how, lambda shown: _resolve(desk, shown, asked, how), sure=yes)


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
    from daemon.audit.actions import person

    how = How(by or person(), reason, wait, dry_run, as_json)
    with opened(ctx, target) as desk:
        before = desk.decided(conflict_id, wait)
        _refuse_changed(desk, before)
        key, decided, row = (before.decision.table_name, before.decision.key), before.decided, before.case.row or {}
        now = {name: value for name, value in row.items() if name in decided.fields or decided.action == "create"}
        _enter(
            desk, "conflicts undo", conflict_id, how, key, now, None if decided.action == "create" else decided.before
        )
        done = desk.undo(before, how.order(key, before.decision.id))
        if done is None:
            _refuse_changed(desk, desk.decided(conflict_id, wait))
            raise _changed(conflict_id)
    told = conflict_json.undone_json(before, done)
    if as_json:
        write_json({"id": conflict_id, **how.to_json(), **told})
    else:
        conflict_view.write_effect(told)


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
    from daemon.conflicts.decided_over import closed

    shown = desk.look(conflict_id, how.wait)
    done = None if seen not in (None, shown.case.seen) else _resolve(desk, shown, asked, how)
    if done is None:
        now = desk.show(conflict_id)
        told = shown_json(desk, now)
        if how.as_json:
            write_json(
                {**how.to_json(), "decided": [], "left": [{"id": conflict_id, "reason": "changed"}], "now": told}
            )
        else:
            conflict_view.write_shown(told)
        raise _changed(conflict_id) if now.waiting.waits else closed(now.waiting, desk.waitlist.decisions(conflict_id))
    told = conflict_json.effect_json(shown, done)
    if how.as_json:
        write_json({**how.to_json(), "decided": [{"id": conflict_id, **told}], "left": []})
    else:
        conflict_view.write_effect(told)
        say(f"{'Would decide' if how.dry_run else 'Decided'} conflict {conflict_id}.")


def _resolve(desk: Desk, shown: Shown, asked: Asked, how: How) -> Done | None:
    from daemon.conflicts.choice import choose

    case = shown.case
    choice = choose(case, asked.wish(shown.key, desk.rulings))
    chosen = {name: cast("str | None", value) for name, value in choice.fields.items()}
    row = {} if case.row is None else case.row
    before = {name: value for name, value in row.items() if name in chosen or not choice.row}
    _enter(desk, "conflicts resolve", shown.waiting.id, how, shown.key, before, chosen if choice.row else None)
    return desk.resolve(shown, choice, how.order(shown.key))


def _spoke(asked: Asked) -> str | None:
    """With a spoke's side only those are meant in which that has one."""
    from daemon.conflicts.titles import HUB

    return asked.side if asked.side != HUB else None


def _refuse_changed(desk: Desk, before: Before) -> None:
    """Raises OperatorError when somebody has changed since what was decided."""
    from daemon.conflicts.who import Who
    from daemon.resolve.ruling import changed_since

    case, decision = before.case, before.decision
    there = case.row is not None
    if there != decision.keeps_row:
        when = conflict_view.when(conflict_json.moment(case.hub.state.time))
        raise OperatorError(
            f"The row was {'made again' if there else 'deleted'} since, {when}: the decision cannot be taken back.",
            "Change it on either side, as any other.",
        )
    if changed := changed_since(before.decided, case.hub.state):
        who = Who(desk.settings, desk.hub).at_hub(decision.table_name, case, changed)
        told = ", ".join(
            f"{name} by {who[name]} {conflict_view.when(conflict_json.moment(case.hub.state.fields[name].time))}"
            for name in changed
        )
        raise OperatorError(
            f"Changed since the decision: {told}. It cannot be taken back.", "Change it on either side, as any other."
        )


def _changed(conflict_id: int) -> OperatorError:
    return OperatorError(
        f"Conflict {conflict_id} has changed since it was shown; nothing was done.",
        f"Decide over what it is now: placemat conflicts show {conflict_id}",
    )


def _enter(desk: Desk, op: str, conflict_id: int, how: How, key: Key, before: Fields, after: Fields | None) -> None:
    """Into the audit log, before it is done. `before`: what the hub has in those fields; `after` None: the row goes."""
    from daemon.audit.actions import enter
    from daemon.audit.entry import Draft

    if how.dry_run:
        return
    told: Json = {
        "before": conflict_json.values(before),
        "after": None if after is None else conflict_json.values(after),
    }
    draft = Draft(
        "action", op, "asked", how.by, source=desk.hub, entity=key[0], key=key[1], fields=sorted(after or before),
        conflict=str(conflict_id), reason=how.reason, content=json_text(told),
    )  # fmt: skip
    enter(desk.settings, [draft])
