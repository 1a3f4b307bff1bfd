"""Where a server keeps its files, and who may reach them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from daemon.embedded.process import Account, Process
from daemon.errors import OperatorError

COMMON_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
PREFIX = "placemat-"
OWNER = "owner"
UNPRIVILEGED = ("postgres", "nobody")


def unprivileged_account() -> Account | None:
    """The account that PostgreSQL, which refuses to be root, runs as; None when we are not root ourselves.

    Raises OperatorError when the machine has none of the usual accounts.
    """
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise OperatorError(
        "PostgreSQL does not run as root, and this machine has neither a user postgres nor a user nobody.",
        "Run the command as an ordinary user.",
    )


def make_temporary(name: str, account: Account | None) -> Path:
    """A new private directory, owned by the account, in a place that the account can reach.

    Those that a killed process of ours has left there are removed.
    """
    for parent in (Path(tempfile.gettempdir()), *COMMON_TEMPORARY):
        if not parent.is_dir() or not os.access(parent, os.W_OK) or not reachable(parent, account):
            continue
        _sweep(parent)
        directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{name}-", dir=parent))
        owner = Process.current()
        (directory / OWNER).write_text(f"{owner.pid} {owner.created}\n")
        give(directory, account)
        return directory
    raise OperatorError(
        f"There is no directory for temporary files that the user {account.name if account else 'you'} can reach.",
        "Set TMPDIR to a directory that everybody may enter.",
    )


def _sweep(parent: Path) -> None:
    for directory in parent.glob(f"{PREFIX}*"):
        try:
            pid, created = (directory / OWNER).read_text().split()
        except (OSError, ValueError):
            # Somebody else's, or not written yet.
            continue
        if Process.find(int(pid), float(created)) is None:
            remove(directory)


def make_given(directory: Path, account: Account | None) -> None:
    """Make a directory that the operator chose, private to the account.

    Raises OperatorError when it cannot be made, or the account cannot reach it, as when it is in root's home.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        give(directory, account)
    except OSError as error:
        raise OperatorError(
            f"The data directory {directory} cannot be made: {error.strerror}.", "Choose another data directory."
        ) from error
    if not reachable(directory, account):
        name = account.name if account else "this user"
        raise OperatorError(
            f"The user {name}, whom PostgreSQL runs as here, cannot enter {directory}.",
            "Choose a data directory whose parents everybody may enter, or run the command as an ordinary user.",
        )


def give(path: Path, account: Account | None) -> None:
    """Make a file or directory the account's own, closed to everybody else."""
    path.chmod(0o700 if path.is_dir() else 0o600)
    if account:
        os.chown(path, account.uid, account.gid)


def reachable(directory: Path, account: Account | None) -> bool:
    """Whether the account can enter a directory, tried and not computed."""
    if account is None:
        return os.access(directory, os.X_OK)
    entered = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(directory.absolute())],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return entered.returncode == 0


def remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
