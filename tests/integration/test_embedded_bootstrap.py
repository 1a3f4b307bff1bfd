"""The first call of `make demo` and `make test`: one sentence for each machine that it cannot work on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.embedded.ports import LOOPBACK, free_port

SCRIPT = Path(__file__).parents[2] / "deploy" / "bootstrap.sh"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one requirement, not installed yet."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(SCRIPT, tmp_path / "deploy")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "requirements.lock").write_text(f"example==1.0 --hash=sha256:{'0' * 64}\n")
    return tmp_path


def bootstrap(project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", project / "deploy" / "bootstrap.sh", "embedded"],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_refused(run: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert run.returncode == 1
    error, advice = run.stderr.splitlines()
    assert error.startswith("Error: ")
    assert sentence in error
    assert advice.startswith("Try: ")


def test_missing_python_is_one_sentence(project: Path) -> None:
    assert_refused(bootstrap(project, PYTHON="python0.0"), "Python 3.11 or newer was not found")


def test_missing_python3_venv_is_one_sentence(project: Path) -> None:
    broken = project / "broken"
    broken.mkdir()
    (broken / "ensurepip.py").write_text("raise ImportError\n")
    assert_refused(bootstrap(project, PYTHONPATH=str(broken)), "venv is not complete")


def test_musl_is_one_sentence(project: Path) -> None:
    musl = project / "musl"
    musl.mkdir()
    (musl / "sitecustomize.py").write_text("import os\nos.confstr = None\n")
    assert_refused(bootstrap(project, PYTHONPATH=str(musl)), "musl instead of glibc")


def test_no_network_is_one_sentence_after_the_line_that_announces_the_download(project: Path) -> None:
    nowhere = f"http://{LOOPBACK}:{free_port()}"
    run = bootstrap(
        project,
        PIP_INDEX_URL="https://index.invalid/simple",
        HTTPS_PROXY=nowhere,
        XDG_CACHE_HOME=str(project / "cache"),
    )
    assert_refused(run, "package index does not answer")
    first, *_ = run.stdout.splitlines()
    assert "downloading about 124 MB" in first
    assert str(project / ".venv") in first
    assert "Apache Kafka into" in first
    assert "about a minute" in first


def test_nothing_is_said_or_done_when_all_is_there(project: Path) -> None:
    for program in ("python", "placemat"):
        (project / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
        (project / ".venv" / "bin" / program).symlink_to(sys.executable)
    contents = (project / "requirements.lock").read_bytes() + (project / "pyproject.toml").read_bytes()
    checksum = subprocess.run(["cksum"], input=contents, capture_output=True, check=True).stdout
    (project / ".venv" / "installed-embedded").write_bytes(checksum)
    run = bootstrap(project)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
