"""`[state]`: where the daemon keeps what it knows."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from daemon.config.section import Section
from daemon.errors import OperatorError


class State(Section):
    """The daemon's own database."""

    url: SecretStr = Field(description="PostgreSQL URL of the daemon's own database.")
    token_key: SecretStr | None = Field(
        None, description="Key that tokens of services are encrypted with; former ones after it, with commas between."
    )
    token_key_file: Path | None = Field(None, description="A file that holds it, instead, made by placemat auth key.")

    def token_keys(self) -> list[bytes]:
        """The newest first. Raises OperatorError (exit code 2) when there is none."""
        try:
            found = (
                self.token_key.get_secret_value().encode()
                if self.token_key is not None
                else self.token_key_file.read_bytes()
                if self.token_key_file is not None
                else b""
            )
        except OSError as error:
            raise OperatorError(
                f"The key of stored tokens cannot be read: {error.strerror}.", "Correct state.token_key_file.",
                exit_code=2,
            ) from None  # fmt: skip
        keys = found.replace(b",", b" ").split()
        if not keys:
            raise OperatorError(
                "A service gives tokens that have to be stored, and no key is set to encrypt them.",
                "Make one with placemat auth key FILE, and set PLACEMAT_STATE__TOKEN_KEY or state.token_key_file.",
                exit_code=2,
            )
        return keys
