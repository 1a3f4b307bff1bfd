"""The whole: every section, what one asks of another, and who takes which part where tables go both ways."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, PrivateAttr, Tag, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from connectors.route.condition import Column, columns, parse
from daemon import both_ways
from daemon.config.audit import Audit
from daemon.config.http import Http
from daemon.config.kafka import Kafka
from daemon.config.log import Log
from daemon.config.masking import Masking
from daemon.config.notify import Notify
from daemon.config.notion import NotionTarget
from daemon.config.route import Route
from daemon.config.section import InstanceName
from daemon.config.service import ServiceTarget
from daemon.config.source import Source
from daemon.config.state import State
from daemon.config.target import Target
from daemon.config.webhooks import Webhooks


def _kind(value: Any) -> str:
    """Of a target, as it is written or made."""
    found = value.get("kind", "postgres") if isinstance(value, dict) else getattr(value, "kind", None)
    return str(found)


AnyTarget = Annotated[Annotated[Target, Tag("postgres")] | Annotated[NotionTarget, Tag("notion")], Discriminator(_kind)]


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="PLACEMAT_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    state: State
    kafka: Kafka
    sources: dict[InstanceName, Source] = Field(min_length=1)
    targets: dict[InstanceName, AnyTarget] = Field(default_factory=dict)
    masking: Masking = Masking()
    notify: Notify = Notify()
    audit: Audit = Audit()
    http: Http = Http()
    webhooks: Webhooks = Webhooks()
    log: Log = Log()
    _roles: dict[str, both_ways.Role] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _services_have_mirrors(self) -> Settings:
        """Their entities are the routes to it, and what people change there is captured from it."""
        for name, target in self.services.items():
            try:
                self.targets[name] = target.routed()
            except ValueError as error:
                raise ValueError(f"targets.{name}.{error}") from None
            if (source := target.source_of_its_own(name)) is not None:
                if name in self.sources:
                    raise ValueError(f"sources.{name}: this is made of targets.{name}, and needs no section")
                self.sources[name] = source
        return self

    @model_validator(mode="after")
    def _what_goes_both_ways_comes_back(self) -> Settings:
        """Targets that bring it back get their tables, and each hub that is a target gets an observer of its own."""
        self._roles.update(both_ways.complete(self.targets))
        for name, target in self.targets.items():
            if not target.tables:
                raise ValueError(f"targets.{name}.tables: name the tables that come here")
        return self

    @model_validator(mode="after")
    def _targets_name_what_their_source_captures(self) -> Settings:
        for name, target in self.targets.items():
            source = self.sources.get(target.source)
            if source is None:
                raise ValueError(f"targets.{name}.source: there is no source {target.source!r}")
            for table in target.tables:
                if table not in source.tables:
                    raise ValueError(f"targets.{name}.tables: sources.{target.source} does not capture {table}")
        return self

    @model_validator(mode="after")
    def _routes_fit_their_source(self) -> Settings:
        for name, target in self.targets.items():
            names = [route.table or table for table, route in target.tables.items()]
            for table, route in target.tables.items():
                place = f"targets.{name}.tables.{table}"
                if names.count(route.table or table) > 1:
                    raise ValueError(f"{place}: another table is routed to {route.table or table} too")
                _check_route(place, target.source, self.sources[target.source], table, route)
        for name, source in self.sources.items():
            for table in source.masks:
                if table not in source.tables:
                    raise ValueError(f"sources.{name}.masks: {table} is not captured")
        return self

    def role(self, target: str) -> both_ways.Role | None:
        """Which part a target takes where tables go both ways; None: none."""
        return self._roles.get(target)

    def observes(self, target: str) -> bool:
        """Whether a target only follows its hub's own changes, and writes none."""
        role = self.role(target)
        return role is not None and role.kind == "observer"

    @property
    def services(self) -> dict[str, ServiceTarget]:
        """Targets that are services, and no databases."""
        return {name: target for name, target in self.targets.items() if isinstance(target, ServiceTarget)}

    @property
    def told_by(self) -> list[str]:
        """Targets whose services tell us of changes by webhooks."""
        return [name for name, target in self.services.items() if target.webhooks is not None]

    @property
    def hubs(self) -> dict[str, str]:
        """By the name of each hub, the target that follows its own stream."""
        return {role.hub: name for name, role in self._roles.items() if role.kind == "observer"}

    def brings(self, hub: str) -> str:
        """A target that brings changes to a hub."""
        return next(name for name, role in self._roles.items() if role.kind == "hub" and role.hub == hub)

    def brings_back(self, spoke: str) -> str:
        """The target that brings a spoke's changes to the hub."""
        return next(name for name, role in self._roles.items() if role.kind == "hub" and role.spoke == spoke)

    def spokes(self, hub: str) -> list[str]:
        return [role.spoke for role in self._roles.values() if role.kind == "spoke" and role.hub == hub]

    @property
    def outward(self) -> dict[str, Target]:
        """Targets that are given what their source has: all but those that bring it back, and observers."""
        return {
            name: target
            for name, target in self.targets.items()
            if (role := self.role(name)) is None or role.kind == "spoke"
        }

    def tells_of_itself(self, source: str) -> bool:
        """Whether what our own transactions say of themselves is passed on from this source."""
        return any(source in (role.hub, role.spoke) for role in self._roles.values())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables of the environment come before the file, which `load` hands in as arguments."""
        assert isinstance(init_settings, InitSettingsSource)
        return env_settings, init_settings


def _check_route(place: str, name: str, source: Source, table: str, route: Route) -> None:
    """Raises ValueError where a route names what its source does not capture, or does not show."""
    masked = source.masks.get(table, {})
    for column in route.masks:
        if column in masked:
            raise ValueError(f"{place}.masks: column {column} is masked at the source already")
    if route.actor in masked:
        raise ValueError(f"{place}.actor: column {route.actor} is masked at the source")
    tables = {(): table, **{tuple(path.split(".")): parent.table for path, parent in route.referred().items()}}
    for path, parent in tables.items():
        if parent not in source.tables:
            raise ValueError(f"{place}.parents.{'.'.join(path)}: sources.{name} does not capture {parent}")
    needed = columns(parse(route.where)) if route.where else []
    needed += [Column(tuple(path.split("."))[:-1], parent.column) for path, parent in route.referred().items()]
    for asked in needed:
        if asked.name in source.masks.get(tables[asked.path], {}):
            raise ValueError(f"{place}.where: {asked} is masked at the source, and cannot be asked")
