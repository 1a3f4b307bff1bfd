"""A session that writes rows: texts mean the same on every server, and nobody waits for ever."""

from __future__ import annotations

from typing import Any

import psycopg

CONNECT_TIMEOUT_SECONDS = 5
_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO,YMD",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "3",
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
