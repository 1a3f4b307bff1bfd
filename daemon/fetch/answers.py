"""A service that does not answer those who read it."""

from __future__ import annotations


class NotAnswered(Exception):
    """The service does not answer: the same is asked again later."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds
