"""Lines of `placemat tail`: within the width of a terminal, and whole for everybody else."""

from __future__ import annotations

import sys

import pytest
from rich.cells import cell_len

from daemon.cli.tail import fitting

LINE = "2026-03-01 09:00:00.000  placemat.primary.public.stories  u  id=7  título 故事, summary, updated_at"


def test_a_line_is_cut_where_the_terminal_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for width in range(60, 80):
        monkeypatch.setenv("COLUMNS", str(width))
        line = fitting()(LINE)
        assert width - 3 <= cell_len(line) <= width
        assert line.endswith("…")
    monkeypatch.setenv("COLUMNS", "200")
    assert fitting()(LINE) == LINE


def test_a_line_that_goes_elsewhere_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    monkeypatch.setenv("COLUMNS", "20")
    assert fitting()(LINE) == LINE
