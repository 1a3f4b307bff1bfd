"""A session that writes rows: texts mean the same on every server, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from connectors.errors import OperatorError
from connectors.postgres.failures import Refused, translate

CONNECT_TIMEOUT_SECONDS = 5
_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO,YMD",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "xmloption": "content",
    "array_nulls": "on",
    "quote_all_identifiers": "off",
    "row_security": "off",
    "search_path": "",
    "lc_monetary": "C",
    "standard_conforming_strings": "on",
    "client_encoding": "UTF8",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
}


def open_session(url: str, application_name: str, **settings: str) -> psycopg.Connection[Any]:
    """Connect; `settings` go before what is usual. Raises psycopg.Error."""
    connection = psycopg.connect(
        url,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        application_name=application_name,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=20_000,
    )
    wanted = {**_SETTINGS, **settings}
    calls = ", ".join(["set_config(%s, %s, false)"] * len(wanted))
    connection.execute(f"SELECT {calls}".encode(), [part for setting in wanted.items() for part in setting])
    connection.commit()
    return connection


def roll_back(connection: psycopg.Connection[Any] | None) -> None:
    """Leave nothing half done; a session that does not answer is closed."""
    if connection is not None:
        try:
            connection.rollback()
        except psycopg.Error:
            connection.close()


@contextmanager
def translated(target: str, cannot: str, advice: str, abandon: Callable[[], None]) -> Iterator[None]:
    """What goes wrong within, as the error that it deserves, once `abandon` has left nothing half done.

    `cannot` begins the sentence for what the target refuses: "refuses what placemat keeps there".
    """
    try:
        yield
    except psycopg.errors.UndefinedTable as error:
        abandon()
        raise OperatorError(f"Target {target} is not prepared.", "Run: placemat init") from error
    except psycopg.Error as error:
        abandon()
        found = translate(error, target)
        if isinstance(found, Refused):
            raise OperatorError(f"Target {target} {cannot}: {found.reason}.", advice) from error
        raise found from error
    except BaseException:  # raised again, once nothing is half done
        abandon()
        raise
