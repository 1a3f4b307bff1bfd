"""Values of every type, captured, damaged and put back: PostgreSQL compares them with a copy that nobody touched."""

from __future__ import annotations

import json
from typing import Any

from tests.fix_capture import Rig, RigFactory
from tests.integration.every_type import COLUMNS, DDL, ROWS, TYPES
from tests.integration.test_rebuild import differing, now, rig_of


def test_values_of_every_type_are_put_back_equal(capture_factory: RigFactory) -> None:
    extra = "made int GENERATED ALWAYS AS (id * 2) STORED"
    rig = rig_of(capture_factory, f"{TYPES} CREATE TABLE zoo (id int PRIMARY KEY, {DDL}, {extra});", "zoo")
    with rig.start():
        rig.copied()
        for id_, row in enumerate(ROWS):
            rig.sql(f"INSERT INTO zoo SELECT {id_}, {row}")
        rig.sql("CREATE TABLE zoo_then AS SELECT * FROM zoo")
        at, _ = now(rig)
        rig.caught_up()
        assert restore(rig, at, "--dry-run")["changes"] == 0
        rig.sql(f"UPDATE zoo SET {', '.join(f'{name} = NULL' for name in COLUMNS)} WHERE id % 3 <> 0")
        rig.sql("DELETE FROM zoo WHERE id % 3 = 0")
        rig.caught_up()
    assert differing(rig, "zoo_then", "zoo") != []
    whole = restore(rig, at)
    assert (whole["left"], whole["partial"], whole["complete"]) == (0, 0, True)
    assert differing(rig, "zoo_then", "zoo") == []


def restore(rig: Rig, at: str, *arguments: str) -> Any:
    """The whole, as JSON."""
    ended = rig.site.placemat("restore", "zoo", "--at", at, "--json", *arguments)
    assert ended.out, ended.err
    return json.loads(ended.out.splitlines()[-1])
