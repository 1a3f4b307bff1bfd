"""Tokens for a public connection (Notion: authorization): code, refresh with rotation, introspection, revocation."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from connectors.notion.simulator.errors import Body, invalid_grant, unauthorized, validation
from connectors.notion.simulator.reading import Given
from connectors.notion.simulator.records import Connection
from connectors.notion.simulator.shown_values import partial_user
from connectors.notion.simulator.store import Store


@dataclass(frozen=True, slots=True)
class _Grant:
    """What a refresh token stands for, and whether it was rotated."""

    connection: Connection
    access_token: str
    rotated: bool = False


class OAuth:
    """One public connection with its client id and secret; whoever approves it gives the same bot its rights."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.client_id = store.new_id()
        self.client_secret = store.new_secret("secret_")
        self._codes: dict[str, str] = {}
        self._grants: dict[str, _Grant] = {}
        self._bot: Connection | None = None

    def authorize(self, query: Mapping[str, list[str]]) -> str:
        """The address that the person's browser is sent to: the person says yes at once."""
        wanted = {name: values[0] for name, values in query.items()}
        if wanted.get("client_id") != self.client_id or "redirect_uri" not in wanted:
            raise validation("Missing or invalid client_id or redirect_uri.")
        told = {"code": self.approve(wanted["redirect_uri"])}
        if "state" in wanted:
            told["state"] = wanted["state"]
        return f"{wanted['redirect_uri']}?{urlencode(told)}"

    def approve(self, redirect_uri: str) -> str:
        """A code that works once."""
        with self._store.lock:
            code = self._store.new_id()
            self._codes[code] = redirect_uri
            return code

    def expire(self, access_token: str) -> None:
        """The token is refused from now on; its refresh token works."""
        with self._store.lock:
            for connection in self._store.connections.values():
                connection.tokens.discard(access_token)

    def answer(self, route: str, authorization: str | None, body: Given) -> Body:
        if authorization != f"Basic {self._basic()}" and not self._same(authorization):
            raise unauthorized()
        if route == "oauth_token":
            return self._token(body)
        token = body.fields("token")["token"].text()
        if route == "oauth_introspect":
            active = self._store.connection_of(token) is not None
            return (
                {"active": active, "scope": "read_content insert_content update_content"}
                if active
                else {"active": False}
            )
        self.expire(token)
        for refresh, grant in list(self._grants.items()):
            if grant.access_token == token:
                del self._grants[refresh]
        return {}

    def _basic(self) -> str:
        return base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()

    def _same(self, authorization: str | None) -> bool:
        """Base64 may be written with or without padding."""
        try:
            given = base64.b64decode((authorization or "").removeprefix("Basic ") + "==").decode()
        except ValueError:
            return False
        return given == f"{self.client_id}:{self.client_secret}"

    def _token(self, body: Given) -> Body:
        fields = body.fields("grant_type", "code", "redirect_uri", "refresh_token", "external_account")
        kind = fields["grant_type"].one_of("authorization_code", "refresh_token")
        if kind == "authorization_code":
            redirect_uri = self._codes.pop(fields["code"].text(), None)
            if redirect_uri is None:
                raise invalid_grant("Invalid code: this code has been revoked.")
            if "redirect_uri" in fields and fields["redirect_uri"].text() != redirect_uri:
                raise invalid_grant("Mismatched redirect URI.")
            return self._issue(self._connection())
        return self._refresh(fields["refresh_token"].text())

    def _refresh(self, given: str) -> Body:
        """Notion, authorization: the refresh token changes each time."""
        grant = self._grants.get(given)
        if grant is None or (grant.rotated and not self._store.settings.old_refresh_token_works):
            raise invalid_grant("Invalid refresh token.")
        self._grants[given] = _Grant(grant.connection, grant.access_token, rotated=True)
        grant.connection.tokens.discard(grant.access_token)
        return self._issue(grant.connection)

    def _connection(self) -> Connection:
        if self._bot is None:
            self._bot = self._store.add_connection("Placemat (public)")
            self._bot.tokens.clear()
        return self._bot

    def _issue(self, connection: Connection) -> Body:
        store = self._store
        access, refresh = store.new_secret("ntn_"), store.new_secret("nrt_")
        connection.tokens.add(access)
        self._grants[refresh] = _Grant(connection, access)
        person = next((user for user in store.users.values() if user.type == "person"), None)
        owner: Body = {"type": "workspace", "workspace": True}
        return {
            "access_token": access,
            "token_type": "bearer",
            "refresh_token": refresh,
            "bot_id": connection.bot.id,
            "workspace_id": store.workspace.id,
            "workspace_name": store.workspace.name,
            "workspace_icon": None,
            "duplicated_template_id": None,
            "owner": owner if person is None else {"type": "user", "user": partial_user(person.id)},
        }
