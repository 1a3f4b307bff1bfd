"""The verbs about the configuration, and what every verb has in common."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.command import REPOSITORY, command


def test_init_writes_a_configuration_that_check_finds_right(tmp_path: Path) -> None:
    path = tmp_path / "placemat.toml"
    assert command("config", "init", str(path)).code == 0
    checked = command("--config", str(path), "config", "check")
    assert (checked.code, checked.err) == (0, f"{path} is right: 1 source, 1 target.\n")


def test_the_version_is_that_of_the_distribution() -> None:
    distribution = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert command("--version").out == f"placemat {distribution['version']}\n"


def test_without_a_verb_the_help_is_printed() -> None:
    ended = command()
    assert (ended.code, ended.out) == (2, "")
    assert "Usage: placemat" in ended.err
    assert "snapshot" in ended.err


def test_init_does_not_replace_a_file_unless_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "placemat.toml"
    path.write_text("mine")
    refused = command("config", "init", str(path))
    assert (refused.code, path.read_text()) == (2, "mine")
    assert "--force" in refused.err
    assert command("config", "init", str(path), "--force").code == 0


def test_show_prints_every_setting_and_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "placemat.toml"
    command("config", "init", str(path))
    monkeypatch.setenv("PLACEMAT_SOURCES__PRIMARY__URL", "postgresql://who:hush@db.example.org/primary?sslmode=require")
    monkeypatch.setenv("PLACEMAT_STATE__URL", "not a url, hush")
    monkeypatch.setenv("PLACEMAT_KAFKA__SASL_PASSWORD", "hush")
    shown, as_json = (command("--config", str(path), "config", "show", *extra) for extra in ([], ["--json"]))
    for text in (shown.out, as_json.out):
        assert "hush" not in text
        assert "db.example.org" in text
    assert "kafka.partitions = 6\n" in shown.out
    assert as_json.json["kafka"]["sasl_password"] == as_json.json["state"]["url"] == "****"


def test_schema_prints_the_exported_file() -> None:
    exported = REPOSITORY / "schemas" / "json" / "configuration.schema.json"
    assert command("config", "schema").out == exported.read_text()
    json.loads(exported.read_text())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["launch"], "No such command 'launch'"),
        (["run", "--fast"], "No such option: --fast"),
        (["dlq", "show", "first"], "Invalid value for 'ID'"),
        (["dlq", "show"], "Missing argument 'ID'"),
        (["lag", "--interval", "0"], "Invalid value for '--interval'"),
    ],
)
def test_a_command_that_is_not_understood_ends_with_two(arguments: list[str], sentence: str) -> None:
    ended = command(*arguments)
    assert ended.code == 2
    assert ended.err.startswith(f"Error: {sentence}")
    assert "\nTry: placemat" in ended.err


def test_the_advice_names_the_help_of_the_verb() -> None:
    assert command("dlq", "show").err.endswith("\nTry: placemat dlq show --help\n")


@pytest.mark.parametrize("words", [[], ["dlq"], ["dev"]])
def test_no_verb_shows_the_help_and_no_error(words: list[str]) -> None:
    ended = command(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == command(*words, "--help").out


@pytest.mark.parametrize("words", [[], ["dlq"], ["dev"], ["config"]])
def test_no_sentence_of_the_list_of_verbs_is_cut_off(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    verbs = command(*words, "--help").out.partition("Commands:")[2]
    assert verbs.count(".\n") > 2
    assert "..." not in verbs


def test_a_missing_configuration_ends_with_two(tmp_path: Path) -> None:
    ended = command("--config", str(tmp_path / "gone.toml"), "status")
    assert ended.code == 2
    assert ended.err.endswith("Try: Write one with: placemat config init\n")


@pytest.mark.parametrize(
    "verb", ["init", "run", "status", "lag", "tail", "verify", "demo", "dlq", "dlq redrive", "config", "dev", "dev sql"]
)
def test_every_verb_says_what_it_takes(verb: str) -> None:
    ended = command(*verb.split(), "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "Usage: " in ended.out


def test_help_loads_none_of_what_makes_a_start_slow() -> None:
    heavy = (
        "sqlalchemy",
        "confluent_kafka",
        "psycopg",
        "structlog",
        "pydantic",
        "alembic",
        "rich",
        "prometheus_client",
    )
    program = (
        "import sys; from daemon import cli\n"
        "try: cli.main(['--help'])\n"
        f"except SystemExit: print(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert ended.stderr == "[]\n"


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "placemat.toml"
    command("config", "init", str(path))
    piped = subprocess.run(
        f"{sys.executable} -m daemon --config {path} config schema | head -c 10",
        cwd=REPOSITORY,
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert piped.stderr == ""


def test_a_demo_without_the_embedded_servers_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "daemon.embedded.demo", None)
    monkeypatch.setattr("daemon.cli.EMBEDDED", {"daemon.embedded.demo"})
    ended = command("demo")
    assert ended.code == 1
    assert "Error: The servers of demo and dev are not installed" in ended.err
    assert "Traceback" not in ended.err
