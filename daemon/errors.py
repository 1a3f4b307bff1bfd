"""What the daemon's rooms raise for a person to act on: see `connectors.errors`."""

from connectors.errors import GAP_ADVICE, Fenced, Gap, OperatorError, TableUnfit, Unavailable

__all__ = ["GAP_ADVICE", "Fenced", "Gap", "OperatorError", "TableUnfit", "Unavailable"]
