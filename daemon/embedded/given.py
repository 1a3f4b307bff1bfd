"""Servers that are there already, named by the operator, in the place of embedded ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlsplit


class Postgres(Protocol):
    """A PostgreSQL to work on. `PostgresServer` is one too."""

    def dsn(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """A `postgresql://` URL; the superuser's, unless a user and a password are given."""


class Kafka(Protocol):
    """A Kafka to work on. `KafkaServer` is one too."""

    @property
    def bootstrap_servers(self) -> str: ...


@dataclass(frozen=True, slots=True)
class GivenPostgres:
    """`url` is a superuser's, with any database in it; its parameters, such as `sslmode`, are kept."""

    url: str

    def dsn(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        given = urlsplit(self.url)
        login, _, address = given.netloc.rpartition("@")
        if password is not None:
            login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        netloc = f"{login}@{address}" if login else address
        return given._replace(netloc=netloc, path=f"/{quote(database)}").geturl()


@dataclass(frozen=True, slots=True)
class GivenKafka:
    bootstrap_servers: str
