"""The configuration: what is refused, in which words, and what goes before what."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from daemon.cli.config import schema_text
from daemon.config.load import load
from daemon.errors import OperatorError

CERTIFICATES = Path(__file__).parents[1] / "tls"
TEMPLATE = (Path(__file__).parents[2] / "daemon" / "cli" / "placemat.toml").read_text()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "placemat.toml"
    path.write_text(TEMPLATE)
    return path


def test_the_template_can_be_used_as_it_is(file: Path) -> None:
    settings = load(file)
    assert list(settings.sources) == ["primary"]
    assert settings.targets["empathy_ledger"].tables["public.stories"].local == ("updated_at",)


def test_the_template_names_the_values_that_hold_without_it(file: Path) -> None:
    named = load(file)
    short = file.with_name("short.toml")
    short.write_text(
        '[state]\nurl = "postgresql://s"\n[kafka]\nbootstrap_servers = "localhost:9092"\n'
        '[sources.primary]\nurl = "postgresql://p"\ntables = ["public.stories"]\n'
    )
    bare = load(short)
    assert (named.kafka, named.http, named.log) == (bare.kafka, bare.http, bare.log)
    assert named.sources["primary"].slot == bare.sources["primary"].slot


def test_the_environment_goes_before_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACEMAT_STATE__URL", "postgresql://elsewhere/state")
    monkeypatch.setenv("PLACEMAT_SOURCES__PRIMARY__URL", "postgresql://elsewhere/primary")
    monkeypatch.setenv("PLACEMAT_HTTP__PORT", "0")
    settings = load(file)
    assert settings.state.url.get_secret_value() == "postgresql://elsewhere/state"
    assert settings.sources["primary"].url.get_secret_value() == "postgresql://elsewhere/primary"
    assert settings.sources["primary"].tables[0] == "public.workspaces"
    assert settings.http.port == 0


def test_other_variables_of_ours_are_not_taken_for_settings(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACEMAT_CONFIG", str(file))
    monkeypatch.setenv("PLACEMAT_TEST_SERVERS", "containers")
    load(file)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("partitions = 6", "partition = 6", r"kafka\.partition: there is no such key"),
        ("[http]", "[https]", r"https: there is no such key"),
        ("partitions = 6", 'partitions = "many"', r"kafka\.partitions: .*integer"),
        ("partitions = 6", "partitions = 0", r"kafka\.partitions: .*greater than or equal to 1"),
        ('"public.stories",', '"stories",', r"sources\.primary\.tables.*'stories' is not a table as schema\.table"),
        ('source = "primary"', 'source = "secondary"', r"targets\.empathy_ledger\.source: there is no source"),
        (
            '"public.stories",',
            "",
            r"targets\.empathy_ledger\.tables: sources\.primary does not capture public\.stories",
        ),
        ('bootstrap_servers = "localhost:9092"', "", r"kafka\.bootstrap_servers: Field required"),
        ("[kafka]", "[kafka", r"is not TOML"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(file: Path, old: str, new: str, sentence: str) -> None:
    assert old in TEMPLATE
    file.write_text(TEMPLATE.replace(old, new, 1))
    with pytest.raises(OperatorError, match=sentence) as refused:
        load(file)
    assert refused.value.exit_code == 2


CERTIFICATE = f'ssl_certificate_location = "{CERTIFICATES}/client.crt"'
KEY = f'ssl_key_location = "{CERTIFICATES}/client.key"'


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (['security_protocol = "SSL"', KEY], "kafka: ssl_certificate_location and ssl_key_location need each other"),
        (['security_protocol = "SSL"', CERTIFICATE], "kafka: ssl_certificate_location and ssl_key_location need each"),
        (['ssl_key_password = "hush"'], "kafka: ssl_key_password is given, and no ssl_key_location"),
        (
            [CERTIFICATE, KEY],
            "kafka: ssl_certificate_location is given, and security_protocol PLAINTEXT is without TLS",
        ),
        (
            ['security_protocol = "SASL_PLAINTEXT"', f'ssl_ca_location = "{CERTIFICATES}/server.crt"'],
            "kafka: ssl_ca_location is given, and security_protocol SASL_PLAINTEXT is without TLS",
        ),
        (
            ['security_protocol = "SSL"', 'ssl_ca_location = "/gone/ca.crt"', KEY, CERTIFICATE],
            "kafka.ssl_ca_location: /gone/ca.crt cannot be read: No such file or directory",
        ),
    ],
)
def test_settings_of_tls_that_cannot_do_their_work_are_refused(file: Path, settings: list[str], sentence: str) -> None:
    file.write_text(TEMPLATE.replace("partitions = 6", "\n".join(["partitions = 6", *settings]), 1))
    with pytest.raises(OperatorError) as refused:
        load(file)
    assert sentence in str(refused.value)
    assert refused.value.exit_code == 2


def test_every_fault_is_named_not_only_the_first(file: Path) -> None:
    file.write_text(TEMPLATE.replace("[http]", "[https]").replace("partitions = 6", "partition = 6"))
    with pytest.raises(OperatorError, match=r"kafka\.partition: .*; https: there is no such key\."):
        load(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"There is no configuration file .*gone\.toml") as refused:
        load(tmp_path / "gone.toml")
    assert (refused.value.exit_code, refused.value.try_) == (2, "Write one with: placemat config init")


def test_secrets_are_not_in_what_python_prints(file: Path) -> None:
    file.write_text(TEMPLATE.replace("placemat_capture@", "placemat_capture:hush@"))
    assert "hush" not in repr(load(file))


def test_the_schema_for_editors_takes_the_template_and_refuses_what_we_refuse() -> None:
    import tomllib

    validator = jsonschema.Draft202012Validator(json.loads(schema_text()))
    validator.validate(tomllib.loads(TEMPLATE))
    assert not validator.is_valid(tomllib.loads(TEMPLATE.replace("partitions = 6", "partition = 6", 1)))


def with_notify(file: Path, *lines: str) -> Path:
    file.write_text("\n".join([TEMPLATE, "[notify]", *lines]))
    return file


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (['webhook_url = "ftp://example.org/hook"'], "begins with https:// or http://"),
        (['smtp_user = "placemat"'], "smtp_user and smtp_password need each other"),
        (['smtp_user = "p"', 'smtp_password = "x"', 'smtp_security = "none"'], "would be sent in the clear"),
    ],
)
def test_nobody_is_told_in_a_way_that_cannot_work_or_shows_a_password(
    file: Path, lines: list[str], sentence: str
) -> None:
    with pytest.raises(OperatorError, match=sentence):
        load(with_notify(file, *lines))


def test_somebody_is_told_only_where_an_address_is_given(file: Path) -> None:
    assert not load(file).notify.wanted
    found = load(with_notify(file, 'webhook_url = "https://example.org/hook?token=secret"')).notify
    assert found.wanted
    assert "secret" not in repr(found)
