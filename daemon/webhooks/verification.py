"""The secret by which a service's requests are known: as configured, or as the service has handed it over once, while
somebody was waiting for that. Nobody else can set one, and nobody can replace it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from connectors.http.auth.token import Kept, Token, TokenStore
from daemon.errors import Unavailable

FRESH_SECONDS = 1.0
"""What was read so long ago is read again."""
_UNTIL = "awaited_until"
_CAME = "came_at"


class Verification(Protocol):
    """Of one target, from any thread. Raises Unavailable and OperatorError where nobody knows."""

    def secret(self) -> str | None:
        """None: there is none yet."""

    def awaits(self) -> bool:
        """Whether somebody waits for the service to hand one over."""

    def accept(self, secret: str) -> bool:
        """Keep what was handed over; False: nobody waits for it any more."""


@dataclass(frozen=True, slots=True)
class Configured:
    """A `Verification` that is what it is."""

    value: str

    def secret(self) -> str | None:
        return self.value

    def awaits(self) -> bool:
        return False

    def accept(self, secret: str) -> bool:  # noqa: ARG002 it has one
        return False


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a target: the secret, until when another is waited for, and when this one came."""

    secret: str | None = None
    until: datetime | None = None
    came_at: datetime | None = None


class Handshakes:
    """Where secrets that services hand over are kept, encrypted. Raises as `TokenStore` does."""

    def __init__(self, tokens: TokenStore, target: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)):
        self._tokens = tokens
        self._place = f"{target}:webhooks"
        """No target has such a name."""
        self._now = now

    def known(self) -> Known:
        return _known(self._tokens.read(self._place))

    def wait_for(self, seconds: float) -> None:
        """Let the next one in, once, within this time; the present one holds until then."""
        until = self._now() + timedelta(seconds=seconds)
        self._tokens.change(self._place, lambda kept: _kept(_known(kept).secret, {_UNTIL: until.isoformat()}))

    def stop_waiting(self) -> None:
        def change(kept: Kept | None) -> Kept | None:
            known = _known(kept)
            if known.until is None:
                return kept
            return None if known.secret is None else _kept(known.secret, {})

        self._tokens.change(self._place, change)

    def accept(self, secret: str) -> bool:
        accepted = False

        def change(kept: Kept | None) -> Kept | None:
            nonlocal accepted
            until = _known(kept).until
            accepted = until is not None and self._now() < until
            return _kept(secret, {_CAME: self._now().isoformat()}) if accepted else kept

        self._tokens.change(self._place, change)
        return accepted

    def forget(self) -> None:
        self._tokens.change(self._place, lambda _: None)

    def open(self, known: Known) -> bool:
        """Whether another one is let in now."""
        return known.until is not None and self._now() < known.until


class Stored:
    """A `Verification` by what is kept. While that cannot be read, what was read last holds."""

    def __init__(self, handshakes: Handshakes, clock: Callable[[], float] = time.monotonic) -> None:
        self._handshakes = handshakes
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Known | None = None
        self._read_at = 0.0

    def secret(self) -> str | None:
        return self._current().secret

    def awaits(self) -> bool:
        return self._handshakes.open(self._current())

    def accept(self, secret: str) -> bool:
        accepted = self._handshakes.accept(secret)
        with self._lock:
            self._known = None
        return accepted

    def _current(self) -> Known:
        with self._lock:
            if self._known is None or self._clock() - self._read_at > FRESH_SECONDS:
                try:
                    self._known = self._handshakes.known()
                except Unavailable:
                    if self._known is None:
                        raise
                self._read_at = self._clock()
            return self._known


def _known(kept: Kept | None) -> Known:
    if kept is None:
        return Known()
    until, came = kept.token.about.get(_UNTIL), kept.token.about.get(_CAME)
    return Known(
        kept.token.access or None,
        None if until is None else datetime.fromisoformat(until),
        None if came is None else datetime.fromisoformat(came),
    )


def _kept(secret: str | None, about: dict[str, str]) -> Kept:
    return Kept(Token(secret or "", about=about))
