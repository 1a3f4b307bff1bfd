"""What every target has that is a service, and no database: its mirror, and which table is what there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from connectors.mirroring import Mirrored, Naming, wanted_table
from connectors.route.masks import Scalar
from daemon.config.auth import AnyAuth
from daemon.config.route import ParentTable, Route, Rule
from daemon.config.section import InstanceName, Section, TableName
from daemon.config.source import Source
from daemon.config.target import Target
from daemon.config.webhooks import TargetWebhooks


class FieldMap(Section):
    """How a column of the hub reaches a field of a service."""

    property: str = Field(min_length=1, description="The field there, by its stable id or by its name.")
    direction: Literal["both", "out", "in"] = Field(
        "both", description="Of an entity that goes both ways: out is put back there when changed, in is never written."
    )


class NamingColumn(Section):
    """A column of the hub that names rows of an entity; `key` is the primary key of its table."""

    table: TableName
    column: str = Field(min_length=1)
    key: str = "id"

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        """`schema.table.column`"""
        if not isinstance(value, str):
            return value
        table, _, column = value.rpartition(".")
        return {"table": table, "column": column}


class Entity(Section):
    """One table of the hub, and what it is at a service."""

    table: TableName
    key: str = Field("id", description="The column of the table's primary key.")
    both_ways: bool = Field(False, description="What people change there comes back to the hub.")
    rule: Rule = Field("latest", description="Whose value stands where both sides have changed a field.")
    rules: dict[str, Rule] = Field(default_factory=dict, description="The same by column, where it is another.")
    title: str | None = Field(None, description="Column that names a row where conflicts are shown.")
    updated_at: str | None = Field(
        None, description="Column that says when a row was changed, for rows that are copied."
    )
    actor: str | None = Field(None, min_length=1, description="Column that says who changed a row, for the audit.")
    where: str | None = Field(None, description="Only rows that pass this condition are there.")
    parents: dict[str, TableName | ParentTable] = Field(
        default_factory=dict,
        description="Tables that the condition names: teller = 'public.storytellers', by the column teller_id.",
    )
    only_if_named_by: tuple[NamingColumn, ...] = Field(
        (), description="Only rows that one of these columns names are there, such as public.interactions.contact_id."
    )

    defaults: dict[str, Scalar] = Field(
        default_factory=dict, description="Of rows that people make there: values of columns without a field."
    )

    def columns(self) -> dict[str, FieldMap]:
        """Fields by the hub's column."""
        raise NotImplementedError

    def route(self) -> Route:
        """How the mirror's table is written. Raises ValueError where a setting does not fit another."""
        fields = self.columns()
        for name in self.defaults:
            if not self.both_ways or name in fields or name == self.key:
                raise ValueError(f"defaults names column {name}, which does not come from there alone")
        if self.both_ways and self.only_if_named_by:
            raise ValueError("an entity that goes both ways cannot have only_if_named_by: every row is on both sides")
        outward = tuple(name for name, one in fields.items() if one.direction == "out") if self.both_ways else ()
        return Route(
            both_ways=self.both_ways,
            rule=self.rule,
            rules=self.rules,
            outward=outward,
            title=self.title,
            updated_at=self.updated_at,
            actor=self.actor,
            table=wanted_table(self.table),
            only=tuple(dict.fromkeys((self.key, *fields))),
            where=self.where,
            parents=self.parents,
        )


class ServiceTarget(Target):
    """A target with an API. What it is to have stands in a database of the daemon's own, its mirror."""

    url: SecretStr = Field(
        description="PostgreSQL URL of the mirror, a database of the daemon's own; placemat init makes it."
    )
    auth: AnyAuth = Field(description="How the service lets us in.")
    slot: str | None = Field(
        None, pattern=r"^[a-z0-9_]{1,63}$", description="Replication slot of the mirror; placemat_NAME where not set."
    )
    concurrency: int = Field(3, ge=1, le=32, description="Most requests at the same time, of one worker.")
    poll_seconds: float = Field(10, gt=0, description="Between two looks for what people have changed there.")
    sweep_seconds: float = Field(
        3600, gt=0, description="Between two listings of all records, for what looks for changes do not tell."
    )

    webhooks: TargetWebhooks | None = Field(
        None, description="It tells us when something has changed there; {} where it hands over its secret itself."
    )

    def references(self, table: str) -> dict[str, str]:
        """By column, the table whose row it names, where the service shows that row's record."""
        raise NotImplementedError

    def named(self) -> dict[str, Entity]:
        """Entities by their names in the configuration."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _has_entities_and_no_tables(self) -> ServiceTarget:
        if self.tables:
            raise ValueError("a service has entities: name tables there")
        if self.webhooks is not None and not any(one.both_ways for one in self.named().values()):
            raise ValueError("webhooks: no entity goes both ways, so that nothing is read there")
        tables = [one.table for one in self.named().values()]
        for table in tables:
            if tables.count(table) > 1:
                raise ValueError(f"two entities are made of {table}: a row is one record there")
        return self

    def routed(self) -> ServiceTarget:
        """With the routes that its entities make. Raises ValueError, naming the entity."""
        routes: dict[str, Route] = {}
        for name, entity in self.named().items():
            try:
                routes[entity.table] = entity.route()
            except ValueError as error:
                raise ValueError(f"entities.{name}: {_what(error)}") from None
        for one in self._kept_for_names():
            routes[one.table] = Route(table=one.wanted, only=tuple(dict.fromkeys((one.key, *one.columns))))
        return self.model_copy(update={"tables": routes})

    def comes_back_from(self, table: str) -> str:
        return table

    def tells_time(self, _route: Route) -> str | None:
        return None

    def given_to(self, table: str) -> Mapping[str, Scalar]:
        return next(one.defaults for one in self.named().values() if one.table == table)

    def mirrored(self) -> list[Mirrored]:
        """Parents first, as far as there is such an order."""
        found = {
            one.table: Mirrored(
                one.table, one.key, tuple(one.columns()), one.both_ways, self.references(one.table),
                tuple(Naming(by.table, by.column) for by in one.only_if_named_by),
            )
            for one in self.named().values()
        }  # fmt: skip
        order: dict[str, None] = {}
        while left := [one for one in found.values() if one.table not in order]:
            free = [one.table for one in left if set(one.references.values()) - {one.table} <= order.keys()]
            order.update(dict.fromkeys(free or [left[0].table]))
        return [found[table] for table in order]

    def kept(self) -> list[Mirrored]:
        """All tables of the mirror: those of entities, and those that are kept for the rows that they name."""
        return [*self.mirrored(), *self._kept_for_names()]

    def _kept_for_names(self) -> list[Mirrored]:
        """Their keys and naming columns. Raises ValueError where a column is not in the mirror, or said twice."""
        entities = {one.table: one for one in self.named().values()}
        found: dict[str, Mirrored] = {}
        for name, entity in self.named().items():
            for by in entity.only_if_named_by:
                there = entities.get(by.table)
                if there is not None:
                    if by.column not in there.columns():
                        raise ValueError(
                            f"entities.{name}.only_if_named_by: {by.column} is no field of the entity of {by.table}"
                        )
                    continue
                known = found.get(by.table, Mirrored(by.table, by.key, (), seen=False, told=False))
                if known.key != by.key:
                    raise ValueError(f"entities.{name}.only_if_named_by: {by.table} has key {known.key}, and {by.key}")
                columns = tuple(dict.fromkeys((*known.columns, by.column)))
                found[by.table] = replace(known, columns=columns)
        return list(found.values())

    def source_of_its_own(self, name: InstanceName) -> Source | None:
        """What is captured of the mirror: what the service was seen to have. None: nothing comes back."""
        seen = tuple(one.table for one in self.named().values() if one.both_ways)
        return Source(url=self.url, slot=self.slot or f"placemat_{name}", tables=seen) if seen else None


def _what(error: ValueError) -> str:
    found = getattr(error, "errors", None)
    if found is None:
        return str(error)
    return "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in found())
