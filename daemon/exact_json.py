"""JSON for people and the audit log: numbers keep all their digits."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec

decode: Final[Callable[[str | bytes], Any]] = msgspec.json.Decoder(Any, float_hook=Decimal).decode
"""A document as Python has it; a number with a point is a Decimal. Raises msgspec.DecodeError."""
