"""`placemat conflicts list` and `show`: what waits for a person, and what was decided."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli import conflict_json, conflict_view
from daemon.cli.conflict_number import conflict_number, refused_number
from daemon.cli.context import AsJson
from daemon.cli.context import settings as read_settings
from daemon.cli.output import Json, say, write_json
from daemon.conflicts.titles import HUB
from daemon.errors import OperatorError, Unavailable

if TYPE_CHECKING:
    from connectors.conflicts import Filter
    from daemon.conflicts.desk import Desk, Shown

Id = Annotated[
    int, typer.Argument(metavar="ID", parser=conflict_number, help="Number as placemat conflicts list shows it.")
]
Target = Annotated[str | None, typer.Option(help="Only those with this spoke.")]
Table = Annotated[str | None, typer.Option(help="Only those of this table, as the hub names it.")]
Field = Annotated[str | None, typer.Option(help="Only those in which this field waits.")]


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
    """Show what waits, oldest first; then what the hub refuses of its spokes' changes, as dlq-N."""
    with opened(ctx, target) as desk:
        wanted = which(target, table, field)
        many, found = desk.waitlist.count(wanted), desk.waitlist.waiting(wanted, limit)
        refusals = desk.waitlist.refusals
        many_refused, kept_out = refusals.count(wanted), refusals.waiting(wanted, limit)
        titles = desk.titles([*found, *kept_out])
        rules = desk.waitlist.decided_by_rule(wanted, limit, before) if every else []
    waiting = [conflict_json.waiting_json(one, titles.get((one.table_name, one.key))) for one in found]
    refused = [conflict_json.refusal_json(one, titles.get((one.table_name, one.key))) for one in kept_out]
    decided = [conflict_json.logged_json(one) for one in rules]
    if as_json:
        told: dict[str, Json] = {"count": many, "waiting": waiting, "refused_count": many_refused, "refused": refused}
        page: dict[str, Json] = {"decided": decided, "before": rules[-1].id if len(rules) == limit else None}
        write_json({**told, **page} if every else told)
        return
    if waiting:
        conflict_view.write_waiting(waiting)
    if refused:
        conflict_view.write_refusals(refused)
    say(_summary(many, many_refused))
    if decided:
        conflict_view.write_logged(decided)
    if len(rules) == limit:
        say(f"Older ones: placemat conflicts list --all --before {rules[-1].id}")


def _summary(waiting: int, refused: int) -> str:
    if not waiting and not refused:
        return "Nothing waits."
    parts = [f"{waiting:,} wait{'s' if waiting == 1 else ''}"] if waiting else []
    parts += [f"the hub refuses {refused:,}"] if refused else []
    told = "; ".join(parts)
    return f"{told[0].upper()}{told[1:]}."


def show(
    ctx: typer.Context,
    conflict_id: Annotated[str, typer.Argument(metavar="ID|dlq-N", help="As placemat conflicts list shows it.")],
    target: Target = None,
    as_json: AsJson = False,
) -> None:
    """Show one conflict: every side's value, its time and who it is from, and what was decided before. Of what the hub
    refuses: why, what waits, and what to do."""
    refused = refused_number(conflict_id)
    number = conflict_number(conflict_id) if refused is None else 0
    with opened(ctx, target) as desk:
        if refused is not None:
            told = conflict_json.refused_json(desk.refused(refused))
        else:
            told = shown_json(desk, desk.show(number))
    if as_json:
        write_json(told)
    elif refused is not None:
        conflict_view.write_refused(told)
    else:
        conflict_view.write_shown(told)


@contextmanager
def opened(ctx: typer.Context, target: str | None) -> Iterator[Desk]:
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
    except TryAgain as error:
        raise OperatorError(f"The hub cannot do it now: {error}.", "Nothing was done; try again.") from error
    except Unavailable as error:
        # It may have gone while it was taking a decision.
        raise OperatorError(
            f"The hub cannot do it now: {error}.", "Try again; placemat conflicts show ID says what was decided."
        ) from error


def which(target: str | None, table: str | None, field: str | None) -> Filter:
    from connectors.conflicts import Filter

    return Filter(target, table if table is None or "." in table else f"public.{table}", field)


def shown_json(desk: Desk, shown: Shown) -> dict[str, Json]:
    from daemon.conflicts.who import Who

    who, case = Who(desk.settings, desk.hub), shown.case
    logged = desk.waitlist.history(*shown.key)
    spokes = {
        (spoke, name): who.at_spoke(spoke, logged, name)
        for spoke, own in case.conflict.fields.items() for name in own
    } | {(spoke, ""): who.at_spoke(spoke, logged, None) for spoke in case.conflict.deletions}  # fmt: skip
    if case.row is None:
        spokes[HUB, ""] = who.deleted(case)
    behind = conflict_json.Behind(who.at_hub(shown.key[0], case, case.fields), spokes)
    return conflict_json.shown_json(shown, behind, logged, desk.waitlist.decisions(shown.waiting.id))
