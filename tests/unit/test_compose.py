"""The services of docker-compose.yml and deploy/compose/notion.yml, with the configuration that they mount."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from typing import Any

import pytest

from daemon import wiring
from daemon.config.load import load
from daemon.config.notion import NotionTarget
from daemon.config.settings import Settings
from daemon.errors import OperatorError
from tests.command import REPOSITORY
from tests.documents import read

COMPOSE, NOTION = read("docker-compose.yml"), read("deploy/compose/notion.yml")
PASSED_ON = re.findall(r"^    (PLACEMAT_\w+):$", COMPOSE, re.MULTILINE)
TOKEN = "PLACEMAT_TARGETS__NOTION__AUTH__TOKEN"


def variables(file: str) -> dict[str, str]:
    """Of the daemon's containers, with everything as it is where `.env` says nothing but what it has to."""
    found = dict(re.findall(r"^    (PLACEMAT_\w+): (\S.*)$", file, re.MULTILINE))
    return {name: re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", _given, value) for name, value in found.items()}


def _given(variable: re.Match[str]) -> str:
    required = ":?" in variable[0] or variable[2] is None
    return f"of {variable[1]}" if required else variable[2]


def runs(file: str) -> dict[str, list[str]]:
    """By service, the workers that its command names."""
    found = re.findall(r"^  ([a-z-]+):\n(?:    .+\n)*?    command: \[run, (.+)\]$", file, re.MULTILINE)
    return {service: [name.strip().strip('"') for name in names.split(",")] for service, names in found}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    return configured(monkeypatch)


@pytest.fixture
def with_notion(monkeypatch: pytest.MonkeyPatch) -> Settings:
    return configured(monkeypatch, COMPOSE, NOTION)


def configured(monkeypatch: pytest.MonkeyPatch, *files: str) -> Settings:
    for file in files or (COMPOSE,):
        for name, value in variables(file).items():
            monkeypatch.setenv(name, value)
    return load(REPOSITORY / f"deploy/compose/{'notion' if NOTION in files else 'placemat'}.toml")


def test_every_worker_runs_in_one_service(settings: Settings) -> None:
    assert run_by_all(settings) == Counter(wiring.worker_names(settings))
    assert not any(name.startswith("notify:") for name in run_by_all(settings))


@pytest.mark.parametrize(
    "given",
    [
        {"PLACEMAT_NOTIFY__WEBHOOK_URL": "https://chat.example.org/hook"},
        {"PLACEMAT_NOTIFY__EMAIL_TO": "team@example.org", "PLACEMAT_AUDIT__ENABLED": "false"},
    ],
)
def test_somebody_is_told_of_conflicts_where_the_configuration_says_whom(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = configured(monkeypatch)
    assert run_by_all(settings) == Counter(wiring.worker_names(settings))
    assert run_by_all(settings)["notify:primary"] == 1


def test_what_the_environment_gives_to_the_containers_are_settings(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.notify.webhook_url is None
    given = {
        "PLACEMAT_NOTIFY__WEBHOOK_URL": "https://chat.example.org/hook",
        "PLACEMAT_NOTIFY__SMTP_PASSWORD": "secret",
    }
    assert sorted(PASSED_ON) == sorted(given)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PLACEMAT_NOTIFY__SMTP_USER", "placemat")
    notify = configured(monkeypatch).notify
    assert notify.webhook_url is not None
    assert notify.smtp_password is not None


def test_with_notion_every_worker_runs_in_one_service_too(with_notion: Settings) -> None:
    assert run_by_all(with_notion, COMPOSE, NOTION) == Counter(wiring.worker_names(with_notion))


def test_the_containers_get_of_notion_what_the_environment_has(with_notion: Settings) -> None:
    notion = with_notion.targets["notion"]
    assert isinstance(notion, NotionTarget)
    assert notion.auth.kind == "token"
    assert notion.auth.secret() == "of NOTION_TOKEN"
    assert notion.base_url == "https://api.notion.com"
    assert {name: one.data_source for name, one in notion.entities.items()} == {
        name: f"of NOTION_{name.upper()}" for name in ("projects", "opportunities", "people", "stories")
    }
    both = {name for name, one in notion.entities.items() if one.both_ways}
    assert both == {"projects", "opportunities"}
    assert all(notion.entities[name].defaults == {"workspace_id": "of NOTION_WORKSPACE_ID"} for name in both)


@pytest.mark.parametrize("token", [None, ""])
def test_without_the_token_of_notion_a_sentence_names_it(token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    configured(monkeypatch, COMPOSE, NOTION)
    if token is None:
        monkeypatch.delenv(TOKEN)
    else:
        monkeypatch.setenv(TOKEN, token)
    with pytest.raises(OperatorError, match=r"targets\.notion\.auth: there is no token: .*__AUTH__TOKEN"):
        load(REPOSITORY / "deploy/compose/notion.toml")


def test_a_container_that_only_notion_needs_has_what_the_others_have(with_notion: Settings) -> None:
    assert variables(COMPOSE).items() <= variables(NOTION).items()
    assert re.findall(r"^    (PLACEMAT_\w+):$", NOTION, re.MULTILINE) == PASSED_ON
    daemon = COMPOSE.split("x-daemon: &daemon\n")[1].split("  volumes:")[0]
    assert daemon in NOTION
    assert set(runs(NOTION)) - set(runs(COMPOSE)) == {"apply-notion", "push-notion", "fetch-notion", "webhooks"}


def test_with_notion_all_stands_that_stands_without_it() -> None:
    without = tomllib.loads(read("deploy/compose/placemat.toml"))
    found: dict[str, Any] = tomllib.loads(read("deploy/compose/notion.toml"))
    captured = found["sources"]["primary"]["tables"]
    assert set(without["sources"]["primary"]["tables"]) < set(captured)
    found["sources"]["primary"]["tables"] = without["sources"]["primary"]["tables"]
    for name in ("notion", "primary_notion"):
        del found["targets"][name]
    assert found.pop("webhooks") == {"host": "0.0.0.0"}
    assert found == without


def test_what_listens_is_published_on_this_host_alone() -> None:
    published = re.findall(r"^    ports: \[(.+)\]$|^  ports: \[(.+)\]$", COMPOSE + NOTION, re.MULTILINE)
    assert len(published) == 3
    for one in published:
        assert all(port.startswith("127.0.0.1:") for port in re.findall(r'"([^"]+)"', "".join(one)))


def run_by_all(settings: Settings, *files: str) -> Counter[str]:
    by_service: dict[str, list[str]] = {}
    for file in files or (COMPOSE,):
        by_service |= runs(file)
    return Counter(name for names in by_service.values() for name in wiring.choose(settings, names))
