"""Free TCP ports on the loopback address."""

from __future__ import annotations

import random
import socket
from pathlib import Path

from daemon.errors import OperatorError

LOOPBACK = "127.0.0.1"
BELOW_EPHEMERAL = range(20_000, 32_000)
"""A stopped server finds its port free again: the kernel gives none of these to outgoing connections."""


def free_port() -> int:
    """A port that nobody listens on. Raises OperatorError when a hundred tries find none."""
    for port in random.sample(BELOW_EPHEMERAL, 100):  # not a secret
        if is_free(port):
            return port
    raise OperatorError(
        f"No free port was found between {BELOW_EPHEMERAL.start} and {BELOW_EPHEMERAL.stop}.",
        "Stop some of the servers on this machine.",
    )


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: a port whose last connections are still in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def remembered_port(file: Path) -> int:
    """The port written in a server's directory by its last run, if it is free; else a new one, written there."""
    try:
        port = int(file.read_text())
    except (FileNotFoundError, ValueError):
        port = 0
    if not port or not is_free(port):
        port = free_port()
        file.write_text(f"{port}\n")
    return port
