"""The database of a mirror, where the server that is to hold it has none of that name yet."""

from __future__ import annotations

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from connectors.errors import OperatorError

MAINTENANCE = "postgres"


def ensure_database(url: str, target: str) -> bool:
    """Make it if it is missing; whether it was. What else keeps the URL from working is told by whoever connects.

    Raises OperatorError when the role may not make one.
    """
    try:
        psycopg.connect(url, connect_timeout=5).close()
        return False
    except psycopg.OperationalError as error:
        if "does not exist" not in str(error) or "database" not in str(error):
            return False
    name = str(conninfo_to_dict(url)["dbname"])
    try:
        with psycopg.connect(make_conninfo(url, dbname=MAINTENANCE), autocommit=True, connect_timeout=5) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.errors.DuplicateDatabase:
        return False  # somebody else was at it
    except psycopg.Error as error:
        raise OperatorError(
            f"The mirror of target {target}, database {name}, is not there and cannot be made:"
            f" {str(error).splitlines()[0].removeprefix('connection failed: ')}.",
            f"As a superuser of that server run: CREATE DATABASE {sql.Identifier(name).as_string()}"
            f" OWNER {sql.Identifier(str(conninfo_to_dict(url).get('user', 'postgres'))).as_string()}",
        ) from None
    return True
