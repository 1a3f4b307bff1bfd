"""What was signed of the log's heads, and published of them, against the log itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from daemon.audit import signing
from daemon.audit.findings import AuditReport
from daemon.audit.segments import Seal
from daemon.audit.signing import Verifier

PAGE = 2_000

_CHECKPOINTS = "SELECT sequence, hash, signed_at, key_id, signature FROM placemat.audit_checkpoints ORDER BY sequence"
_HASHES = "SELECT sequence, hash FROM placemat.audit_entries WHERE sequence = ANY (%s)"


class Claims:
    """One verification's. `boundaries` are hashes that sealed segments tell, by the number of their last entry; `last`
    is the log's newest entry; `first_signed` the first entry that a known key has signed, once that was looked at."""

    def __init__(
        self, connection: psycopg.Connection[Any], report: AuditReport, keys: Mapping[str, Verifier],
        boundaries: Mapping[int, bytes], last: int,
    ) -> None:  # fmt: skip
        self._connection = connection
        self.report = report
        self._keys = keys
        self._boundaries = boundaries
        self._sealed = max(boundaries, default=0)
        self._last = last
        self.first_signed: int | None = None
        self._contradicted = False
        self._signed: set[int] = set()
        """Entries that have a checkpoint."""
        self._missed: set[int] = set()
        """Entries whose checkpoint is gone, each told once."""

    def check_checkpoints(self, seals: Sequence[Seal]) -> None:
        """Each one's signature, and what it says; and that those are there which seals have made."""
        found = self._connection.execute(_CHECKPOINTS).fetchall()
        self.report.checkpoints = len(found)
        self._signed = {sequence for sequence, *_ in found}
        for first in range(0, len(found), PAGE):
            page = found[first : first + PAGE]
            hashes = self.hashes([sequence for sequence, *_ in page])
            for sequence, hash_, signed_at, key_id, signature in page:
                at = signed_at.isoformat()
                key = self._keys.get(key_id)
                said = signing.checkpoint(sequence, hash_, signed_at)
                if key is not None and signature is not None and key.holds(said, signature):
                    self.compare(f"the checkpoint of {at}", sequence, hash_, hashes)
                    self.first_signed = min(self.first_signed or sequence, sequence)
                elif self._keys:
                    whose = "is not signed by its key" if key is not None else "is signed by a key that is not known"
                    self.report.find("signature", sequence, f"the checkpoint of entry {sequence} ({at}) {whose}")
        for seal in seals:
            if seal.segment.key_id is not None:
                self.expect(seal.sequence, f"entry {seal.sequence}, which seals a month, was signed")

    def of_an_era(self) -> Claims:
        """For the heads of one log in the topic, with a report of their own: it counts if no later log begins there."""
        found = copy.copy(self)
        found.report, found._missed = AuditReport(), {*self._missed}
        return found

    def hashes(self, sequences: Sequence[int]) -> dict[int, bytes]:
        """Of those entries that are there, and of the last ones of sealed segments."""
        rows = self._connection.execute(_HASHES, [list(sequences)]).fetchall()
        return {**self._boundaries, **{sequence: bytes(found) for sequence, found in rows}}

    def compare(
        self, what: str, sequence: int, hash_: bytes, hashes: Mapping[int, bytes], *, vouched: bool = True
    ) -> None:
        """What was signed or published, with the log. The first contradiction says it all. `vouched`: what agrees
        proves the log as far as there."""
        found = hashes.get(sequence)
        if found == bytes(hash_):
            if vouched:
                self.report.proven = max(self.report.proven or 0, sequence)
        elif self._contradicted or (found is None and sequence <= self._sealed):
            pass
        elif found is None and sequence > self._last:
            self._contradicted = True
            sentence = f"entries {self._last + 1} to {sequence} are missing at the end: {what} tells of them"
            self.report.find("removed_at_end", self._last + 1, sentence)
        elif found is not None:
            self._contradicted = True
            sentence = f"entry {sequence} is not the one that {what} tells of: the log was written anew there or before"
            self.report.find("recomputed", sequence, sentence)

    def expect(self, sequence: int, why: str) -> None:
        """A checkpoint of this entry; of entries that are gone at the end others tell."""
        if sequence in self._signed or sequence in self._missed or sequence > self._last:
            return
        if not self._signed and self._missed:
            return  # none is there: that is told once
        self._missed.add(sequence)
        which = f"the checkpoint of entry {sequence} is" if self._signed else "all checkpoints are"
        self.report.find("checkpoint_gone", sequence, f"{which} gone: {why}")

    def expect_any(self, sequence: int, why: str) -> None:
        """Any checkpoint, where it is not told which."""
        if not self._signed:
            self.expect(sequence, why)
