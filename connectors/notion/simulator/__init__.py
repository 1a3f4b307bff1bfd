"""Notion on localhost, as its documentation describes it: for tests and for the demo."""

from __future__ import annotations

from connectors.notion.simulator.exchange import Exchange, Seen
from connectors.notion.simulator.faults import Fault
from connectors.notion.simulator.settings import ManualClock, Settings
from connectors.notion.simulator.simulator import NotionSimulator

__all__ = ["Exchange", "Fault", "ManualClock", "NotionSimulator", "Seen", "Settings"]
