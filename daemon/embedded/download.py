"""Apache Kafka's jars: fetched once from the Maven registry, checked against our own list, then cached.

`kafka-jars.sha256` pins the whole closure of `COORDINATES`, one line a jar: SHA-256 and path in a Maven repository,
as `sha256sum --check` reads it. So nothing is resolved at run time, and nothing runs that is not on the list.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import platformdirs
import requests
from jgo.config import GlobalSettings
from jgo.maven import MavenContext, PythonResolver
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from daemon.embedded.maven_mirror import configured_mirror
from daemon.errors import OperatorError

COORDINATES = "org.apache.kafka:kafka_2.13:4.1.0+org.slf4j:slf4j-simple:1.7.36"
LIST = Path(__file__).with_name("kafka-jars.sha256")
DOWNLOAD_BYTES = 44_163_919
CONNECTIONS = 6
TIMEOUT_SECONDS = 60
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Jar:
    """A line of the list. `path` is relative to a Maven repository: group/artifact/version/file."""

    sha256: str
    path: PurePosixPath

    @property
    def coordinates(self) -> tuple[str, str, str]:
        """Group, artifact and version."""
        *group, artifact, version, _ = self.path.parts
        return ".".join(group), artifact, version


def read_list(file: Path = LIST) -> list[Jar]:
    lines = (line.split() for line in file.read_text().splitlines() if line)
    return [Jar(sha256, PurePosixPath(path)) for sha256, path in lines]


def cache_directory() -> Path:
    return platformdirs.user_cache_path("placemat", appauthor=False) / "maven"


def kafka_jars(cache: Path | None = None, jars: Sequence[Jar] | None = None) -> list[Path]:
    """The jars on disk, each with the content that the list names; what is missing is downloaded, with progress.

    Raises OperatorError when the cache cannot be written, the registry does not answer, or a checksum differs.
    """
    cache = cache or cache_directory()
    jars = read_list() if jars is None else jars
    with _locked(cache):
        missing = [jar for jar in jars if not (cache / jar.path).exists()]
        if missing:
            _fetch(missing, cache)
        _verify(jars, cache)
    return [cache / jar.path for jar in jars]


def _verify(jars: Sequence[Jar], cache: Path) -> None:
    """Hash every jar, once: a stamp keeps what was seen, and a file that changed since is hashed again."""
    stamp = cache / f"verified-{hashlib.sha256(repr(jars).encode()).hexdigest()[:16]}"
    seen = "".join(f"{jar.path} {stat.st_size} {stat.st_mtime_ns}\n" for jar, stat in _stats(jars, cache))
    if stamp.exists() and stamp.read_text() == seen:
        return
    for jar in jars:
        _check(jar, cache / jar.path)
    stamp.write_text(seen)


def _stats(jars: Sequence[Jar], cache: Path) -> Iterator[tuple[Jar, os.stat_result]]:
    for jar in jars:
        yield jar, (cache / jar.path).stat()


def _check(jar: Jar, file: Path) -> None:
    """Raises OperatorError for another content than the list names. The file is left for the operator to see."""
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != jar.sha256:
        raise OperatorError(
            f"{file.name} is not what it should be: its SHA-256 is {found}, and our list says {jar.sha256}.",
            f"Remove {file} and start again; if that does not help, ask whoever runs your Maven mirror.",
        )


def _fetch(jars: Sequence[Jar], cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as staging, _progress(cache) as update:
        context = _context(Path(staging), update)

        def fetch(jar: Jar) -> None:
            file = _download(context, jar)
            _check(jar, file)
            (cache / jar.path).parent.mkdir(parents=True, exist_ok=True)
            file.replace(cache / jar.path)

        try:
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                list(pool.map(fetch, jars))
        except (requests.RequestException, RuntimeError) as error:
            raise OperatorError(
                f"Apache Kafka could not be downloaded: {_sentence(error)}.",
                "Connect to the network once, set HTTPS_PROXY or REQUESTS_CA_BUNDLE if your network needs them, "
                "or name a mirror in Maven's settings.xml.",
            ) from error


@retry(
    retry=retry_if_exception_type(requests.RequestException),
    stop=stop_after_attempt(ATTEMPTS),
    wait=wait_exponential(0.5),
    reraise=True,
)
def _download(context: MavenContext, jar: Jar) -> Path:
    group, artifact, version = jar.coordinates
    wanted = context.project(group, artifact).at_version(version).artifact()
    if wanted.cached_path:
        # What a broken connection has left.
        wanted.cached_path.unlink(missing_ok=True)
    return wanted.resolve()


def _context(staging: Path, update: Callable[[int], None]) -> MavenContext:
    """Downloads into `staging`, from the mirrors that the user has configured for jgo or Maven, if any."""
    if authority := os.environ.get("SSL_CERT_FILE"):
        # Requests, which jgo uses, knows this variable by another name only.
        os.environ.setdefault("REQUESTS_CA_BUNDLE", authority)

    @contextmanager
    def progress(_name: str, _bytes: int) -> Iterator[Callable[[int], None]]:
        yield update

    mirrors = GlobalSettings.load().repositories or configured_mirror()
    resolver = PythonResolver(progress_callback=progress)
    return MavenContext(resolver, staging, remote_repos=mirrors or None, timeout=TIMEOUT_SECONDS)


@contextmanager
def _progress(cache: Path) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("Downloading Apache Kafka"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    if not console.is_terminal:
        console.print(f"Downloading Apache Kafka ({DOWNLOAD_BYTES // 1_000_000} MB) to {cache} …", soft_wrap=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=DOWNLOAD_BYTES)
        yield lambda count: bar.advance(task, count)


def _locked(cache: Path) -> AbstractContextManager[None]:
    """One process fetches; the others wait and find the jars there."""

    @contextmanager
    def lock() -> Iterator[None]:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            file = (cache / "lock").open("w")
        except OSError as error:
            raise OperatorError(
                f"Apache Kafka cannot be kept in {cache}: {error.strerror}.",
                "Make that directory writable, or set XDG_CACHE_HOME to one that is.",
            ) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    return lock()


def _sentence(error: Exception) -> str:
    match error:
        case requests.exceptions.SSLError():
            return "the registry's certificate is not trusted here"
        case requests.ConnectionError() | requests.Timeout():
            return "the package registry does not answer"
        case _:
            return str(error).splitlines()[0].rstrip(".")
