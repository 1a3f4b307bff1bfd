"""`python -m connectors.notion.simulator`, as the demo and people start it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.contract.notion_contract import REPOSITORY
from tests.notion_calls import Calls
from tests.notion_receiver import Receiver
from tests.waiting import until


@contextmanager
def running(*options: str) -> Iterator[Any]:
    """What it says first; it ends as it was told to, well."""
    command = [sys.executable, "-m", "connectors.notion.simulator", "--token", "ntn_mine", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_the_command_says_where_it_listens_and_ends_when_it_is_told() -> None:
    with running("--per-minute", "2") as said, Calls(said["url"], "ntn_mine") as calls:
        source = calls.get(f"data_sources/{said['data_sources']['Projects']}").json()
        statuses = [calls.get("users/me").status_code for _ in range(2)]

    assert source["title"][0]["plain_text"] == "Projects"
    assert statuses == [200, 429]


def test_the_command_sends_webhooks_as_they_come_due(subscriber: Receiver) -> None:
    with (
        running("--webhook-delay", "0", "--subscribe", subscriber.url) as said,
        Calls(said["url"], "ntn_mine") as calls,
    ):
        until(lambda: subscriber.got)
        page = calls.create(said["data_sources"]["Projects"], {}).json()
        (event,) = until(lambda: subscriber.events)

    assert (event["type"], event["entity"]["id"]) == ("page.created", page["id"])
