"""Alembic's entry: runs in the connection it is handed, or in its own: `alembic -x url=postgresql://… revision`."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from alembic import context

from schemas.tables import SCHEMA, metadata


def in_schema(name: str | None, type_: str, _parents: Any) -> bool:
    """Leave alone what else stands in that database."""
    return type_ != "schema" or name == SCHEMA


def run(connection: sqlalchemy.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=in_schema,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given: sqlalchemy.Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    url = sqlalchemy.make_url(context.get_x_argument(as_dictionary=True)["url"])
    with sqlalchemy.create_engine(url.set(drivername="postgresql+psycopg")).connect() as own:
        run(own)
