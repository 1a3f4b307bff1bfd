"""What becomes of one field of a spoke's record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from daemon.resolve.conflict import Candidate, Conflict, Kind, Resolution
from daemon.resolve.interval import Interval
from daemon.resolve.merge import CannotMerge
from daemon.resolve.rules import Rule, Rules, later
from daemon.resolve.state import FieldState, Link
from daemon.resolve.values import Digest, Value, digest

MOST_HOPS = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """`taken`, `merged` and `machine` write `value` into the hub; `agreed`: both sides have it; `kept`: the hub's
    stands; `candidate`: a person decides; `stopped`: machines have changed it too often;
    `outward`: an edit that does not count.
    """

    kind: Literal["taken", "merged", "machine", "agreed", "kept", "candidate", "stopped", "outward"]
    value: Value
    time: Interval
    hops: int = 0
    conflict: Conflict | None = None

    @property
    def writes(self) -> bool:
        return self.kind in ("taken", "merged", "machine")


@dataclass(frozen=True, slots=True)
class Edit:
    """A spoke's value of one field, against the hub's; `base` is the hash of the value that it was made from."""

    field: str
    value: Value
    time: Interval
    ours: FieldState | None
    ours_value: Value
    base: Digest | None
    base_value: Value
    seen: bool
    """Whether it was made on the hub's present version."""
    other_life: bool
    kind: Kind


def judge(edit: Edit, rules: Rules) -> Verdict:
    """Steps "inbound 4" and "inbound 5", for an edit by a person."""
    rule, ours = rules.of(edit.field), edit.ours
    if rule.outward:
        return Verdict("outward", edit.value, edit.time)
    if ours is None:
        return Verdict("taken", edit.value, edit.time)
    time = edit.time.or_later(ours.time)
    if digest(edit.value) == ours.digest:
        return Verdict("agreed", edit.value, time)
    if edit.seen:
        return Verdict("taken", edit.value, time)
    applied: Rule = "latest" if edit.other_life else rule.rule
    return _decide(edit, ours, applied, rules)


def _decide(edit: Edit, ours: FieldState, rule: Rule, rules: Rules) -> Verdict:
    match rule:
        case "hub":
            return _kept(edit, ours, rule, "keep_local")
        case "target":
            return _taken(edit, ours, rule, "apply_remote")
        case "manual":
            return Verdict("candidate", edit.value, edit.time, conflict=_listed(edit, ours, rule, "manual", None))
        case "merge":
            try:
                value = rules.merge(edit.base_value, edit.ours_value, edit.value)
            except CannotMerge:
                return _decide(edit, ours, "latest", rules)
            time = edit.time.or_later(ours.time)
            return Verdict("merged", value, time, conflict=_listed(edit, ours, rule, "merged", None))
        case "latest":
            if later(ours.time, edit.time, rules.skew) == "theirs":
                return _taken(edit, ours, rule, "last_update_wins")
            surely = ours.time.after(edit.time, rules.skew)
            return _kept(edit, ours, rule, "last_update_wins" if surely else "keep_local")


def _kept(edit: Edit, ours: FieldState, rule: Rule, resolution: Resolution) -> Verdict:
    return Verdict("kept", edit.ours_value, ours.time, conflict=_listed(edit, ours, rule, resolution, "ours"))


def _taken(edit: Edit, ours: FieldState, rule: Rule, resolution: Resolution) -> Verdict:
    time = edit.time.or_later(ours.time)
    return Verdict("taken", edit.value, time, conflict=_listed(edit, ours, rule, resolution, "theirs"))


def _listed(
    edit: Edit, ours: FieldState, rule: Rule, resolution: Resolution, won: Literal["ours", "theirs"] | None
) -> Conflict:
    return Conflict(
        edit.kind, edit.field, rule, resolution, won, edit.ours_value, edit.value, ours.time, edit.time, edit.base
    )


def judge_machine(
    name: str, value: Value, ours: FieldState, ours_value: Value, *, seen: bool, sent: Digest | None, outward: bool
) -> Verdict:
    """Step "inbound 3": what a spoke's trigger or service made of our write.

    It counts only while the hub has no newer version and still holds what was `sent`; of a field that was not sent,
    what the spoke had before. Too many in turn are listed, and end there.
    """
    if digest(value) == ours.digest:
        return Verdict("agreed", value, ours.time)
    if outward or not seen or ours.digest != sent:
        return Verdict("kept", ours_value, ours.time)
    if ours.hops >= MOST_HOPS:
        listed = Conflict(
            "update_origin_differs", name, "hub", "skip", None, ours_value, value, ours.time, ours.time, sent
        )
        return Verdict("stopped", value, ours.time, ours.hops, listed)
    return Verdict("machine", value, ours.time, ours.hops + 1)


def candidates(verdicts: Mapping[str, Verdict], link: Link) -> dict[str, Candidate | None]:
    """Step "manual": what each edit says of a candidate that may have been there before."""
    return {
        name: Candidate(one.value, one.time, link.kept.get(name)) if one.kind == "candidate" else None
        for name, one in verdicts.items()
        if one.kind not in ("machine", "stopped")
    }
