"""`placemat dev`: PostgreSQL and Kafka of one's own, without the daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.cli.context import AsJson
from daemon.cli.output import say, write_json, write_table

app = typer.Typer(
    help="PostgreSQL and Kafka of one's own, in the background.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def up(as_json: AsJson = False) -> None:
    """Start the servers, with data that stays until the next time."""
    from daemon.embedded.dev import dev_up

    entry = dev_up()
    if as_json:
        write_json({"databases": dict(entry.dsns), "bootstrap_servers": entry.bootstrap_servers})
        return
    for name, url in entry.dsns.items():
        typer.echo(f"{name}: {url}")
    typer.echo(f"kafka: {entry.bootstrap_servers}")
    say('Ask them something: placemat dev sql primary "SELECT version()". Stop them: placemat dev down')
    say("Their databases are as you leave them, empty at first; for the daemon put these URLs into a placemat.toml.")


@app.command()
def down() -> None:
    """Stop the servers; their data stays."""
    from daemon.embedded.dev import dev_down

    say("Stopped." if dev_down() else "Nothing was running.")


@app.command()
def sql(
    database: Annotated[str, typer.Argument(metavar="DATABASE", help="primary, empathy_ledger or state.")],
    statement: Annotated[str, typer.Argument(metavar="STATEMENT", help="SQL, in quotes.")],
    as_json: AsJson = False,
) -> None:
    """Run SQL on a database of the running demo or dev servers."""
    from daemon.embedded.dev import dev_sql

    result = dev_sql(database, statement)
    texts = [["" if value is None else str(value) for value in row] for row in result.rows]
    if as_json:
        rows = [[None if value is None else str(value) for value in row] for row in result.rows]
        write_json({"columns": list(result.columns), "rows": rows, "status": result.status})
        return
    if result.columns:
        write_table(list(result.columns), texts)
    say(result.status)
