"""What is said of a topic that lacks records."""

from __future__ import annotations

import pytest

from daemon import pins
from daemon.config.kafka import Kafka
from daemon.errors import Gap
from daemon.pins import Pinned, Pins


@pytest.mark.parametrize(("present", "reason"), [("other", "topic_made_anew"), ("own", "topic_cut_off")])
def test_a_topic_made_anew_between_two_looks_is_told_as_that(
    monkeypatch: pytest.MonkeyPatch, present: str, reason: str
) -> None:
    monkeypatch.setattr(pins, "look", lambda *_: ("cluster", {"topic": Pinned(present, 3)}))
    monkeypatch.setattr(pins, "SECOND_LOOK_SECONDS", 0.0)
    known = Pins(Kafka(bootstrap_servers="nowhere:1"), "source x", "cluster", {"topic": Pinned("own", 3)})
    with pytest.raises(Gap) as told, known.explain():
        raise Gap("It ends before what Kafka had acknowledged.", "topic_cut_off")
    assert told.value.reason == reason
