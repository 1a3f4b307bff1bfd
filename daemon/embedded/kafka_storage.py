"""The storage of a new KRaft node, as `kafka-storage format` makes it."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path

from daemon.embedded.process import reasons
from daemon.errors import OperatorError

BOOTSTRAP = "bootstrap.checkpoint"


def format_storage(java: Sequence[str | Path], properties: Path, data: Path, template: Path) -> None:
    """Make the node's identity and first metadata in `data`.

    The metadata are the same for every node of a release, so the tool, which takes seconds, runs for the first one
    only: `template` keeps them. Raises OperatorError when the tool refuses.
    """
    if template.exists():
        data.mkdir(exist_ok=True)
        shutil.copyfile(template, data / BOOTSTRAP)
        identity = {"version": 1, "node.id": 1, "cluster.id": _random_id(), "directory.id": _random_id()}
        lines = "".join(f"{name}={value}\n" for name, value in identity.items())
        # Last, because it says that the storage is formatted.
        (data / "meta.properties").write_text(lines)
        return
    _run_tool(java, properties)
    staging = template.with_name(f"{template.name}.{uuid.uuid4().hex}")
    shutil.copyfile(data / BOOTSTRAP, staging)
    staging.replace(template)


def _run_tool(java: Sequence[str | Path], properties: Path) -> None:
    made = subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={_random_id()}", "-c", properties],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise OperatorError(
            f"Kafka's storage could not be made: {reasons(made.stderr or made.stdout)[-1].rstrip('.')}.",
            "Look at the free disk space and at Kafka's properties.",
        )


def _random_id() -> str:
    """As Kafka writes them: never with a dash in front, which its command line takes for an option."""
    while (text := urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        continue
    return text
