"""What an error of the apply loop leads to: one table for all of them."""

from __future__ import annotations

from enum import Enum

from connectors.contract import TryAgain
from daemon.errors import Fenced, OperatorError, Unavailable


class Action(Enum):
    """What the worker does next. A record that a target refuses is no error here: the sink parks it."""

    RETRY = "the same batch once more"
    PROBE = "wait for the target, then go on from what it has stored"
    STOP = "end for good, with a sentence for a person"


def decide(error: BaseException) -> Action:
    """Nothing is committed in any case; what is not known here stops the target."""
    match error:
        case TryAgain():
            return Action.RETRY
        case Unavailable():
            return Action.PROBE
        case Fenced() | OperatorError():
            return Action.STOP
        case _:
            return Action.STOP


def ending(error: Exception, target: str) -> Exception:
    """The error that a worker ends with. What nobody foresaw is named by its type: its text may hold row values."""
    if isinstance(error, Fenced | OperatorError):
        return error
    stopped = OperatorError(
        f"Target {target} was stopped by an error that nobody foresaw ({type(error).__name__}); nothing was committed.",
        "See the log for where it happened and report it; placemat run starts again from what is stored.",
    )
    stopped.__cause__ = error
    return stopped
