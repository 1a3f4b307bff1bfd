"""One bar on standard error, for work whose length is known."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from daemon.progress import OnProgress, Progress


@contextmanager
def progress_bar() -> Iterator[OnProgress | None]:
    """What moves the bar, for a person who looks; None where nobody does."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(progress: Progress) -> None:
            what = f"{progress.step} (waiting)" if progress.waiting else progress.step
            bar.update(task, description=what, completed=progress.done, total=progress.total)

        yield show
