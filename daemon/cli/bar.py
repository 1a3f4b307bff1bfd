"""One bar on standard error, for work whose length is known."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar


class Measured(Protocol):
    """How much is done, and of how much."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...


P = TypeVar("P", bound=Measured)


@contextmanager
def progress_bar(describe: Callable[[P], str]) -> Iterator[Callable[[P], None] | None]:
    """What moves the bar, for a person who looks; None where nobody does."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(progress: P) -> None:
            bar.update(task, description=describe(progress), completed=progress.done, total=progress.total)

        yield show
