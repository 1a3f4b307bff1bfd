"""`[targets.NAME]` with kind notion: which database there is which table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from daemon.config.section import InstanceName
from daemon.config.service import Entity, FieldMap, ServiceTarget


class NotionField(FieldMap):
    """How a column reaches a property."""

    relation: InstanceName | None = Field(
        None, description="The entity whose rows the column refers to; the property is a relation."
    )
    options: dict[str, str] = Field(
        default_factory=dict, description="Of a select or status: the column's value, and the option's name."
    )
    zone: str | None = Field(None, description="Time zone in which moments are shown there, such as Europe/Berlin.")


class NotionEntity(Entity):
    """One table as a database of Notion."""

    data_source: str = Field(min_length=1, description="Id of the data source, as the API has it.")
    sync_key: str = Field("Sync Key", min_length=1, description="Text property that holds a row's key, by id or name.")
    fields: dict[str, NotionField] = Field(min_length=1, description="Properties by column.")

    def columns(self) -> dict[str, FieldMap]:
        return dict(self.fields)


class NotionTarget(ServiceTarget):
    """Databases of a workspace of Notion."""

    kind: Literal["notion"]
    base_url: str = Field("https://api.notion.com", description="Where the API is.")
    version: str = Field("2026-03-11", description="The version of the API that is spoken.")
    requests_per_minute: int = Field(180, ge=1, description="Of this connection, as the workspace's plan allows them.")
    entities: dict[InstanceName, NotionEntity] = Field(min_length=1)

    @model_validator(mode="after")
    def _relations_name_entities(self) -> NotionTarget:
        for name, entity in self.entities.items():
            for column, one in entity.fields.items():
                if one.relation is not None and one.relation not in self.entities:
                    raise ValueError(f"entities.{name}.fields.{column}.relation: there is no entity {one.relation}")
        return self

    def references(self, table: str) -> dict[str, str]:
        entity = next(one for one in self.entities.values() if one.table == table)
        return {
            column: self.entities[one.relation].table
            for column, one in entity.fields.items()
            if one.relation is not None
        }

    def named(self) -> dict[str, Entity]:
        return dict(self.entities)
