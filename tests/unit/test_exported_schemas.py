"""The exported JSON Schemas are those of the code, and hold for what the code reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from daemon.cli.config import schema_text
from schemas import export
from schemas.position import Position
from schemas.topics import EPOCH_HEADER, POSITION_HEADER

EVENT: dict[str, Any] = {
    "before": None,
    "after": {"id": "1", "title": "A story"},
    "source": {
        "version": "1",
        "connector": "postgresql",
        "name": "primary",
        "ts_ms": 1,
        "snapshot": "false",
        "db": "primary",
        "sequence": '["1","1"]',
        "schema": "public",
        "table": "stories",
        "txId": 7,
        "lsn": 1,
        "timeline": 1,
        "commit_lsn": 1,
        "ordinal": 1,
        "origin": None,
    },
    "op": "c",
    "ts_ms": 1,
    "transaction": {"id": "7:1", "total_order": 1, "data_collection_order": 1},
}


def exported(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((export.FOLDER / f"{name}.schema.json").read_text())
    return document


@pytest.mark.parametrize("name", list(export.documents()))
def test_a_file_says_what_the_code_says(name: str) -> None:
    assert (export.FOLDER / name).read_text() == export.documents()[name], "run: python -m schemas.export"


def test_the_schema_of_the_configuration_is_that_of_the_code() -> None:
    file = export.FOLDER / "configuration.schema.json"
    assert file.read_text() == schema_text(), f"run: placemat config schema > {file.name}"


def test_nothing_else_lies_beside_them(tmp_path: Path) -> None:
    export.write(tmp_path)
    written = {file.name for file in tmp_path.iterdir()} | {"configuration.schema.json"}
    assert {file.name for file in export.FOLDER.iterdir()} == written


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"unchanged": ["content"], "something_new": 1}, True),
        ({"op": "x"}, False),
        ({"source": {**EVENT["source"], "commit_lsn": "0/1"}}, False),
    ],
)
def test_the_schema_of_an_event_tells_right_from_wrong(change: dict[str, Any], valid: bool) -> None:
    validator = jsonschema.Draft202012Validator(exported("change-event"))
    assert validator.is_valid({**EVENT, **change}) is valid


def test_the_schema_of_a_record_holds_for_a_position_header() -> None:
    headers = exported("record")["properties"]["headers"]
    header = Position(1, 0x16B374D848, 42).to_header().decode()
    jsonschema.validate({POSITION_HEADER: header, EPOCH_HEADER: "3"}, headers)
    assert not jsonschema.Draft202012Validator(headers).is_valid({POSITION_HEADER: "0/1", EPOCH_HEADER: "3"})
