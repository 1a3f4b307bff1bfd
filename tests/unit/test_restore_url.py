"""As whom rows are put back into a source."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.config.kafka import Kafka
from daemon.config.settings import Settings
from daemon.config.source import Source
from daemon.config.state import State
from daemon.config.target import Target
from daemon.errors import OperatorError
from daemon.restore_url import RestoreUrl, restore_url

TABLES = ["public.stories"]


def settings(targets: dict[str, Any] | None = None, **source: Any) -> Settings:
    return Settings(
        state=State.model_validate({"url": "postgresql://state"}),
        kafka=Kafka(bootstrap_servers="k"),
        sources={"primary": Source.model_validate({"url": "postgresql://reads", "tables": TABLES, **source})},
        targets={name: Target.model_validate(target) for name, target in (targets or {}).items()},
    )


BOTH_WAYS = {"primary": {"url": "postgresql://writes", "source": "primary", "tables": {TABLES[0]: {}}}}


def test_the_url_of_its_own_goes_before_that_of_the_target_of_its_name() -> None:
    found = restore_url(settings(BOTH_WAYS, restore_url="postgresql://restores"), "primary")
    assert found == RestoreUrl("postgresql://restores", "sources.primary.restore_url")
    assert restore_url(settings(BOTH_WAYS), "primary") == RestoreUrl("postgresql://writes", "targets.primary.url")


def test_without_either_the_setting_is_named() -> None:
    with pytest.raises(OperatorError, match="may write") as failure:
        restore_url(settings(), "primary")
    assert "PLACEMAT_SOURCES__PRIMARY__RESTORE_URL" in failure.value.try_
    assert failure.value.exit_code == 2
    with pytest.raises(OperatorError, match="no source ledger"):
        restore_url(settings(), "ledger")
