"""`placemat config`: write, check and show the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli.context import AsJson, config_path
from daemon.cli.output import Json, say, write_json
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from pydantic import SecretStr

app = typer.Typer(help="Write, check and show the configuration.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(metavar="[PATH]", help="File to write.")] = Path("placemat.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a configuration to begin with, with a comment on every part."""
    from importlib.resources import files

    template = files("daemon.cli").joinpath("placemat.toml").read_text(encoding="utf-8")
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(template)
    except FileExistsError:
        raise OperatorError(f"{path} exists.", "Name another file, or replace it with --force.", exit_code=2) from None
    except OSError as error:
        raise OperatorError(f"{path} cannot be written: {error.strerror}.", "Name another file.", exit_code=2) from None
    say(f"Wrote {path}. Change what it says to your servers, then run: placemat init")


@app.command()
def check(ctx: typer.Context) -> None:
    """Say whether the configuration can be used. It connects to nothing: placemat init does."""
    from daemon.config.load import load

    path = config_path(ctx)
    settings = load(path)
    say(f"{path} is right: {_count(settings.sources, 'source')}, {_count(settings.targets, 'target')}.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    typer.echo(schema_text(), nl=False)


@app.command()
def show(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Print every setting that is in force, with secrets left out."""
    from daemon.config.load import load

    values = _plain(load(config_path(ctx)).model_dump())
    if as_json:
        write_json(values)
    else:
        for name, value in _flat("", values):
            typer.echo(f"{name} = {value}")


def schema_text() -> str:
    """As it stands in `schemas/json/configuration.schema.json`."""
    from daemon.config.settings import Settings
    from schemas.export import text

    return text(Settings.model_json_schema())


def _count(things: Any, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _plain(value: Any) -> Json:
    from pydantic import SecretStr

    match value:
        case SecretStr():
            return _without_password(value)
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case Path():
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(type(value).__name__)


def _without_password(secret: SecretStr) -> str:
    """A database URL keeps host, database and user; every other secret keeps nothing."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(secret.get_secret_value())
    except psycopg.ProgrammingError:
        return "****"
    shown = {name: "****" if "password" in name or name == "sslkey" else value for name, value in parts.items()}
    return " ".join(f"{name}={value}" for name, value in shown.items())


def _flat(prefix: str, value: Json) -> list[tuple[str, str]]:
    import json

    if isinstance(value, dict) and value:
        return [pair for key, inner in value.items() for pair in _flat(f"{prefix}.{key}" if prefix else key, inner)]
    return [(prefix, json.dumps(value, ensure_ascii=False))]
