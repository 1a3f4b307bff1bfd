"""Waiting for a condition, with a deadline: what tests do instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 15.0, *, what: str = "the condition") -> T:
    """Ask again and again until the answer is true, and return it. Fails the test after so many seconds."""
    deadline = time.monotonic() + seconds
    pause = Event()
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} was not true within {seconds:g} s")
        pause.wait(0.05)
    return answer
