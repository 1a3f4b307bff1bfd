"""`[targets.NAME.tables."schema.table"]`: how a table reaches a target."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

from pydantic import Field, field_validator, model_validator

from connectors.route.condition import columns, parse
from connectors.route.masks import Scalar
from daemon.config.masking import Mask
from daemon.config.section import Section, TableName


class ParentTable(Section):
    """A table that a condition names, and the column that refers to it."""

    table: TableName
    column: str = Field(min_length=1)


Rule = Literal["latest", "hub", "target", "manual", "merge"]
"""Whose value stands where a field was changed on both sides; see design section 7."""


class Route(Section):
    """How one table reaches one target."""

    both_ways: bool = Field(False, description="What people change at the target comes back to the source, the hub.")
    rule: Rule = Field("latest", description="Whose value stands where both sides have changed a field.")
    rules: dict[str, Rule] = Field(default_factory=dict, description="The same by column, where it is another.")
    outward: tuple[str, ...] = Field((), description="Columns whose edits at the target are put back.")
    updated_at: str | None = Field(
        None, description="Column that says when a row was changed, for rows that are copied."
    )

    title: str | None = Field(None, description="Column that names a row where conflicts are shown.")
    local: tuple[str, ...] = Field((), description="Columns that each side keeps for itself.")
    truncate: Literal["apply", "stop"] = Field("apply", description="What a TRUNCATE in the source does here.")
    table: TableName | None = Field(None, description="The table's name at the target, where it is another.")
    columns: dict[str, str] = Field(
        default_factory=dict, description="Renamed columns: the source's name, the target's."
    )
    exclude: tuple[str, ...] = Field((), description="Columns that are not written.")
    only: tuple[str, ...] | None = Field(None, description="The columns that are written, the key's among them.")
    constants: dict[str, Scalar] = Field(default_factory=dict, description="Values for columns of the target.")
    masks: dict[str, Mask] = Field(default_factory=dict, description="Columns whose values are not shown here.")
    actor: str | None = Field(
        None, min_length=1, description="Column that says who changed a row, such as updated_by; for audit and history."
    )
    where: str | None = Field(None, description="Only rows that pass this condition are at the target.")
    parents: dict[str, TableName | ParentTable] = Field(
        default_factory=dict,
        description="Tables that the condition names: story = 'public.stories', by the column story_id.",
    )

    def leaves_out(self, column: str) -> bool:
        """Whether a column of the source is never written; masks aside."""
        unnamed = self.only is not None and column not in self.only
        return unnamed or column in self.local or column in self.exclude

    def referred(self) -> dict[str, ParentTable]:
        """The tables that the condition names, by path; a name stands for the table that `<name>_id` refers to."""
        return {
            path: ParentTable(table=table, column=f"{path.rpartition('.')[2]}_id") if isinstance(table, str) else table
            for path, table in self.parents.items()
        }

    @field_validator("where")
    @classmethod
    def _is_a_condition(cls, text: str | None) -> str | None:
        if text is not None:
            parse(text)
        return text

    @model_validator(mode="after")
    def _says_one_thing_of_each_column(self) -> Route:
        for first, second in combinations(("local", "exclude", "masks"), 2):
            for name in set(getattr(self, first)) & set(getattr(self, second)):
                raise ValueError(f"column {name} stands under {first} and under {second}")
        if self.only is not None and self.exclude:
            raise ValueError("exclude says nothing beside only: name the columns in one of them")
        for name in sorted({*self.local, *self.columns, *self.masks} - set(self.only or ())) if self.only else ():
            raise ValueError(f"column {name} is not written: add it to only")
        if self.actor in self.masks:
            raise ValueError(f"column {self.actor} is masked, and cannot say who changed a row")
        written = [*self.columns.values(), *self.constants]
        for name in written:
            if written.count(name) > 1:
                raise ValueError(f"column {name} of the target is written twice")
        return self

    @model_validator(mode="after")
    def _goes_both_ways_as_it_is(self) -> Route:
        if self.both_ways:
            for setting in ("where", "masks"):
                if getattr(self, setting):
                    raise ValueError(f"a table that goes both ways cannot have {setting}: every row is on both sides")
        elif self.rules or self.outward or self.rule != "latest":
            raise ValueError("rule, rules and outward are for tables that go both ways: set both_ways")
        for name in sorted(self.rules.keys() & set(self.outward)):
            raise ValueError(f"column {name} stands under rules and under outward")
        unwritten = {*self.rules, *self.outward} - set(self.only) if self.only is not None else set[str]()
        for name in sorted(({*self.rules, *self.outward} & {*self.local, *self.exclude}) | unwritten):
            raise ValueError(f"column {name} is left out, and has a rule")
        return self

    @model_validator(mode="after")
    def _declares_the_parents_it_names(self) -> Route:
        paths = [column.path for column in columns(parse(self.where))] if self.where else []
        wanted = {".".join(path[:length]) for path in paths for length in range(1, len(path) + 1)}
        for name in sorted(wanted - self.parents.keys()):
            raise ValueError(f"where names {name}, which stands for no table: add parents.{name!r}")
        for name in sorted(self.parents.keys() - wanted):
            raise ValueError(f"parents.{name!r} is not named by where")
        return self
