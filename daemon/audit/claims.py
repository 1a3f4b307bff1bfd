"""What was signed of the log's heads, and published of them in Kafka, against the log itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from daemon.audit import signing
from daemon.audit.findings import AuditReport
from daemon.audit.heads import Begun, HeadsTopic, Published
from daemon.audit.segments import Seal
from daemon.audit.signing import Verifier
from daemon.errors import Unavailable

PAGE = 2_000

_CHECKPOINTS = "SELECT sequence, hash, signed_at, key_id, signature FROM placemat.audit_checkpoints ORDER BY sequence"
_HASHES = "SELECT sequence, hash FROM placemat.audit_entries WHERE sequence = ANY (%s)"


class Claims:
    """One verification's. `boundaries` are hashes that sealed segments tell, by the number of their last entry; `last`
    is the log's newest entry."""

    def __init__(
        self, connection: psycopg.Connection[Any], report: AuditReport, keys: Mapping[str, Verifier],
        boundaries: Mapping[int, bytes], last: int,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._report = report
        self._keys = keys
        self._boundaries = boundaries
        self._sealed = max(boundaries, default=0)
        self._last = last
        self._contradicted = False
        self._signed: set[int] = set()
        """Entries that have a checkpoint."""
        self._missed: set[int] = set()
        """Entries whose checkpoint is gone, each told once."""

    def check_checkpoints(self, seals: Sequence[Seal]) -> None:
        """Each one's signature, and what it says; and that those are there which seals have made."""
        found = self._connection.execute(_CHECKPOINTS).fetchall()
        self._report.checkpoints = len(found)
        self._signed = {sequence for sequence, *_ in found}
        for first in range(0, len(found), PAGE):
            page = found[first : first + PAGE]
            hashes = self._hashes([sequence for sequence, *_ in page])
            for sequence, hash_, signed_at, key_id, signature in page:
                at = signed_at.isoformat()
                key = self._keys.get(key_id)
                said = signing.checkpoint(sequence, hash_, signed_at)
                if key is not None and signature is not None and key.holds(said, signature):
                    self._compare(self._report, f"the checkpoint of {at}", sequence, hash_, hashes)
                elif self._keys:
                    whose = "is not signed by its key" if key is not None else "is signed by a key that is not known"
                    self._report.find("signature", sequence, f"the checkpoint of entry {sequence} ({at}) {whose}")
        for seal in seals:
            if seal.segment.key_id is not None:
                self._expect(self._report, seal.sequence, f"entry {seal.sequence}, which seals a month, was signed")

    def check_topic(self, topic: HeadsTopic) -> None:
        """Each head, and that the checkpoints are there of which it tells. Of an earlier log nothing is compared."""
        found, contradicted, missed = AuditReport(), self._contradicted, frozenset(self._missed)
        newest, signed = 0, False
        try:
            for page in topic.read():
                hashes = self._hashes([one.sequence for one in page if isinstance(one, Published)])
                for one in page:
                    if isinstance(one, Published):
                        self._check_head(found, one, hashes)
                        newest, signed = one.sequence, signed or one.signed
                    elif self._begins(found, one, signed=signed):
                        earlier = f"Kafka has {found.heads:,} heads of it, through entry {newest}"
                        found, self._contradicted, self._missed, signed = AuditReport(), contradicted, {*missed}, False
                        found.unproven.append(
                            f"what the log before this one said: {earlier}; the state database was prepared anew"
                            f" at {one.at}"
                        )
        except Unavailable as error:
            found.unproven.append(f"not all heads in Kafka were compared: {error}")
        self._report.take(found)

    def _check_head(self, found: AuditReport, one: Published, hashes: Mapping[int, bytes]) -> None:
        found.heads += 1
        what = f"the head in Kafka at offset {one.offset}"
        self._compare(found, what, one.sequence, one.hash, hashes)
        if one.checkpoint is not None:
            self._expect(found, one.checkpoint, f"{what} tells of it")
        elif one.signed and not self._signed:
            self._expect(found, one.sequence, f"{what} was signed, and no checkpoint is there")

    def _begins(self, found: AuditReport, one: Begun, *, signed: bool) -> bool:
        """Whether another log begins there. Only a key ends one that was signed."""
        key = self._keys.get(one.key_id or "")
        holds = key is not None and one.signature is not None and key.holds(one.said, one.signature)
        if signed and self._keys and not holds:
            sentence = f"the head in Kafka at offset {one.offset} begins another log, and no known key has signed that"
            found.find("signature", None, sentence)
            return False
        return True

    def _expect(self, found: AuditReport, sequence: int, why: str) -> None:
        """A checkpoint of this entry; of entries that are gone at the end others tell."""
        if sequence in self._signed or sequence in self._missed or sequence > self._last:
            return
        if not self._signed and self._missed:
            return  # none is there: that is told once
        self._missed.add(sequence)
        which = f"the checkpoint of entry {sequence} is" if self._signed else "all checkpoints are"
        found.find("checkpoint_gone", sequence, f"{which} gone: {why}")

    def _compare(
        self, report: AuditReport, what: str, sequence: int, hash_: bytes, hashes: Mapping[int, bytes]
    ) -> None:
        """What was signed or published, with the log. The first contradiction says it all."""
        found = hashes.get(sequence)
        if found == bytes(hash_):
            report.proven = max(report.proven or 0, sequence)
        elif self._contradicted or (found is None and sequence <= self._sealed):
            pass
        elif found is None and sequence > self._last:
            self._contradicted = True
            sentence = f"entries {self._last + 1} to {sequence} are missing at the end: {what} tells of them"
            report.find("removed_at_end", self._last + 1, sentence)
        elif found is not None:
            self._contradicted = True
            sentence = f"entry {sequence} is not the one that {what} tells of: the log was written anew there or before"
            report.find("recomputed", sequence, sentence)

    def _hashes(self, sequences: Sequence[int]) -> dict[int, bytes]:
        rows = self._connection.execute(_HASHES, [list(sequences)]).fetchall()
        return {**self._boundaries, **{sequence: bytes(found) for sequence, found in rows}}
