"""What the configuration refuses of a route, before anything is asked of a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.contract import Parent
from connectors.route.masks import Hash
from daemon.config.settings import Settings
from daemon.errors import OperatorError
from daemon.routes import routings

A, B = "public.a", "public.b"


def settings(routes: dict[str, Any], source: dict[str, Any] | None = None, **more: Any) -> Settings:
    values: dict[str, Any] = {
        "state": {"url": "postgresql://s"},
        "kafka": {"bootstrap_servers": "k"},
        "sources": {"primary": {"url": "postgresql://p", "tables": [A, B], **(source or {})}},
        "targets": {"t": {"url": "postgresql://t", "tables": routes}},
    }
    return Settings(**values, **more)


@pytest.mark.parametrize(
    ("route", "why"),
    [
        ({"where": "x ="}, "a value is expected"),
        ({"where": "b.x = 1"}, "where names b, which stands for no table"),
        ({"where": "x = 1", "parents": {"b": B}}, "is not named by where"),
        ({"where": "b.x = 1", "parents": {"b": "public.z"}}, "does not capture public.z"),
        ({"where": "m = 'x'"}, "m is masked at the source, and cannot be asked"),
        ({"masks": {"m": "hash"}}, "masked at the source already"),
        ({"masks": {"x": "hash"}, "exclude": ["x"]}, "stands under exclude and under masks"),
        ({"columns": {"x": "z"}, "constants": {"z": 1}}, "column z of the target is written twice"),
        ({"masks": {"x": {"truncate": -1}}}, "greater than or equal to 0"),
        ({"actor": "x", "masks": {"x": "hash"}}, "x is masked, and cannot say who"),
        ({"actor": "m"}, "m is masked at the source"),
        ({"only": ["x"], "exclude": ["y"]}, "exclude says nothing beside only"),
        ({"only": ["x"], "masks": {"y": "drop"}}, "column y is not written: add it to only"),
        ({"only": ["x"], "both_ways": True, "rules": {"y": "hub"}}, "column y is left out, and has a rule"),
        ({"table": B}, "another table is routed to public.b too"),
    ],
)
def test_a_route_that_cannot_be_meant_is_refused(route: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("(", r"\(")):
        settings({A: route, B: {}}, {"masks": {A: {"m": "drop"}}})


def test_a_parent_is_what_the_column_of_its_name_refers_to() -> None:
    wide = {"table": A, "column": "of"}
    found = settings({B: {"where": "a.x = 1 and c.x = 2", "parents": {"a": A, "c": wide}}})
    assert routings(found, "t")[B].parents == {("a",): Parent(A, "a_id"), ("c",): Parent(A, "of")}
    assert found.targets["t"].needed == [B, A]


def test_a_hash_needs_a_key_that_cannot_be_guessed(tmp_path: Path) -> None:
    routes = {A: {"masks": {"x": "hash"}}}
    for short in ({}, {"masking": {"key": "short"}}, {"masking": {"key_file": tmp_path / "none"}}):
        with pytest.raises(OperatorError):
            routings(settings(routes, **short), "t")
    (file := tmp_path / "key").write_text("0123456789abcdef\n")
    [mask] = routings(settings(routes, masking={"key_file": file}), "t")[A].masks.values()
    assert mask == Hash(b"0123456789abcdef")
    assert "0123456789" not in repr(mask) + str(orjson.dumps(settings(routes).model_dump(mode="json")))
