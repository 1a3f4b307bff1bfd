"""Events sent to a subscriber (Notion: webhooks): late, in any order, more than once, or never."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from connectors.notion.simulator.errors import Body
from connectors.notion.simulator.records import User
from connectors.notion.simulator.store import Happened, Store
from connectors.notion.simulator.times import exact

VERSION = "2026-03-11"
TIMEOUT = 10
ATTEMPTS = 8


def sign(token: str, body: bytes) -> str:
    """`X-Notion-Signature`: over the bytes that are sent, with the verification token as the key."""
    return f"sha256={hmac.new(token.encode(), body, hashlib.sha256).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request to the subscriber; `status` is None where it did not answer."""

    body: bytes
    signature: str
    status: int | None
    at: datetime


@dataclass(slots=True)
class _Pending:
    id: str
    happened: Happened
    parent: Body
    due: datetime
    authors: dict[str, User] = field(default_factory=dict)
    properties: set[str] = field(default_factory=set)
    attempt: int = 1


class Webhooks:
    """One subscription of the connection `bot`. Nothing is sent but by `deliver_due`."""

    def __init__(self, store: Store, seed: int) -> None:
        self._store = store
        self._random = random.Random(seed)
        self._sending = threading.Lock()
        self._pending: list[_Pending] = []
        self._url: str | None = None
        self._confirmed = False
        self.token = ""
        self.subscription = store.new_id()
        self.types: frozenset[str] | None = None
        """Which events are sent, None for all."""
        self.loses: Callable[[str], bool] = lambda _: False
        """Told the type of an event before it is sent: whether it gets lost."""
        self.sent: list[Delivery] = []
        self.lost = 0
        self.given_up = 0
        self.observe: Callable[[Body], None] = lambda _: None
        """Told every event that is sent."""
        store.listeners.append(self._happened)

    def lose(self, probability: float) -> None:
        self.loses = lambda _: self._random.random() < probability

    def subscribe(self, url: str) -> int | None:
        """Sends the one request with the verification token and tells its status; events flow after `confirm`."""
        self._url, self._confirmed = url, False
        self.token = self._store.new_secret("secret_")
        return self._post(json.dumps({"verification_token": self.token}).encode(), None)

    def confirm(self, token: str) -> None:
        """A person has pasted the token, as the subscriber received it, into Notion's settings."""
        if not hmac.compare_digest(token, self.token):
            raise ValueError("this is not the verification token that was sent")
        self._confirmed = True

    @property
    def waiting(self) -> int:
        return len(self._pending)

    def _happened(self, happened: Happened) -> None:
        """Events of one kind and page are put together until they are sent."""
        if not self._confirmed or (self.types is not None and happened.type not in self.types):
            return
        if self._store.settings.sends_no_events_of_own and happened.by.type == "bot":
            return
        same = (happened.type, happened.entity)
        found = next(
            (one for one in self._pending if (one.happened.type, one.happened.entity) == same and one.attempt == 1),
            None,
        )
        if found is None:
            due = happened.at + timedelta(seconds=self._store.settings.webhook_delay)
            found = _Pending(self._store.new_id(), happened, self._parent(happened.entity), due)
            self._pending.append(found)
        found.authors[happened.by.id] = happened.by
        found.properties |= happened.properties

    def _parent(self, entity: str) -> Body:
        page = self._store.by_id.get(entity)
        source = self._store.sources[page.data_source if page else entity]
        return {"id": source.database, "type": "database", "data_source_id": source.id}

    def deliver_due(self) -> int:
        """Sends what is due by the store's clock, in any order, and tells how much that was."""
        with self._sending:
            with self._store.lock:
                now = self._store.clock()
                due = [one for one in self._pending if one.due <= now]
                self._pending = [one for one in self._pending if one.due > now]
            self._random.shuffle(due)
            for one in due:
                self._deliver(one, now)
            return len(due)

    def _deliver(self, one: _Pending, now: datetime) -> None:
        if self.loses(one.happened.type):
            self.lost += 1
            return
        event = self._event(one)
        self.observe(event)
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        status = self._post(body, sign(self.token, body))
        if status is not None and 200 <= status < 300:
            return
        if one.attempt == ATTEMPTS:
            self.given_up += 1
            return
        one.due = now + timedelta(seconds=self._store.settings.webhook_retries[one.attempt - 1])
        one.attempt += 1
        with self._store.lock:
            self._pending.append(one)

    def _event(self, one: _Pending) -> Body:
        store = self._store
        data: Body = {"parent": one.parent}
        if one.properties:
            data["updated_properties"] = sorted(one.properties)
        return {
            "id": one.id,
            "timestamp": exact(one.happened.at),
            "workspace_id": store.workspace.id,
            "workspace_name": store.workspace.name,
            "subscription_id": self.subscription,
            "integration_id": self.subscription,
            "type": one.happened.type,
            "authors": [{"id": user.id, "type": user.type} for user in one.authors.values()],
            "attempt_number": one.attempt,
            "api_version": VERSION,
            "entity": {"id": one.happened.entity, "type": one.happened.type.partition(".")[0]},
            "data": data,
        }

    def send(self, body: bytes, signature: str) -> int | None:
        """Any request to the subscriber, as for one that is forged or sent again."""
        return self._post(body, signature)

    def _post(self, body: bytes, signature: str | None) -> int | None:
        if self._url is None:
            raise ValueError("nobody has subscribed")
        parts = urlsplit(self._url)
        headers = {"Content-Type": "application/json", "User-Agent": "notion-api"}
        if signature is not None:
            headers["X-Notion-Signature"] = signature
        connection = HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=TIMEOUT)
        status: int | None = None
        try:
            connection.request("POST", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", body, headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, HTTPException):
            pass  # a subscriber that is not there is tried again
        finally:
            connection.close()
        self.sent.append(Delivery(body, signature or "", status, self._store.clock()))
        return status
