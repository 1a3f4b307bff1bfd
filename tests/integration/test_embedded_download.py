from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest

from daemon.embedded import download
from daemon.embedded.download import Jar, kafka_jars, read_list
from daemon.embedded.maven_mirror import configured_mirror
from daemon.embedded.ports import LOOPBACK, free_port
from daemon.errors import OperatorError

CONTENT = b"a jar"
JAR = Jar(hashlib.sha256(CONTENT).hexdigest(), PurePosixPath("org/example/thing/1.0/thing-1.0.jar"))


class Registry(SimpleHTTPRequestHandler):
    """A Maven repository: files in a directory."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the standard library
        """Nothing."""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """URL and directory of a registry of our own."""
    files = tmp_path / "registry"
    files.mkdir()
    server = ThreadingHTTPServer((LOOPBACK, 0), partial(Registry, directory=str(files)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{LOOPBACK}:{server.server_address[1]}", files
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of a user whose Maven has a mirror; `{url}` is to be filled in."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    settings = tmp_path / "home" / ".m2" / "settings.xml"
    settings.parent.mkdir(parents=True)
    return settings


def point(settings: Path, url: str) -> None:
    settings.write_text(
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors>'
        "<mirror><id>other</id><mirrorOf>snapshots</mirrorOf><url>http://other.example</url></mirror>"
        f"<mirror><id>ours</id><mirrorOf>*</mirrorOf><url>{url}/</url></mirror></mirrors></settings>"
    )


def put(files: Path, content: bytes) -> None:
    (files / JAR.path).parent.mkdir(parents=True, exist_ok=True)
    (files / JAR.path).write_bytes(content)


def test_list_pins_the_whole_of_kafka() -> None:
    jars = read_list()
    assert len(jars) == 46
    coordinates = {":".join(jar.coordinates) for jar in jars}
    assert set(download.COORDINATES.split("+")) <= coordinates
    assert sum(file.stat().st_size for file in kafka_jars()) == download.DOWNLOAD_BYTES


def test_missing_jar_is_fetched_once_from_the_mirror_that_maven_names(
    registry: tuple[str, Path], mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, files = registry
    point(mirror, url)
    put(files, CONTENT)
    assert configured_mirror() == {"ours": url}
    assert [file.read_bytes() for file in kafka_jars(tmp_path / "cache", [JAR])] == [CONTENT]
    assert "Downloading Apache Kafka" in capsys.readouterr().err
    (files / JAR.path).unlink()
    assert [file.read_bytes() for file in kafka_jars(tmp_path / "cache", [JAR])] == [CONTENT]
    assert not capsys.readouterr().err


def test_downloaded_jar_with_another_checksum_is_refused_and_not_kept(
    registry: tuple[str, Path], mirror: Path, tmp_path: Path
) -> None:
    url, files = registry
    point(mirror, url)
    put(files, b"another jar")
    with pytest.raises(OperatorError, match=r"thing-1\.0\.jar is not what it should be"):
        kafka_jars(tmp_path / "cache", [JAR])
    assert not (tmp_path / "cache" / JAR.path).exists()


def test_cached_jar_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    put(tmp_path, CONTENT)
    kafka_jars(tmp_path, [JAR])
    put(tmp_path, b"A JAR")
    with pytest.raises(OperatorError, match="is not what it should be") as raised:
        kafka_jars(tmp_path, [JAR])
    assert str(tmp_path / JAR.path) in raised.value.try_


def test_no_network_and_an_empty_cache_is_one_sentence(mirror: Path, tmp_path: Path) -> None:
    point(mirror, f"http://{LOOPBACK}:{free_port()}")
    with pytest.raises(OperatorError, match="the package registry does not answer") as raised:
        kafka_jars(tmp_path / "cache", [JAR])
    assert "network" in raised.value.try_
    assert "\n" not in str(raised.value)
