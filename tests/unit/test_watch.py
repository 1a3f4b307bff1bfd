"""A watch brings what it found into the loop's thread, and nothing else."""

from __future__ import annotations

import threading

import pytest

from daemon.errors import Gap, Unavailable
from daemon.watch import Watch
from tests.waiting import until


def test_what_a_look_finds_is_raised_in_the_thread_that_asks() -> None:
    looks: list[Exception | None] = [None, Unavailable("away"), ValueError("private"), Gap("It is gone.", "topic_gone")]

    def look() -> None:
        if error := looks.pop(0):
            raise error

    with Watch(look, 0.001, "test") as watch:
        until(lambda: not looks, what="the last look")

        def found() -> bool:
            try:
                watch.check()
            except Gap:
                return True
            return False

        until(found, what="the gap")
        with pytest.raises(Gap, match="gone"):
            watch.check()


def test_a_look_that_waits_for_ever_does_not_hold_up_the_end() -> None:
    entered, release = threading.Event(), threading.Event()

    def look() -> None:
        entered.set()
        release.wait()

    with Watch(look, 0.001, "test") as watch:
        assert entered.wait(5)
        watch.check()
    release.set()
