"""Keys of records as people read them. Pure."""

from __future__ import annotations

import json


def key_text(key: str | bytes) -> str:
    """Each column and its value; `key` is a record's, as JSON."""
    return ", ".join(f"{name}={value}" for name, value in json.loads(key).items())
