"""What every section is, and the names that stand in several."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _table_name(name: str) -> str:
    schema, dot, table = name.partition(".")
    if not (schema and dot and table):
        raise ValueError(f"{name!r} is not a table as schema.table")
    return name


def _name(name: str) -> str:
    if not name.replace("_", "").isalnum() or name != name.lower():
        raise ValueError(f"{name!r}: use lower-case letters, digits and underscores")
    return name


TableName = Annotated[str, AfterValidator(_table_name)]
"""`schema.table`, as PostgreSQL stores the names, without quotes."""
InstanceName = Annotated[str, AfterValidator(_name)]
