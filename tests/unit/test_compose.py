"""The services of docker-compose.yml, with the configuration that they mount."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from daemon import wiring
from daemon.config.load import load
from daemon.config.settings import Settings
from tests.command import REPOSITORY
from tests.documents import read

COMPOSE = read("docker-compose.yml")
RUNS = [
    [name.strip().strip('"') for name in names.split(",")]
    for names in re.findall(r"^    command: \[run, (.+)\]$", COMPOSE, re.MULTILINE)
]
URLS = re.findall(r"^    (PLACEMAT_\w+__URL): (\S+)$", COMPOSE, re.MULTILINE)
PASSED_ON = re.findall(r"^    (PLACEMAT_\w+):$", COMPOSE, re.MULTILINE)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    return configured(monkeypatch)


def configured(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, url in URLS:
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", url))
    return load(REPOSITORY / "deploy/compose/placemat.toml")


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


def run_by_all(settings: Settings) -> Counter[str]:
    return Counter(name for names in RUNS for name in wiring.choose(settings, names))
