"""The project's documents, as the tests read them."""

from __future__ import annotations

import re

from tests.command import REPOSITORY


def read(name: str) -> str:
    """A document's text, by its path in the repository."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


def documented_words(verb: str) -> set[str]:
    """Every word of the table that documents a verb's JSON."""
    section = read("daemon/cli/README.md").split(f"### `{verb}`\n")[1]
    return set(re.findall(r"\w+", re.split(r"^##", section, flags=re.MULTILINE)[0]))
