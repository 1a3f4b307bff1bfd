"""Writes `schemas/json/*.schema.json`: what stands in the topics, for readers in any language.

`python -m schemas.export` writes them; a test compares them with what the code says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.envelope import ChangeEvent, RowRequest, SchemaChange, TableRequest, TransactionEnd
from schemas.topics import EPOCH_HEADER, POSITION_HEADER, PREFIX

FOLDER = Path(__file__).parent / "json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_POSITION = r"^[0-9A-F]{8}-[0-9A-F]{16}-[0-9A-F]{10}$"


def documents() -> dict[str, str]:
    """File name to text."""
    shapes = {
        "change-event": ChangeEvent.model_json_schema(by_alias=True),
        "schema-change": SchemaChange.model_json_schema(by_alias=True),
        "transaction-end": TransactionEnd.model_json_schema(by_alias=True),
        "row-request": RowRequest.model_json_schema(by_alias=True),
        "table-request": TableRequest.model_json_schema(by_alias=True),
        "record": _record(),
    }
    return {f"{name}.schema.json": text(shape) for name, shape in shapes.items()}


def text(shape: dict[str, Any]) -> str:
    """One schema as it is written to its file."""
    return json.dumps({"$schema": DIALECT, **shape}, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path = FOLDER) -> None:
    for name, document in documents().items():
        folder.joinpath(name).write_text(document, encoding="utf-8")


def _record() -> dict[str, Any]:
    """A record around its value: what its key and its headers hold, as JSON once their bytes are read as UTF-8."""
    return {
        "title": "Record",
        "description": f"A record of a topic {PREFIX}.<source>.<schema>.<table>.",
        "type": "object",
        "properties": {
            "key": {
                "description": "The primary key, column to value, in the order of the key; JSON without blanks."
                " The partition is murmur2 of these bytes, as Kafka's Java client computes it.",
                "type": "object",
                "minProperties": 1,
            },
            "headers": {
                "type": "object",
                "properties": {
                    POSITION_HEADER: {
                        "description": "Timeline, commit LSN and ordinal, hexadecimal and of fixed width:"
                        " they compare as texts in the order of the stream.",
                        "type": "string",
                        "pattern": _POSITION,
                    },
                    EPOCH_HEADER: {
                        "description": "Number of the capture that wrote the record; rises with each take-over.",
                        "type": "string",
                        "pattern": "^[0-9]+$",
                    },
                },
                "required": [POSITION_HEADER, EPOCH_HEADER],
            },
            "value": {"$ref": "change-event.schema.json"},
        },
        "required": ["key", "headers", "value"],
    }


if __name__ == "__main__":
    write()
