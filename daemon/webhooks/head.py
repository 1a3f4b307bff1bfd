"""The head of a request, read strictly: what could be understood in two ways is refused. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

END = b"\r\n\r\n"
_REQUEST = re.compile(rb"([A-Z]{1,20}) ([!-~]{1,2000}) HTTP/1\.[01]")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,12}")


class Refused(Exception):
    """It is answered with this status, and read no further."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """`path` is without its query; `headers` are by name in lower case, those that came twice joined by commas."""

    method: str
    path: str
    headers: Mapping[str, str]

    def length(self, most: int) -> int:
        """Bytes of the body, as it is announced. Raises Refused where it is not, or is more than `most`."""
        if "transfer-encoding" in self.headers or (text := self.headers.get("content-length")) is None:
            raise Refused(HTTPStatus.LENGTH_REQUIRED)
        if _LENGTH.fullmatch(text) is None:
            raise Refused(HTTPStatus.BAD_REQUEST)
        if (length := int(text)) > most:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return length


def parse(head: bytes) -> Head:
    """Without the empty line at its end. Raises Refused."""
    first, *lines = head.split(b"\r\n")
    request = _REQUEST.fullmatch(first)
    if request is None:
        raise Refused(HTTPStatus.BAD_REQUEST)
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise Refused(HTTPStatus.BAD_REQUEST)
        name, value = found[1].decode().lower(), found[2].decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    method, target = request[1].decode(), request[2].decode()
    return Head(method, target.partition("?")[0], headers)
