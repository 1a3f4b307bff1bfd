"""The stage of the crash tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.stage import Stage, stage


@pytest.fixture
def crash_stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Set up by `init`; no worker runs."""
    with stage(tmp_path, quick=request.node.get_closest_marker("long") is None) as found:
        found.init()
        yield found
