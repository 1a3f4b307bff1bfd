"""Looking at the publication while tables come and go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from daemon.capture import publication

ALL = dict.fromkeys((f"pub{operation}" for operation in publication.OPERATIONS), True)
ITEMS = {"relation": 7, "readable": True, "membership": 8, "published": True, "filter": None, "hidden": None}


class Server:
    """Fails so many times, as where a table is dropped between two steps of one query, and then answers."""

    def __init__(self, failures: int) -> None:
        self._failures: Iterator[int] = iter(range(failures))

    def query(self, _statement: str, _values: Sequence[Any]) -> tuple[Any, ...]:
        for _ in self._failures:
            raise psycopg.errors.InternalError_("could not open relation with OID 6")
        return 1, ALL, {"public.items": ITEMS}


def test_a_table_that_is_dropped_during_a_look_is_looked_at_again() -> None:
    found = publication.check(Server(3), "primary", "placemat", ["public.items"], None)
    assert found.identities == {"public.items": (7, 8)}


def test_a_server_that_never_answers_is_an_error() -> None:
    with pytest.raises(psycopg.errors.InternalError_):
        publication.check(Server(100), "primary", "placemat", ["public.items"], None)
