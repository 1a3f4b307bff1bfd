"""`[webhooks]`: where services tell us that something has changed, and `webhooks` of a target."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from daemon.config.section import Section
from daemon.errors import OperatorError


class Webhooks(Section):
    """Where requests of services come in, by plain HTTP: a proxy of yours speaks TLS, and passes them on."""

    host: str = "127.0.0.1"
    port: int = Field(9465, ge=0, le=65_535, description="0 takes a free port.")
    requests_per_second: float = Field(20, gt=0, description="Of each target; those beyond are to come again later.")


class TargetWebhooks(Section):
    """How requests of a service are known to be its own."""

    secret: SecretStr | None = Field(None, min_length=8, description="What they are signed with, where people get it.")
    secret_file: Path | None = Field(None, description="A file that holds it, instead.")

    @model_validator(mode="after")
    def _at_most_one_of_the_two(self) -> TargetWebhooks:
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("give secret or secret_file")
        return self

    def given(self) -> str | None:
        """None: the service hands it over. Raises OperatorError (exit code 2) when it cannot be read."""
        if self.secret is not None:
            return self.secret.get_secret_value().strip()
        if self.secret_file is None:
            return None
        try:
            found = self.secret_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise OperatorError(
                f"{self.secret_file} cannot be read: {why}.", "Correct secret_file.", exit_code=2
            ) from None
        if not found:
            raise OperatorError(f"{self.secret_file} is empty.", "Put the secret there.", exit_code=2)
        return found
