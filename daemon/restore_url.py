"""As whom rows are put back into a source: capture's role may only read."""

from __future__ import annotations

from typing import NamedTuple

from daemon.config.settings import Settings
from daemon.errors import OperatorError


class RestoreUrl(NamedTuple):
    """A PostgreSQL URL that holds a secret, and the setting it is from."""

    url: str
    setting: str


def restore_url(settings: Settings, source: str) -> RestoreUrl:
    """The URL under which a source's own rows are written: its `restore_url`, else that of the target of its name.

    Raises OperatorError (exit code 2) when there is neither, or no such source.
    """
    if source not in settings.sources:
        raise OperatorError(
            f"There is no source {source}.", f"Choose one of: {', '.join(settings.sources)}.", exit_code=2
        )
    if (own := settings.sources[source].restore_url) is not None:
        return RestoreUrl(own.get_secret_value(), f"sources.{source}.restore_url")
    if (target := settings.targets.get(source)) is not None:
        return RestoreUrl(target.url.get_secret_value(), f"targets.{source}.url")
    raise OperatorError(
        f"No role is configured that may write into the source {source}.",
        f"Set sources.{source}.restore_url (variable PLACEMAT_SOURCES__{source.upper()}__RESTORE_URL) to the URL of a"
        " role that may insert, update and delete rows of its tables.",
        exit_code=2,
    )
