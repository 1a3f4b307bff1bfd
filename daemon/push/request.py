"""A request that is made of a service for one key, and how it is made."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.pushing import Due
from connectors.service import Done, Gone, InTheTrash, Refused, Rows, Service, Unknown, Written
from daemon.push import plan
from daemon.push.plan import Step

SEND_SECONDS = 15.0
"""A request begins so soon after its intent was stored, or not at all."""


class Spent(Exception):
    """The service lets nothing through before a moment (seconds since 1970; None: nobody knows)."""

    def __init__(self, why: str, until: float | None) -> None:
        super().__init__(why)
        self.until = until


@dataclass(frozen=True, slots=True)
class Task:
    """A request for one key, and the records that its references stand for."""

    due: Due
    step: Step
    rows: Rows
    latest: float
    """By `time.monotonic`: it is not sent after that."""


def latest() -> float:
    """By when a request is to begin whose intent is stored after this was asked."""
    return time.monotonic() + SEND_SECONDS


def ask(service: Service, task: Task) -> Written:
    """From any thread."""
    due, step = task.due, task.step
    table, linked, latest = due.lease.key.table, due.linked, task.latest
    row = {} if due.wanted is None else plan.sends(due.wanted, step.values)
    match step.operation:
        case "create" if linked.remote_id is not None:
            back = service.restore(table, linked.remote_id, latest)
            if not isinstance(back, Done):
                return back
            version = None if back.remote is None else back.remote.version
            answer = service.update(table, linked.remote_id, row, task.rows, version, latest)
            return _given(service, task, answer, version)
        case "create":
            return service.create(table, key_value(due), row, task.rows, latest)
        case "update":
            assert linked.remote_id is not None, "what is changed is there"
            return service.update(table, linked.remote_id, row, task.rows, linked.version, latest)
        case "delete":
            assert linked.remote_id is not None, "what is taken away is there"
            return service.delete(table, linked.remote_id, linked.version, latest)
        case None:
            raise AssertionError("nothing is asked for")


def _given(service: Service, task: Task, answer: Written, version: str | None) -> Written:
    """What was taken out of the trash has its values, or nobody takes it for what it was."""
    table, remote_id = task.due.lease.key.table, task.due.linked.remote_id
    assert remote_id is not None, "it was in the trash"
    match answer:
        case Done() | Unknown():
            return answer
        case Refused() if isinstance(service.delete(table, remote_id, version, task.latest), Done | Gone | InTheTrash):
            return answer
        case _:
            return Unknown("it was taken out of the trash, and not given its values", remote_id)


def key_value(due: Due) -> str:
    """The value of the row's key, as a record holds it."""
    (value,) = orjson.loads(due.lease.key.text).values()
    return str(value)


def details(step: Step, request: str | None) -> Mapping[str, Any]:
    """For the audit."""
    found: dict[str, Any] = {"operation": step.operation}
    if request is not None:
        found["request"] = request
    return found
