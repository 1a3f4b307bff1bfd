"""What the documents say can be typed and exists, and what exists is in the documents."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from daemon.cli import app
from daemon.config.section import Section
from daemon.config.settings import Settings
from daemon.observe import metrics
from tests.command import REPOSITORY
from tests.documents import read

PACKAGES = ("connectors", "daemon", "deploy", "schemas", "tests")
README, RUNBOOK, CLI, TEMPLATE, COMPOSE, MAKEFILE, CHANGELOG = (
    read(name)
    for name in (
        "README.md",
        "deploy/runbook.md",
        "daemon/cli/README.md",
        "daemon/cli/placemat.toml",
        "docker-compose.yml",
        "Makefile",
        "CHANGELOG.md",
    )
)
NOTION = read("connectors/notion/README.md")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
SERVICES = {
    name
    for file in (COMPOSE, read("deploy/compose/notion.yml"))
    for name in re.findall(r"^  ([a-z-]+):", file.split("\nservices:\n")[1].split("\nvolumes:\n")[0], re.MULTILINE)
}


def shell_lines(document: str) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def verbs(group: TyperGroup, *before: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from verbs(command, *before, name)
        else:
            yield (*before, name)


def placemat() -> TyperGroup:
    command = get_command(app)
    assert isinstance(command, TyperGroup)
    return command


def parse(words: list[str]) -> None:
    """Read words as the command would, options and arguments included; raises when it would refuse them."""
    at: TyperGroup | TyperCommand = placemat()
    for depth, word in enumerate(words):
        if not isinstance(at, TyperGroup):
            at.make_context(words[depth - 1], words[depth:])
            return
        if word == "--help":
            return
        found = at.commands[word]
        assert isinstance(found, TyperGroup | TyperCommand)
        at = found
    assert isinstance(at, TyperCommand), f"{' '.join(words)} lacks a verb"
    at.make_context(words[-1], [])


def check_compose(words: list[str]) -> None:
    match words:
        case ["-f", file, *rest]:
            assert (REPOSITORY / file).is_file()
            check_compose(rest)
        case ["up"] | ["up", "-d"] | ["up", "-d", "--remove-orphans"] | ["down", "--volumes"] | ["stop"]:
            pass
        case ["exec", "-T", service, "psql", *_, "<", file]:
            assert service in SERVICES
            assert (REPOSITORY / file).is_file()
        case ["exec", service, "psql", *_] | ["start", service] | ["port", service, "9464"]:
            assert service in SERVICES
        case ["run", "--rm", "init", *verb]:
            parse(verb)
        case _:
            pytest.fail(f"docker compose {words} is not known to this test")


@pytest.mark.parametrize("line", [*shell_lines(README), *shell_lines(RUNBOOK)])
def test_every_command_in_the_documents_can_be_typed(line: str) -> None:
    match shlex.split(line):
        case ["make", target, *variables]:
            assert target in TARGETS
            assert all(f"$({variable.partition('=')[0]})" in MAKEFILE for variable in variables)
        case ["placemat" | ".venv/bin/placemat", *words]:
            parse(words)
        case ["docker", "compose", *words]:
            check_compose(words)
        case ["pip", "install", "."]:
            pass
        case words:
            pytest.fail(f"{words} is not known to this test")


@pytest.mark.parametrize("document", [README, RUNBOOK, CLI, CHANGELOG], ids=["README", "runbook", "cli", "changelog"])
def test_every_verb_in_the_documents_exists(document: str) -> None:
    known = {verb[0] for verb in verbs(placemat())}
    for words in re.findall(r"`(?:\.venv/bin/)?placemat ([a-z]+(?: [a-z]+)?)", document):
        verb, *rest = words.split()
        assert verb in known
        group = placemat().commands[verb]
        if rest and isinstance(group, TyperGroup):
            assert rest[0] in group.commands


def test_every_verb_is_in_the_synopsis() -> None:
    synopsis = CLI.split("```")[1].splitlines()
    for verb in verbs(placemat()):
        assert any(set(verb) <= set(re.findall(r"[a-z]+", line)) for line in synopsis), verb


def below(section: type[Section]) -> Iterator[type[Section]]:
    for one in section.__subclasses__():
        yield one
        yield from below(one)


def test_every_setting_is_documented() -> None:
    sections: list[type[BaseModel]] = [Settings, *below(Section)]
    for section in sections:
        for name, field in section.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                continue
            assert re.search(rf"\b{name}\b", TEMPLATE + README + NOTION), f"{section.__name__}.{name}"


def test_every_metric_is_in_the_runbook_and_no_other() -> None:
    declared = [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]
    names = {family.name for metric in declared for family in metric.describe()}
    assert names
    table = set(re.findall(r"^\| `(placemat_[a-z_]+?)(?:_total)?` \|", RUNBOOK, re.MULTILINE))
    assert table == names


def test_the_readme_names_every_target_of_the_makefile() -> None:
    for target in TARGETS - {"help"}:
        assert re.search(rf"`(?:make )?{target}[` ]|^make {target}\b", README, re.MULTILINE), target


def test_no_lock_file_names_where_packages_come_from() -> None:
    for lock in REPOSITORY.glob("requirements*.lock"):
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index" not in text
        assert "--find-links" not in text


def test_every_document_that_is_pointed_to_exists() -> None:
    files = [REPOSITORY / "README.md", *(file for package in PACKAGES for file in (REPOSITORY / package).rglob("*.*"))]
    pointers = [
        (file.relative_to(REPOSITORY), name)
        for file in files
        if file.suffix in {".md", ".py", ".sql", ".toml"}
        for name in re.findall(r"[\w./-]*\w\.md\b", file.read_text(encoding="utf-8"))
    ]
    assert pointers
    gone = [
        (str(file), name)
        for file, name in pointers
        if not (REPOSITORY / name).is_file() and not (REPOSITORY / file.parent / name).is_file()
    ]
    assert gone == []
