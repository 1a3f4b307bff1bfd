"""The configuration: one `placemat.toml`, overridable by `PLACEMAT_…` variables, parsed once."""

from __future__ import annotations

import os
import tomllib
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from connectors.contract import DeleteLimit
from connectors.route.condition import Column, columns, parse
from connectors.route.masks import SHORTEST_KEY_BYTES, Scalar
from daemon import both_ways
from daemon.errors import OperatorError
from daemon.window import Window
from schemas.topics import AUDIT_TOPIC

DEFAULT_PATH = Path("placemat.toml")
FAULTS_NAMED = 5


def _table_name(name: str) -> str:
    schema, dot, table = name.partition(".")
    if not (schema and dot and table):
        raise ValueError(f"{name!r} is not a table as schema.table")
    return name


def _name(name: str) -> str:
    if not name.replace("_", "").isalnum() or name != name.lower():
        raise ValueError(f"{name!r}: use lower-case letters, digits and underscores")
    return name


def _readable(path: Path) -> Path:
    try:
        (os.scandir(path) if path.is_dir() else path.open("rb")).close()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    return path


TableName = Annotated[str, AfterValidator(_table_name)]
"""`schema.table`, as PostgreSQL stores the names, without quotes."""
InstanceName = Annotated[str, AfterValidator(_name)]
Readable = Annotated[Path, AfterValidator(_readable)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class State(Section):
    """The daemon's own database."""

    url: SecretStr = Field(description="PostgreSQL URL of the daemon's own database.")


class Kafka(Section):
    """The broker between capture and apply."""

    bootstrap_servers: str = Field(description="host:port, several with commas between.")
    partitions: int = Field(6, ge=1, description="Partitions of a new table topic.")
    replication_factor: int = Field(1, ge=1, description="Copies of each partition; 3 in production.")
    min_insync_replicas: int = Field(1, ge=1, description="Copies that must have a record before it counts; 2 of 3.")
    retention_hours: float = Field(90 * 24, gt=0, description="How long events stay in the topics.")
    max_record_bytes: int = Field(16 * 1024 * 1024, ge=65_536, description="A larger record becomes a placeholder.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_location: Readable | None = Field(None, description="The authorities to trust; else the system's.")
    ssl_certificate_location: Readable | None = Field(None, description="PEM file: who this client is.")
    ssl_key_location: Readable | None = Field(None, description="PEM file: the key of that certificate.")
    ssl_key_password: SecretStr | None = Field(None, description="Password of the key, if it is encrypted.")

    @model_validator(mode="after")
    def _certificate_and_key_go_together_and_with_tls(self) -> Kafka:
        if (self.ssl_certificate_location is None) != (self.ssl_key_location is None):
            raise ValueError("ssl_certificate_location and ssl_key_location need each other")
        if self.ssl_key_password is not None and self.ssl_key_location is None:
            raise ValueError("ssl_key_password is given, and no ssl_key_location")
        if self.security_protocol in ("PLAINTEXT", "SASL_PLAINTEXT"):
            for name in ("ssl_ca_location", "ssl_certificate_location"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is given, and security_protocol {self.security_protocol} is without TLS")
        return self


class Truncated(Section):
    """The first characters of a text."""

    truncate: int = Field(ge=0)


class Fixed(Section):
    """The same value for every row."""

    constant: Scalar


Mask = Literal["drop", "hash"] | Truncated | Fixed
"""`"drop"`, `"hash"`, `{ truncate = 10 }` or `{ constant = "…" }`."""


class Masking(Section):
    """The key of hashed columns: whoever has it can tell which value a hash stands for."""

    key: SecretStr | None = Field(None, description="The key itself, 16 bytes or more; better from the environment.")
    key_file: Path | None = Field(None, description="A file that holds the key, instead.")

    def secret(self) -> bytes:
        """Raises OperatorError (exit code 2) when there is no key, or too short a one."""
        try:
            found = (
                self.key.get_secret_value().encode()
                if self.key is not None
                else self.key_file.read_bytes().strip()
                if self.key_file is not None
                else b""
            )
        except OSError as error:
            raise OperatorError(
                f"The key of hashed columns cannot be read: {error.strerror}.", "Correct masking.key_file.", exit_code=2
            ) from None
        if len(found) < SHORTEST_KEY_BYTES:
            raise OperatorError(
                f"A column is masked by hash, and that needs a key of {SHORTEST_KEY_BYTES} bytes or more.",
                "Set PLACEMAT_MASKING__KEY or masking.key_file, and keep it: another key makes other hashes.",
                exit_code=2,
            )
        return found


def _window(text: str) -> str:
    Window.parse(text)
    return text


class Snapshot(Section):
    """Copies of tables, beside the stream."""

    chunk_rows: int = Field(1_000, ge=1, le=100_000, description="Most rows read by one SELECT.")
    chunk_bytes: int = Field(
        8 * 1024 * 1024, ge=65_536, description="Most bytes read by one SELECT, but for its last row."
    )
    tables: int = Field(2, ge=1, le=16, description="Tables copied at the same time; a connection each, and one more.")
    rows_per_second: int | None = Field(None, ge=1, description="Most rows copied in a second, all tables together.")
    window: Annotated[str, AfterValidator(_window)] | None = Field(
        None, description="Copy only then, such as 22:00-05:00 Australia/Brisbane. What targets wait for is not held."
    )


class Source(Section):
    """A PostgreSQL database whose changes are captured."""

    url: SecretStr = Field(description="PostgreSQL URL of the direct host; poolers cannot replicate.")
    slot: str = Field("placemat", pattern=r"^[a-z0-9_]{1,63}$", description="Replication slot.")
    publication: str = Field("placemat", min_length=1, max_length=63)
    tables: tuple[TableName, ...] = Field(min_length=1, description="Tables to capture, as schema.table.")
    snapshot: Snapshot = Snapshot()
    masks: dict[TableName, dict[str, Mask]] = Field(
        default_factory=dict, description="By table, columns whose clear values never reach Kafka."
    )
    flush_interval_seconds: float = Field(0.5, gt=0, description="Longest time before progress is stored and told.")
    idle_flush_interval_seconds: float = Field(
        10, gt=0, description="The same where nothing is captured: storing may itself write to the captured server."
    )
    queue_bytes: int = Field(16 * 1024 * 1024, ge=1_048_576, description="Most bytes on their way to Kafka.")
    check_interval_seconds: float = Field(10, gt=0, description="Between two looks for gaps while capture runs.")
    session_timeout_seconds: float = Field(3, ge=0.5, description="After this silence another capture takes over.")
    restore_url: SecretStr | None = Field(
        None, description="URL of a role that may write, to put rows back; else that of the target of the same name."
    )
    wal_warning_minutes: float = Field(60, ge=0, description="Warn when the slot is lost in less than this.")
    wal_alert_minutes: float = Field(15, ge=0, description="Call it an error when the slot is lost in less than this.")


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
        for name in sorted({*self.rules, *self.outward} & {*self.local, *self.exclude}):
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


class DeleteGuard(Section):
    """How much of a table may be deleted at a target before an operator is asked."""

    enabled: bool = Field(True, description="false: whatever is deleted at the source is deleted here.")
    share: float = Field(0.1, gt=0, le=1, description="Most of a table's rows that go unasked; 1 is all of them.")
    least: int = Field(100, ge=1, description="Fewer rows than this are never asked about.")
    hours: float = Field(1, gt=0, le=168, description="Deletes of so many hours count together.")

    @property
    def limit(self) -> DeleteLimit | None:
        return DeleteLimit(self.share, self.least, self.hours) if self.enabled else None


class Target(Section):
    """A PostgreSQL database that changes are applied to."""

    url: SecretStr = Field(description="PostgreSQL URL of the target.")
    source: InstanceName = Field("primary", description="The source whose changes come here.")
    tables: dict[TableName, Route] = Field(
        default_factory=dict,
        description="Routed tables; the order does not matter. Those that come back both ways need not be named.",
    )
    skew_seconds: float = Field(2, ge=0, description="Edits nearer in time than this are a tie, which the hub wins.")
    session_timeout_seconds: float = Field(6, ge=1, description="After this silence another worker takes over.")
    check_interval_seconds: float = Field(10, gt=0, description="Between two looks for gaps while it applies.")
    auto_ddl: Literal["off", "additive"] = Field(
        "off", description="additive: columns that are added at the source are added here too; off: the table pauses."
    )
    delete_guard: DeleteGuard = DeleteGuard()
    batch_rows: int = Field(500, ge=1, description="Most rows of one write; transactions are never split by it.")
    buffer_bytes: int = Field(4 * 1024 * 1024, ge=1_048_576, description="Most bytes read ahead of the merge.")

    @property
    def needed(self) -> list[str]:
        """Every table whose changes are read: those that are routed, and those that their conditions name."""
        named = (parent.table for route in self.tables.values() for parent in route.referred().values())
        return list(dict.fromkeys((*self.tables, *named)))


class Audit(Section):
    """The record of what became of every change, and of what operators did."""

    enabled: bool = Field(True, description="Off: nothing is recorded, neither here nor in the targets.")
    signing_key: Path | None = Field(
        None, description="File with the key that signs the chain, made by placemat audit key; kept off the database."
    )
    public_key: str | None = Field(
        None, description="Public half of that key, for verify where the private one is not at hand."
    )
    topic: str = Field(
        AUDIT_TOPIC, pattern=r"^[A-Za-z0-9._-]{1,249}$", description="Kafka's copy of the heads; one for each daemon."
    )
    checkpoint_entries: int = Field(1_000, ge=1, description="Most entries from one checkpoint to the next.")
    checkpoint_seconds: float = Field(60, gt=0, description="Longest time before new entries get a checkpoint.")
    segments: Path | None = Field(None, description="Directory for the files of sealed months.")
    retention_months: int | None = Field(None, ge=1, description="Seal months that are older; none are when not set.")


class Notify(Section):
    """Who is told that conflicts wait for a person: a webhook, or somebody by e-mail, or both."""

    webhook_url: SecretStr | None = Field(None, description="URL that a JSON message is posted to.")
    email_to: str | None = Field(None, description="Address, several with commas between.")
    email_from: str = Field("placemat@localhost", description="Address that e-mails come from.")
    smtp_host: str = "localhost"
    smtp_port: int = Field(587, ge=1, le=65_535)
    smtp_security: Literal["starttls", "tls", "none"] = Field("starttls", description="TLS, how it begins; or none.")
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    again_hours: float = Field(24, gt=0, description="Told again of what still waits after so long.")

    @field_validator("webhook_url")
    @classmethod
    def _is_a_web_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("https://", "http://")):
            raise ValueError("it is not a URL that begins with https:// or http://")
        return url

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Notify:
        if (self.smtp_user is None) != (self.smtp_password is None):
            raise ValueError("smtp_user and smtp_password need each other")
        if self.smtp_user is not None and self.smtp_security == "none":
            raise ValueError("smtp_password would be sent in the clear: set smtp_security to starttls or tls")
        return self

    @property
    def wanted(self) -> bool:
        """Whether anybody is to be told."""
        return self.webhook_url is not None or self.email_to is not None


class Http(Section):
    """Where /metrics, /healthz and /readyz are answered."""

    host: str = "127.0.0.1"
    port: int = Field(9464, ge=0, le=65_535, description="0 takes a free port.")


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


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
    targets: dict[InstanceName, Target] = Field(default_factory=dict)
    masking: Masking = Masking()
    audit: Audit = Audit()
    notify: Notify = Notify()
    http: Http = Http()
    log: Log = Log()
    _roles: dict[str, both_ways.Role] = PrivateAttr(default_factory=dict)

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
    def hubs(self) -> dict[str, str]:
        """By the name of each hub, the target that follows its own stream."""
        return {role.hub: name for name, role in self._roles.items() if role.kind == "observer"}

    def brings(self, hub: str) -> str:
        """A target that brings changes to a hub."""
        return next(name for name, role in self._roles.items() if role.kind == "hub" and role.hub == hub)

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


def load(path: Path = DEFAULT_PATH) -> Settings:
    """Read and check the configuration.

    Raises OperatorError (exit code 2) for a file that is missing, is not TOML, or holds what is not understood.
    """
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise OperatorError(
            f"There is no configuration file {path}.", "Write one with: placemat config init", exit_code=2
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise OperatorError(f"{path} is not TOML: {error}.", "Correct that line.", exit_code=2) from None
    try:
        return Settings(**values)
    except ValidationError as error:
        raise OperatorError(
            f"{path} cannot be used: {_faults(error)}.",
            "Correct it; placemat config schema prints every key that there is.",
            exit_code=2,
        ) from None


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False)
    more = f" (and {len(faults) - FAULTS_NAMED} more)" if len(faults) > FAULTS_NAMED else ""
    return "; ".join(map(_fault, faults[:FAULTS_NAMED])) + more


def _fault(fault: ErrorDetails) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    what = "there is no such key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
    return f"{place}: {what}" if place else what
