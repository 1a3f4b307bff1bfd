"""Versions of the captured tables: recorded, and announced before the first record of each is sent.

A version begins with a commit. A Relation that is sent again, after a reconnection or a restart, describes a version
that is known: it is found by its commit and its columns, and not announced again. Capture never stops for a change.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
import structlog

from connectors.route.masks import Drop
from daemon import seams
from daemon.capture.catalog import Detail, key_columns
from daemon.capture.masking import Masks
from daemon.capture.pgoutput import Relation
from daemon.capture.reader import Reader
from daemon.state.capture import CaptureState
from schemas.envelope import SchemaChange

Announce = Callable[[bytes, bytes], None]
"""Takes key and value, and returns when Kafka has them."""
_IDENTITIES = {"d": "default", "f": "full", "i": "index", "n": "nothing"}

SIGHT_SECONDS = 0.5
SIGHT_PAUSE_SECONDS = 0.01

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Version:
    """`shape` holds `identity`, `key`, `columns` (name, type, typmod, flag) and `relation`, the number of the table in
    the catalogue, which versions of earlier releases lack; of a table that is gone, `gone`."""

    number: int
    commit_lsn: int
    shape: dict[str, Any]

    def is_of(self, relation: int) -> bool:
        """Whether it may be of the table that has this number."""
        return bool(self.shape.get("relation", relation) == relation)

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(self.shape.get("key") or ())

    @property
    def columns(self) -> list[list[Any]]:
        return [column[:3] for column in self.shape.get("columns", ())]


class SchemaChanges:
    """The versions of one source's tables. `captured` are those that the configuration names, `masks` its own."""

    def __init__(
        self,
        reader: Reader,
        state: CaptureState,
        announce: Announce,
        source: str,
        captured: Sequence[str],
        masks: Mapping[str, Masks],
    ) -> None:
        self._reader = reader
        self._state = state
        self._announce = announce
        self._source = source
        self._captured = captured
        self._masks = masks
        self._versions: dict[str, list[Version]] = {}
        for table, number, commit_lsn, shape in state.relations():
            self._versions.setdefault(table, []).append(Version(number, commit_lsn, shape))

    def streamed(self, relation: Relation, commit_lsn: int, xid: int) -> Version:
        """The version that a Relation of the stream describes; `xid` (32 bits) is the transaction that it came in.

        Raises what announcing and recording raise.
        """
        columns = [[column.name, column.type_oid, column.typmod, column.key] for column in relation.columns]

        def same(version: Version) -> bool:
            shape = version.shape
            return version.is_of(relation.oid) and (shape.get("identity"), shape.get("columns")) == (
                relation.identity,
                columns,
            )

        known = self._versions.get(relation.name, [])
        if known and commit_lsn > known[-1].commit_lsn:
            found = known[-1] if same(known[-1]) and "key" in known[-1].shape else None
            if found is not None and relation.identity == "f" and self._key(relation) not in ((), found.key):
                found = None  # under FULL, a changed key shows in the catalogue alone
        else:
            found = next((one for one in reversed(known) if one.commit_lsn <= commit_lsn and same(one)), None)
        if found is not None:
            return found
        self._await_sight(relation, xid)
        shape = {"identity": relation.identity, "key": list(self._key(relation)), "columns": columns}
        return self._record(relation, commit_lsn, shape)

    def read(self, relation: Relation, key: Sequence[str], commit_lsn: int) -> Version:
        """The version of rows that were read beside the stream: they may be older than what it shows, or newer."""
        columns = [[column.name, column.type_oid, column.typmod] for column in relation.columns]
        known = self._versions.get(relation.name, [])
        found = next(
            (
                one
                for one in reversed(known)
                if one.commit_lsn <= commit_lsn and one.columns == columns and one.is_of(relation.oid)
            ),
            None,
        )
        if found is not None:
            return found
        flagged = [[column.name, column.type_oid, column.typmod, column.key] for column in relation.columns]
        return self._record(relation, commit_lsn, {"identity": relation.identity, "key": list(key), "columns": flagged})

    def look_for_gone(self) -> None:
        """Announce captured tables that the source has no more under that name, each once."""
        for table in sorted(self._reader.missing(self._captured)):
            known = self._versions.get(table, [])
            if known and known[-1].shape.get("gone"):
                continue
            log.warning("table is gone from the source, and others go on", source=self._source, table=table)
            schema, name = table.split(".", 1)
            gone = Relation(0, schema, name, "n", ())
            # All that the stream can still bring of it is of versions that are known, or lies before this place.
            place = self._gone_at(known) or self._reader.wal_position()
            self._record(gone, place, {"gone": True, "identity": "n", "key": [], "columns": []})

    @staticmethod
    def _gone_at(known: Sequence[Version]) -> int | None:
        """Where it was found to be gone, if all that has come since is from before."""
        newest = known[-1].commit_lsn if known else 0
        return next((one.commit_lsn for one in known if one.shape.get("gone") and one.commit_lsn > newest), None)

    def _record(self, relation: Relation, commit_lsn: int, shape: dict[str, Any]) -> Version:
        """Announced first: what is recorded is announced, and what is announced twice has one number."""
        table = relation.name
        known = self._versions.setdefault(table, [])
        if relation.oid:
            shape = {**shape, "relation": relation.oid}
        version = Version(known[-1].number + 1 if known else 1, commit_lsn, shape)
        change = self._change(relation, version, known)
        key = orjson.dumps({"source": self._source, "schema": relation.schema, "table": relation.table})
        self._announce(key, change.model_dump_json(by_alias=True).encode())
        seams.seam(seams.AFTER_ANNOUNCEMENT)
        self._state.record_relation(table, version.number, commit_lsn, shape)
        seams.seam(seams.AFTER_VERSION)
        known.append(version)
        log.info("table version", source=self._source, table=table, version=version.number)
        return version

    def _change(self, relation: Relation, version: Version, known: Sequence[Version]) -> SchemaChange:
        before = known[-1] if known else None
        there = next((one for one in reversed(known) if not one.shape.get("gone")), None)
        masks = self._masks.get(relation.name, {})
        left_out = {name for name, mask in masks.items() if isinstance(mask, Drop)}
        details = {name: one for name, one in self._details(relation.name).items() if name not in masks}
        now = _types(version, left_out)
        then = _types(before, left_out) if before is not None else now
        identity = version.shape["identity"]
        return SchemaChange.model_validate(
            {
                "source": self._source,
                "schema": relation.schema,
                "table": relation.table,
                "version": version.number,
                "commit_lsn": version.commit_lsn,
                "gone": bool(version.shape.get("gone")),
                "made_anew": relation.oid != 0 and there is not None and not there.is_of(relation.oid),
                "captured": relation.name in self._captured,
                "identity": _IDENTITIES.get(identity, identity),
                "key": list(version.key),
                "columns": [
                    _column(column, details.get(column[0]))
                    for column in version.shape["columns"]
                    if column[0] not in left_out
                ],
                "added": [name for name in now if name not in then],
                "dropped": [name for name in then if name not in now],
                "retyped": [name for name in now if name in then and now[name] != then[name]],
                "key_changed": before is not None and before.key != version.key and not version.shape.get("gone"),
            }
        )

    def _details(self, table: str) -> Mapping[str, Detail]:
        """Nothing while somebody changes the table again and holds it: the stream must not wait for that."""
        try:
            return self._reader.details(table)
        except psycopg.errors.LockNotAvailable:
            return {}

    def _await_sight(self, relation: Relation, xid: int) -> None:
        """A commit is in the stream before others see it, and only the catalogue knows the order of a new key, and
        defaults.

        Whoever sees the transaction sees this version, or a later one that is not waited for: what changed the table
        held it until its own commit was seen, so it is either this transaction or one that ended before. Not for long:
        a standby may keep a commit out of sight.
        """
        columns = _described(relation)
        logged = {column.name for column in relation.columns if column.key}
        deadline = time.monotonic() + SIGHT_SECONDS
        while time.monotonic() < deadline and not self._reader.snapshot().sees_short(xid):
            now = self._reader.find(relation.name)
            if (
                now is not None
                and _described(now.relation) == columns
                and (relation.identity != "d" or set(now.key) == logged)
            ):
                return
            threading.Event().wait(SIGHT_PAUSE_SECONDS)

    def _key(self, relation: Relation) -> tuple[str, ...]:
        """The key before helps where the table is gone, or has another one by now; none where it has lost it."""
        now = self._reader.find(relation.name)
        known = self._versions.get(relation.name, [])
        if now is not None and not now.key:
            return key_columns(relation)
        return key_columns(relation, now.key if now else (), known[-1].key if known else ())


def _described(relation: Relation) -> list[tuple[str, int, int]]:
    return [(column.name, column.type_oid, column.typmod) for column in relation.columns]


def _types(version: Version, left_out: Collection[str]) -> dict[str, tuple[int, int]]:
    return {name: (oid, typmod) for name, oid, typmod in version.columns if name not in left_out}


def _column(column: Sequence[Any], detail: Detail | None) -> dict[str, Any]:
    name, type_oid, typmod, key = column
    same = detail is not None and (detail.type_oid, detail.typmod) == (type_oid, typmod)
    return {
        "name": name,
        "type": detail.type if detail is not None and same else None,
        "base": detail.base if detail is not None and same else None,
        "type_oid": type_oid,
        "typmod": typmod,
        "key": key,
        "not_null": detail.not_null if detail is not None and same else None,
        "default": detail.default if detail is not None and same else None,
        "existing": detail.existing if detail is not None and same else None,
    }
