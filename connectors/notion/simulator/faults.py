"""What goes wrong on demand: by the route, the path, the number of the request, or by chance from a seed."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "cut_before", "cut_after", "cut_within", "slow_before", "slow_after", "saved_503", "saved_503_silent",
    "failed", "failed_after", "throttled", "overloaded", "blocked", "block_limit", "expired", "conflict",
    "refused",
]  # fmt: skip
AFTER: frozenset[Kind] = frozenset(
    ["cut_after", "cut_within", "slow_after", "saved_503", "saved_503_silent", "failed_after"]
)
"""These come after the request was carried out."""
OF_WRITES: frozenset[Kind] = frozenset(["saved_503", "saved_503_silent", "conflict", "block_limit", "refused"])
WRITES = frozenset(["create_page", "update_page", "append_children", "update_data_source"])


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to which requests.

    `cut_before`, `cut_after`: the connection ends without an answer, before or after the request is carried out;
    `cut_within`: in the midst of the answer. `slow_…` waits for `seconds` of the machine. `saved_503`: 503 after the
    write with the ids that it made (Notion: status codes), `…_silent` without a word of them. `failed`: `status` and
    nothing is done, `failed_after`: `status` though it is done. `refused`: what is written does not pass the
    validation. Of the requests that fit (None fits all; `path` is a part of it) it strikes the `nth` and those after
    it, `times` in all (None: always), each with `probability`.
    """

    kind: Kind
    route: str | None = None
    method: str | None = None
    path: str | None = None
    nth: int = 1
    times: int | None = 1
    probability: float = 1
    seconds: float = 0
    retry_after: int = 1
    status: int = 500

    def fits(self, method: str, route: str, path: str) -> bool:
        return (
            self.route in (None, route)
            and self.method in (None, method)
            and (self.path is None or self.path in path)
            and (self.kind not in OF_WRITES or route in WRITES)
        )


class Faults:
    """The script. Thread-safe."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._script: list[_Armed] = []

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._script.extend(_Armed(fault) for fault in faults)

    def clear(self) -> None:
        with self._lock:
            self._script.clear()

    @property
    def struck(self) -> int:
        """How many requests were struck by what is in the script."""
        with self._lock:
            return sum(armed.struck for armed in self._script)

    def pick(self, method: str, route: str, path: str) -> Fault | None:
        """The first that strikes this request; each that fits counts it."""
        found: Fault | None = None
        with self._lock:
            for armed in self._script:
                if armed.fault.fits(method, route, path):
                    armed.seen += 1
                    if found is None and armed.strikes(self._random):
                        armed.struck += 1
                        found = armed.fault
        return found


@dataclass(slots=True)
class _Armed:
    fault: Fault
    seen: int = 0
    struck: int = 0

    def strikes(self, dice: random.Random) -> bool:
        if self.seen < self.fault.nth or (self.fault.times is not None and self.struck >= self.fault.times):
            return False
        return self.fault.probability >= 1 or dice.random() < self.fault.probability
