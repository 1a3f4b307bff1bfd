"""Conflicts: those that a rule has decided, which are listed, and the one of a key that waits for a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from daemon.resolve.interval import Interval
from daemon.resolve.rules import Rule
from daemon.resolve.state import RowState, Version
from daemon.resolve.values import Digest, Value

Kind = Literal[
    "insert_exists",
    "update_exists",
    "update_origin_differs",
    "update_missing",
    "update_deleted",
    "multiple_unique_conflicts",
    "delete_missing",
    "delete_origin_differs",
]
"""As PostgreSQL 18 names them. "Remote" is the spoke's change, "local" is the hub's row."""
Resolution = Literal["apply_remote", "keep_local", "last_update_wins", "merged", "manual", "agreed", "skip"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """What is listed: both values and times. `field` None: the row, deleted on one side and changed on the other.

    `resolution`: `apply_remote` and `keep_local` by a fixed rule or a tie, `last_update_wins` where one side was surely
    later, `skip` where machines have changed the field too often, `manual` where a person has to decide, `agreed` where
    one has waited and both sides have the same since. `won` is None where no side has lost, or nothing is decided yet.
    """

    kind: Kind
    field: str | None
    rule: Rule
    resolution: Resolution
    won: Literal["ours", "theirs"] | None
    ours: Value
    theirs: Value
    ours_time: Interval
    theirs_time: Interval
    base: Digest | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A spoke's value that waits for a decision, and the value that it was made from."""

    value: Value
    time: Interval
    base: Value = None


@dataclass(frozen=True, slots=True)
class Deletion:
    """A spoke's deletion of the row that waits for a decision."""

    time: Interval


@dataclass(frozen=True, slots=True)
class OpenConflict:
    """The one of a key: candidates by spoke and field, and who has deleted the row. Each change raises `revision`."""

    revision: int = 0
    fields: Mapping[str, Mapping[str, Candidate]] = field(default_factory=dict)
    """By spoke, then by field."""
    deletions: Mapping[str, Deletion] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.fields or self.deletions)

    @property
    def spokes(self) -> frozenset[str]:
        return frozenset(self.fields) | frozenset(self.deletions)

    def of(self, spoke: str) -> Mapping[str, Candidate]:
        """A spoke's candidates by field."""
        return self.fields.get(spoke, {})

    def with_row(self, spoke: str, changed: Mapping[str, Candidate | None]) -> OpenConflict:
        """After an edit in a spoke, which has the row: None withdraws what was there (steps "manual", "inbound 5")."""
        own = {**self.of(spoke), **changed}
        return self._with(spoke, {name: one for name, one in own.items() if one is not None}, None)

    def with_deletion(self, spoke: str, deletion: Deletion | None) -> OpenConflict:
        """After a spoke has deleted the row: None where that is no candidate (step "inbound 7")."""
        return self._with(spoke, {}, deletion)

    def _with(self, spoke: str, own: Mapping[str, Candidate], deletion: Deletion | None) -> OpenConflict:
        fields = {name: one for name, one in self.fields.items() if name != spoke} | ({spoke: own} if own else {})
        deletions = {name: one for name, one in self.deletions.items() if name != spoke}
        deletions |= {spoke: deletion} if deletion else {}
        if fields == self.fields and deletions == self.deletions:
            return self
        return OpenConflict(self.revision + 1, fields, deletions)


NO_CONFLICT = OpenConflict()


@dataclass(frozen=True, slots=True)
class Shown:
    """What a person had before them when they decided: a decision over anything else is refused."""

    revision: int
    rver: Version
    versions: Mapping[str, Version]


def shown(conflict: OpenConflict, state: RowState) -> Shown:
    """Step "manual": the conflict's revision, and the hub row's."""
    return Shown(conflict.revision, state.rver, {name: one.pos for name, one in state.fields.items()})
