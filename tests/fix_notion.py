"""The simulator of Notion, each test its own, on a clock that stands until it is moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.notion.simulator import ManualClock, NotionSimulator, Settings
from tests.contract.notion_contract import Contract, contract
from tests.notion_calls import Calls, calls_to
from tests.notion_receiver import Receiver, receiver

START = datetime(2026, 3, 2, 9, 0, 10, tzinfo=UTC)


@dataclass
class Simulated:
    """A simulator that runs, its clock, and a client of its one connection."""

    simulator: NotionSimulator
    clock: ManualClock
    calls: Calls

    def source(self, name: str) -> str:
        return self.simulator.sources[name].id


Simulate = Callable[..., Simulated]


@pytest.fixture
def simulate() -> Iterator[Simulate]:
    """Starts a simulator with these settings; all are stopped in the end."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Simulated:
            clock = ManualClock(START)
            simulator = stack.enter_context(NotionSimulator(Settings(**settings), clock))
            calls = calls_to(simulator)
            stack.callback(calls.close)
            return Simulated(simulator, clock, calls)

        yield start


@pytest.fixture
def notion_contract() -> Iterator[Contract]:
    """Notion's types; what did not hold is told at the end of the test."""
    found = contract()
    yield found
    found.verify()


@pytest.fixture
def contracted(simulate: Simulate, notion_contract: Contract) -> Simulate:
    """As `simulate`, with every body held against Notion's types."""

    def start(**settings: Any) -> Simulated:
        found = simulate(**settings)
        notion_contract.attach(found.simulator)
        return found

    return start


@pytest.fixture
def subscriber() -> Iterator[Receiver]:
    """Who can be told by webhooks."""
    with receiver() as found:
        yield found


@pytest.fixture
def notion(contracted: Simulate) -> Simulated:
    return contracted()
