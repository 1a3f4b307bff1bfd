"""A rule on which delivery rests, with the change that switches it off."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """`old` occurs once in `file`; with `new` in its place the rule is off, and each of `tests` (node ids) fails."""

    name: str
    sentence: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
