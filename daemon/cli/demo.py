"""`placemat demo`: the whole of it on one machine, with servers and data of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    once: Annotated[bool, typer.Option("--once", help="End with a summary when everything has arrived.")] = False,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Load the CSV files of this folder instead.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object.")] = False,
) -> None:
    """Start servers, load sample data, run every worker. Then show what happens."""
    from daemon.embedded.demo import run_demo

    raise typer.Exit(run_demo(once=once, data=data, json=as_json))
