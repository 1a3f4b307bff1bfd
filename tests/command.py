"""The command `placemat`, run in the test's own process."""

from __future__ import annotations

import io
import json
import logging
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon import cli

REPOSITORY = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.out, self.err
        return json.loads(self.out)


def command(*arguments: str) -> Ended:
    """What the real command does with these arguments, and how it ends."""
    out, err = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            cli.main(arguments)
    finally:
        root.handlers, root.level = handlers, level
    return Ended(int(end.value.code or 0), out.getvalue(), err.getvalue())
