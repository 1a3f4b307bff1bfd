"""Two databases that go both ways for the tests of a module, set up as the module says."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.fix_linked import Linked, made_linked
from tests.fix_servers import Kafka, Postgres
from tests.people import a_workspace


@pytest.fixture(scope="module")
def both(
    request: pytest.FixtureRequest, postgres_server: Postgres, kafka_server: Kafka,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Linked]:  # fmt: skip
    """At work. The function `prepare` of the module sets rules and tables before that."""
    with made_linked(postgres_server, kafka_server, tmp_path_factory.mktemp("both")) as linked:
        request.module.prepare(linked)
        linked.init()
        with linked.running():
            linked.copied()
            yield linked


@pytest.fixture(scope="module")
def workspace(both: Linked) -> uuid.UUID:
    return a_workspace(both)
