"""What is done with a request: whose it is, whether the service has sent it, and what it names."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

import structlog

from connectors.contract import TryAgain
from connectors.hooks import Headers, Hooks, Marks, Unreadable
from daemon.errors import OperatorError, Unavailable
from daemon.observe import metrics
from daemon.webhooks.bucket import Bucket
from daemon.webhooks.head import Head
from daemon.webhooks.listener import Answer
from daemon.webhooks.verification import Verification

PLACE = "/webhooks/"
NO_TARGET = "-"
"""Stands for the target where a request has named none that there is: strangers make no labels."""
Outcome = Literal[
    "taken", "repeated", "foreign", "unreadable", "handshake", "forged", "unavailable", "too_many", "unknown", "refused"
]
_STATUS: Mapping[Outcome, HTTPStatus] = {
    "forged": HTTPStatus.UNAUTHORIZED,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "too_many": HTTPStatus.TOO_MANY_REQUESTS,
    "unknown": HTTPStatus.NOT_FOUND,
}
_LATER = {"unavailable": 30, "too_many": 1}
"""Seconds after which a service is to send it again."""
_EXPECTED: set[Outcome] = {"taken", "repeated", "foreign", "handshake"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Way:
    """How requests for one target are taken."""

    hooks: Hooks
    verification: Verification
    marks: Marks
    bucket: Bucket


class Receiver:
    """A `daemon.webhooks.listener.Answering`. Nothing of what came is written down, but ids of a service's own."""

    def __init__(self, ways: Mapping[str, Way]) -> None:
        self._ways = ways
        self._lock = threading.Lock()
        self._untold: Counter[tuple[str, Outcome]] = Counter()
        self._nobodys = secrets.token_hex()
        """Is compared with where there is no secret, so that this takes as long."""

    def admit(self, head: Head) -> Answer | None:
        if head.method != "POST":
            self._count(NO_TARGET, "refused")
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED)
        target = _target(head)
        if (way := self._ways.get(target)) is None:
            return self._answer(NO_TARGET, "unknown")
        return None if way.bucket.take() else self._answer(target, "too_many")

    def answer(self, head: Head, body: bytes) -> Answer:
        target = _target(head)
        try:
            return self._answer(target, self._take(self._ways[target], head.headers, body))
        except (Unavailable, TryAgain, OperatorError) as error:
            log.warning("a webhook could not be taken", target=target, error=str(error))
            return self._answer(target, "unavailable")

    def refused(self, _status: HTTPStatus) -> None:
        self._count(NO_TARGET, "refused")

    def tell(self) -> None:
        """Write down how many were turned away since this was done last, whoever sends however many."""
        with self._lock:
            found, self._untold = self._untold, Counter()
        for (target, outcome), count in sorted(found.items()):
            log.warning("webhooks were turned away", target=target, outcome=outcome, count=count)

    def _take(self, way: Way, headers: Headers, body: bytes) -> Outcome:
        secret = way.verification.secret()
        if not way.hooks.verify(secret or self._nobodys, headers, body) or secret is None:
            if way.verification.awaits() and (handed := way.hooks.handshake(headers, body)) is not None:
                return "handshake" if way.verification.accept(handed) else "forged"
            return "forged"
        try:
            delivery = way.hooks.read(headers, body)
        except Unreadable:
            return "unreadable"
        return way.marks.take(delivery)

    def _answer(self, target: str, outcome: Outcome) -> Answer:
        self._count(target, outcome)
        return Answer(_STATUS.get(outcome, HTTPStatus.OK), _LATER.get(outcome))

    def _count(self, target: str, outcome: Outcome) -> None:
        metrics.WEBHOOKS.labels(target, outcome).inc()
        if outcome not in _EXPECTED:
            with self._lock:
                self._untold[target, outcome] += 1


def _target(head: Head) -> str:
    return head.path.removeprefix(PLACE) if head.path.startswith(PLACE) else ""
