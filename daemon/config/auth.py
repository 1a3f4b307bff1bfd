"""How a target lets us in: `auth = { kind = "token", … }` and its other kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from daemon.config.section import Section
from daemon.errors import OperatorError

_LOCAL = {"localhost", "127.0.0.1", "::1"}


def _safe(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL)):
        raise ValueError("it is not an address that begins with https://")
    if parts.username or parts.password or parts.fragment:
        raise ValueError("it holds a name, a password or a fragment")
    return url


SafeUrl = Annotated[str, AfterValidator(_safe)]
"""Secrets go there: TLS, or this host itself."""


class Auth(Section):
    """What all kinds have."""


class TokenAuth(Auth):
    """A token that somebody has made over there."""

    kind: Literal["token"]
    token: SecretStr | None = Field(None, description="The token itself; better from the environment.")
    token_file: Path | None = Field(None, description="A file that holds the token, instead.")

    @model_validator(mode="after")
    def _one_of_the_two(self) -> TokenAuth:
        given = self.token is not None and bool(self.token.get_secret_value().strip())
        if given and self.token_file is not None:
            raise ValueError("there are two tokens: give token or token_file")
        if not given and self.token_file is None:
            raise ValueError(
                "there is no token: give token or token_file, or the variable PLACEMAT_TARGETS__NAME__AUTH__TOKEN"
            )
        return self

    def secret(self) -> str:
        """Raises OperatorError (exit code 2) when it cannot be read."""
        return _secret(self.token, self.token_file, "token_file")


class Client(Auth):
    """What we are to the service."""

    token_url: SafeUrl = Field(description="Where the service gives out tokens.")
    client_id: str = Field(min_length=1)
    client_secret: SecretStr | None = Field(None, description="Better from the environment.")
    client_secret_file: Path | None = Field(None, description="A file that holds it, instead.")
    client_auth: Literal["basic", "body", "none"] = Field(
        "basic", description="Where id and secret go: a header, the body, or without a secret."
    )
    encoding: Literal["form", "json"] = Field("form", description="How the service reads what is asked of it there.")
    scopes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _a_secret_where_one_is_sent(self) -> Client:
        given = (self.client_secret is not None) + (self.client_secret_file is not None)
        if given != (0 if self.client_auth == "none" else 1):
            raise ValueError('give client_secret or client_secret_file, or neither with client_auth = "none"')
        return self

    def secret(self) -> str | None:
        """Raises OperatorError (exit code 2) when it cannot be read."""
        if self.client_auth == "none":
            return None
        return _secret(self.client_secret, self.client_secret_file, "client_secret_file")


class OAuth(Client):
    """A person lets us in, with `placemat auth login`."""

    kind: Literal["oauth"]
    authorize_url: SafeUrl = Field(description="Where a person lets us in.")
    authorize_parameters: dict[str, str] = Field(
        default_factory=dict, description="The service's own, such as owner = user."
    )
    pkce: bool = Field(True, description="Off for a service that refuses what it does not know.")
    redirect_port: int = Field(
        8976, ge=1, le=65_535, description="http://localhost:PORT/callback is registered over there."
    )

    @property
    def redirect(self) -> str:
        """The address that is registered over there."""
        return f"http://localhost:{self.redirect_port}/callback"


class ClientCredentials(Client):
    """Nobody has to let us in: the application's own id and secret do."""

    kind: Literal["client_credentials"]


class ServiceAccount(Auth):
    """An account that is no person's, by the key file that the service gave out for it."""

    kind: Literal["service_account"]
    key_file: Path
    scopes: tuple[str, ...] = Field(min_length=1)
    subject: str | None = Field(None, description="User that it acts for, where the service lets it.")

    def content(self) -> bytes:
        """Raises OperatorError (exit code 2) when it cannot be read."""
        return _read(self.key_file, "key_file")


AnyAuth = Annotated[TokenAuth | OAuth | ClientCredentials | ServiceAccount, Field(discriminator="kind")]


def _secret(given: SecretStr | None, file: Path | None, setting: str) -> str:
    if file is None:
        assert given is not None
        return given.get_secret_value().strip()
    found = _read(file, setting).decode("utf-8", "replace").strip()
    if not found:
        raise OperatorError(f"{file} is empty.", f"Put the secret there: {setting} names it.", exit_code=2)
    return found


def _read(file: Path, setting: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise OperatorError(f"{file} cannot be read: {error.strerror}.", f"Correct {setting}.", exit_code=2) from None
