"""What goes wrong with requests to the simulated Notion while processes are killed."""

from __future__ import annotations

from connectors.notion.simulator import Fault

LOSSES = (
    Fault("cut_after", route="create_page", times=None, probability=0.1),
    Fault("cut_before", route="create_page", times=None, probability=0.05),
    Fault("saved_503", route="create_page", times=None, probability=0.05),
    Fault("saved_503_silent", route="create_page", times=None, probability=0.05),
    Fault("cut_after", route="update_page", times=None, probability=0.1),
    Fault("failed", times=None, probability=0.02),
    Fault("throttled", times=None, probability=0.01),
    Fault("overloaded", times=None, probability=0.02),
)


def slow(before: float, after: float, seconds: float) -> tuple[Fault, Fault]:
    """So many of the answers come so much later, for having been asked late or told late."""
    return (
        Fault("slow_before", times=None, probability=before, seconds=seconds),
        Fault("slow_after", times=None, probability=after, seconds=seconds),
    )
