"""`[kafka]`: the broker, how it is reached, and how topics are made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from daemon.config.section import Section


def _readable(path: Path) -> Path:
    try:
        (os.scandir(path) if path.is_dir() else path.open("rb")).close()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    return path


Readable = Annotated[Path, AfterValidator(_readable)]


class Kafka(Section):
    """The broker between capture and apply."""

    bootstrap_servers: str = Field(description="host:port, several with commas between.")
    partitions: int = Field(6, ge=1, description="Partitions of a new table topic.")
    replication_factor: int = Field(1, ge=1, description="Copies of each partition; 3 in production.")
    min_insync_replicas: int = Field(1, ge=1, description="Copies that must have a record before it counts; 2 of 3.")
    retention_hours: float = Field(90 * 24, gt=0, description="How long events stay in the topics.")
    max_record_bytes: int = Field(16 * 1024 * 1024, ge=65_536, description="A larger record becomes a placeholder.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_location: Readable | None = Field(None, description="The authorities to trust; else the system's.")
    ssl_certificate_location: Readable | None = Field(None, description="PEM file: who this client is.")
    ssl_key_location: Readable | None = Field(None, description="PEM file: the key of that certificate.")
    ssl_key_password: SecretStr | None = Field(None, description="Password of the key, if it is encrypted.")

    @model_validator(mode="after")
    def _certificate_and_key_go_together_and_with_tls(self) -> Kafka:
        if (self.ssl_certificate_location is None) != (self.ssl_key_location is None):
            raise ValueError("ssl_certificate_location and ssl_key_location need each other")
        if self.ssl_key_password is not None and self.ssl_key_location is None:
            raise ValueError("ssl_key_password is given, and no ssl_key_location")
        if self.security_protocol in ("PLAINTEXT", "SASL_PLAINTEXT"):
            for name in ("ssl_ca_location", "ssl_certificate_location"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is given, and security_protocol {self.security_protocol} is without TLS")
        return self
