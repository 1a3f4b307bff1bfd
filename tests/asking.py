"""Connections that are kept for the length of a test: what is asked again and again connects once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

_kept: dict[str, psycopg.Connection[Any]] = {}


def kept(url: str) -> psycopg.Connection[Any]:
    """The connection that is kept for this URL, in autocommit; a new one when there is none or it broke."""
    connection = _kept.get(url)
    if connection is None or connection.closed:
        connection = _kept[url] = psycopg.connect(url, autocommit=True)
    return connection


def ask(url: str, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a statement as a transaction of its own; its rows, if there are any. Asks again when the server was away."""
    connection = kept(url)
    try:
        found = connection.execute(statement.encode(), values or None)
    except psycopg.OperationalError:
        if not connection.closed:
            raise
        found = kept(url).execute(statement.encode(), values or None)
    return found.fetchall() if found.description else []


def close_kept() -> None:
    """At the end of a test."""
    while _kept:
        _kept.popitem()[1].close()
