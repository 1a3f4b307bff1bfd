"""What the daemon's rooms raise for a person to act on: see `connectors.errors`."""

from connectors.errors import Fenced, OperatorError, Unavailable

__all__ = ["Fenced", "OperatorError", "Unavailable"]
