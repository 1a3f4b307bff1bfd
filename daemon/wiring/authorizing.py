"""A target's credentials, from its configuration."""

from __future__ import annotations

from connectors.http.auth.bearer import Bearer, StaticToken
from connectors.http.auth.code_flow import CodeFlow, Door
from connectors.http.auth.endpoint import Application, TokenEndpoint
from connectors.http.auth.machine import ClientCredentials, ServiceAccount, account
from connectors.http.auth.stored import StoredBearer
from connectors.http.auth.token import Grant, TokenStore
from daemon.config import auth as config


def bearer(auth: config.AnyAuth, target: str, tokens: TokenStore | None) -> Bearer:
    """`tokens` is needed by every kind but `token`. Raises OperatorError (exit code 2) when a secret cannot be read."""
    if isinstance(auth, config.TokenAuth):
        return StaticToken(auth.secret())
    assert tokens is not None
    return StoredBearer(tokens, target, _grant(auth, target), login=_advice(auth, target))


def code_flow(auth: config.OAuth, target: str) -> CodeFlow:
    """How a person lets us in. Raises OperatorError (exit code 2) when the secret cannot be read."""
    application = Application(auth.client_id, auth.secret(), auth.client_auth)
    door = Door(auth.authorize_url, auth.redirect, auth.scopes, auth.authorize_parameters, auth.pkce)
    return CodeFlow(door, _endpoint(auth, target, application), application, login=_login(target))


def _grant(auth: config.OAuth | config.ClientCredentials | config.ServiceAccount, target: str) -> Grant:
    match auth:
        case config.OAuth():
            return code_flow(auth, target)
        case config.ClientCredentials():
            application = Application(auth.client_id, auth.secret(), auth.client_auth)
            return ClientCredentials(_endpoint(auth, target, application), auth.scopes, settings=_settings(target))
        case config.ServiceAccount():
            found = account(auth.content(), f"{_settings(target)}.key_file")
            endpoint = TokenEndpoint(found.token_url, None, connection=target, settings=_settings(target))
            return ServiceAccount(found, endpoint, auth.scopes, auth.subject, settings=_settings(target))


def _endpoint(auth: config.Client, target: str, application: Application) -> TokenEndpoint:
    return TokenEndpoint(
        auth.token_url, application, connection=target, settings=_settings(target), encoding=auth.encoding
    )


def _advice(auth: config.AnyAuth, target: str) -> str:
    return _login(target) if isinstance(auth, config.OAuth) else f"See {_settings(target)}."


def _login(target: str) -> str:
    return f"Run: placemat auth login {target}"


def _settings(target: str) -> str:
    return f"targets.{target}.auth"
