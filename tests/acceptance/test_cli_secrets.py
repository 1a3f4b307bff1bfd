"""A URL that cannot be read is told without its password, whichever verb meets it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from daemon.embedded import running
from tests.command import Ended, command
from tests.fix_site import Site

PASSWORD = "hush@hush"
URLS = (
    f"postgres//someone:{PASSWORD}@127.0.0.1/here",  # no URL at all
    f"postgresql://someone:{PASSWORD}@127.0.0.1/here",  # its end is taken for the host
    f"postgresql://someone:@@{PASSWORD}@127.0.0.1/here",  # ... for a socket
    f"postgresql://someone:%{PASSWORD}@127.0.0.1/here",  # ... for an encoded character
    "postgresql://127.0.0.1:hush/@127.0.0.1/here",  # ... for the port
    "host=127.0.0.1 password=it is hush",
)


def assert_told_without_password(ended: Ended) -> None:
    assert ended.code in (1, 2)
    assert ended.err.startswith("Error: ")
    assert "URL" in ended.err
    assert "hush" not in ended.out + ended.err


def test_no_verb_repeats_the_password_of_a_url_that_cannot_be_read(site: Site) -> None:
    assert site.placemat("init").code == 0
    places = [("sources", site.source), ("targets", "empathy_ledger")]
    for url, (kind, name) in itertools.product(URLS, places):
        right = site.values[kind][name]["url"]
        site.set(f"{kind}.{name}.url", url)
        for words in (["verify"], ["-v", "verify"], ["init"]):
            assert_told_without_password(site.placemat(*words))
        site.set(f"{kind}.{name}.url", right)
    for url in URLS:
        site.set("state.url", url)
        for verb in ("init", "run", "status"):
            assert_told_without_password(site.placemat(verb))


@pytest.mark.parametrize("url", URLS)
def test_dev_sql_does_not_repeat_the_password_of_a_url_that_cannot_be_read(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with running.register(running.describe("dev", dsns={"primary": url}, bootstrap_servers="127.0.0.1:1")):
        assert_told_without_password(command("dev", "sql", "primary", "SELECT 1"))
