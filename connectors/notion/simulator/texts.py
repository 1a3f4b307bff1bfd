"""Pieces of text: read, put together, shown and cut off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from connectors.notion.simulator.errors import Body
from connectors.notion.simulator.reading import Given
from connectors.notion.simulator.records import RichText
from connectors.notion.simulator.settings import Settings
from connectors.notion.simulator.times import read_date

LOOKS = ("bold", "italic", "strikethrough", "underline", "code")
COLORS = ("default", "gray", "brown", "orange", "yellow", "green", "blue", "purple", "pink", "red")


def read_texts(given: Given, settings: Settings) -> tuple[RichText, ...]:
    """Notion, request limits: at most 100 pieces of at most 2,000 characters. Empty pieces are left out."""
    pieces = [read_text(piece, settings) for piece in given.items(settings.items)]
    kept = [piece for piece in pieces if piece.content]
    return tuple(_merged(kept) if settings.merges_text else kept)


def read_text(given: Given, settings: Settings) -> RichText:
    fields = given.fields("type", "text", "mention", "equation", "annotations")
    looks, color = _annotations(fields["annotations"])
    if "mention" in fields:
        return _mention(fields["mention"], looks, color)
    if "equation" in fields:
        expression = fields["equation"].fields("expression")["expression"].text(1000)
        return RichText(expression, None, "equation", {"expression": expression}, looks, color)
    text = fields["text"].fields("content", "link")
    content = text["content"].text(settings.text_length, utf16=settings.utf16_lengths)
    link = None
    if text["link"].defined and text["link"].value is not None:
        link = text["link"].fields("url", "type")["url"].text(settings.url_length)
    return RichText(content, link, "text", None, looks, color)


def _annotations(given: Given) -> tuple[frozenset[str], str]:
    if not given.defined:
        return frozenset(), "default"
    fields = given.fields(*LOOKS, "color")
    color = "default"
    if "color" in fields:
        color = fields["color"].one_of(*COLORS, *(f"{one}_background" for one in COLORS))
    return frozenset(look for look in LOOKS if look in fields and fields[look].boolean()), color


def color_of(given: Given) -> str:
    """An option's."""
    return given.one_of(*COLORS) if given.defined else "default"


def _mention(given: Given, looks: frozenset[str], color: str) -> RichText:
    fields = given.fields("type", "user", "page", "database", "date")
    inner: Body
    if "date" in fields:
        date = read_date(fields["date"])
        shown: Body = {"start": date.start, "end": date.end, "time_zone": date.time_zone}
        inner, content = {"type": "date", "date": shown}, date.start
    else:
        kind = next((one for one in ("user", "page", "database") if one in fields), "page")
        id_ = fields[kind].fields("id", "object")["id"].id()
        about: Body = {"object": "user", "id": id_} if kind == "user" else {"id": id_}
        inner, content = {"type": kind, kind: about}, f"@{id_}"
    return RichText(content, None, "mention", inner, looks, color)


def _merged(pieces: Iterable[RichText]) -> list[RichText]:
    found: list[RichText] = []
    for piece in pieces:
        last = found[-1] if found else None
        if last is not None and piece.type == last.type == "text" and _look(piece) == _look(last):
            found[-1] = RichText(last.content + piece.content, piece.link, "text", None, piece.looks, piece.color)
        else:
            found.append(piece)
    return found


def _look(piece: RichText) -> tuple[str | None, frozenset[str], str]:
    return piece.link, piece.looks, piece.color


def show_text(piece: RichText) -> Body:
    looks: Body = {look: look in piece.looks for look in LOOKS}
    found: Body = {
        "type": piece.type,
        "annotations": looks | {"color": piece.color},
        "plain_text": piece.content,
        "href": piece.link,
    }
    if piece.type == "text":
        link = None if piece.link is None else {"url": piece.link}
        return found | {"text": {"content": piece.content, "link": link}}
    return found | {piece.type: piece.inner}


def cut(pieces: Sequence[RichText], settings: Settings) -> Sequence[RichText]:
    """Notion, property items: as much of a long text as a page object shows."""
    if settings.cuts_text == "items":
        return pieces[: settings.references]
    seen = 0
    for at, piece in enumerate(pieces):
        seen += piece.type == "mention"
        if seen > settings.references:
            return pieces[:at]
    return pieces


def plain_text(text: str) -> tuple[RichText, ...]:
    return (RichText(text),) if text else ()
