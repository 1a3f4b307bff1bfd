"""The mirror that a user's own Maven settings name instead of the central registry."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

MIRRORED = frozenset({"*", "central", "external:*"})


def configured_mirror(settings: Path | None = None) -> dict[str, str]:
    """Name and URL of the first mirror of central in Maven's `settings.xml`; empty when there is none."""
    file = settings or Path.home() / ".m2" / "settings.xml"
    try:
        root = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError):
        return {}
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        covers = (mirror.findtext("{*}mirrorOf") or "").split(",")
        url = (mirror.findtext("{*}url") or "").strip().rstrip("/")
        if url and MIRRORED.intersection(name.strip() for name in covers):
            return {(mirror.findtext("{*}id") or "mirror").strip(): url}
    return {}
