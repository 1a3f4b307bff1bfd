"""`[notify]`: who is told that something waits for a person."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from daemon.config.section import Section


class Notify(Section):
    """Who is told that conflicts wait for a person: a webhook, or somebody by e-mail, or both."""

    webhook_url: SecretStr | None = Field(None, description="URL that a JSON message is posted to.")
    email_to: str | None = Field(None, description="Address, several with commas between.")
    email_from: str = Field("placemat@localhost", description="Address that e-mails come from.")
    smtp_host: str = "localhost"
    smtp_port: int = Field(587, ge=1, le=65_535)
    smtp_security: Literal["starttls", "tls", "none"] = Field("starttls", description="TLS, how it begins; or none.")
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    again_hours: float = Field(24, gt=0, description="Told again of what still waits after so long.")

    @field_validator("webhook_url")
    @classmethod
    def _is_a_web_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("https://", "http://")):
            raise ValueError("it is not a URL that begins with https:// or http://")
        return url

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Notify:
        if (self.smtp_user is None) != (self.smtp_password is None):
            raise ValueError("smtp_user and smtp_password need each other")
        if self.smtp_user is not None and self.smtp_security == "none":
            raise ValueError("smtp_password would be sent in the clear: set smtp_security to starttls or tls")
        return self

    @property
    def wanted(self) -> bool:
        """Whether anybody is to be told."""
        return self.webhook_url is not None or self.email_to is not None
