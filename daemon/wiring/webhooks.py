"""Where those are named who understand the requests of services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from daemon.config.settings import Settings

if TYPE_CHECKING:
    from daemon.webhooks.receiver import Way
    from daemon.webhooks.verification import Handshakes
    from daemon.webhooks.worker import WebhooksWorker


def webhooks_worker(settings: Settings) -> WebhooksWorker:
    """The worker that hears services."""
    from daemon.webhooks.worker import WebhooksWorker

    own = settings.webhooks
    return WebhooksWorker(lambda: _ways(settings), own.host, own.port)


@contextmanager
def handshakes(settings: Settings, name: str) -> Iterator[Handshakes]:
    """Where the secret of a service is kept that it hands over.

    Raises OperatorError when there is no key, or the state cannot be used.
    """
    from daemon.state import engine as state
    from daemon.state.tokens import Tokens
    from daemon.webhooks.verification import Handshakes

    keys = settings.state.token_keys()
    with state.opened(settings.state.url.get_secret_value()) as engine:
        state.check(engine)
        yield Handshakes(Tokens(engine, keys), name)


@contextmanager
def _ways(settings: Settings) -> Iterator[Mapping[str, Way]]:
    from connectors.postgres.mirror.hook_store import HookStore
    from daemon.webhooks.bucket import Bucket
    from daemon.webhooks.receiver import Way
    from daemon.webhooks.verification import Configured, Stored, Verification
    from daemon.wiring.services import kind

    ways: dict[str, Way] = {}
    with ExitStack() as stack:
        for name in settings.told_by:
            target = settings.services[name]
            assert target.webhooks is not None, "it is told by them"
            given = target.webhooks.given()
            verification: Verification = (
                Configured(given)
                if given is not None
                else Stored(stack.enter_context(handshakes(settings, name)))
            )  # fmt: skip
            tables = [one.table for one in target.mirrored() if one.seen]
            marks = stack.enter_context(closing(HookStore(target.url.get_secret_value(), name, tables)))
            ways[name] = Way(
                kind(settings, name).hooks(settings, name),
                verification,
                marks,
                Bucket(settings.webhooks.requests_per_second),
            )
        yield ways
