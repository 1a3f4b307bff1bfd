"""The errors of the whole product, by who owns them."""

from __future__ import annotations

GAP_ADVICE = 'Stop its capture and run placemat resync with the name of the source: see "A gap" in deploy/runbook.md.'
"""What to do when changes are missing for good, on either side of Kafka."""


class OperatorError(Exception):
    """Something only an operator can put right.

    `str(error)` is one sentence that says what is wrong; `try_` says what to do about it.
    The command prints both and no traceback; a worker stops with it and is not restarted.
    """

    def __init__(self, sentence: str, try_: str, *, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.try_ = try_
        self.exit_code = exit_code


class TableUnfit(OperatorError):
    """One table of a target cannot go on before an operator has acted; the other tables can."""

    def __init__(self, table: str, sentence: str, try_: str) -> None:
        super().__init__(sentence, try_)
        self.table = table


class Gap(OperatorError):
    """Changes are missing for good, or may be: the worker stops, and only an operator ends the gap.

    `reason` is a label of the metric `placemat_gap`: one of a few words, with underscores.
    """

    def __init__(self, sentence: str, reason: str, try_: str = GAP_ADVICE) -> None:
        super().__init__(sentence, try_)
        self.reason = reason


class Unavailable(Exception):
    """The other side does not answer now: the same work is tried again, with back-off."""


class Fenced(Exception):
    """Another instance has taken over: this one writes no more, and stands by."""
