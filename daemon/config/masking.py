"""`[masking]`, the key of hashes; and the masks of columns, which sources and routes have."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from connectors.route.masks import SHORTEST_KEY_BYTES, Scalar
from daemon.config.section import Section
from daemon.errors import OperatorError


class Truncated(Section):
    """The first characters of a text."""

    truncate: int = Field(ge=0)


class Fixed(Section):
    """The same value for every row."""

    constant: Scalar


Mask = Literal["drop", "hash"] | Truncated | Fixed
"""`"drop"`, `"hash"`, `{ truncate = 10 }` or `{ constant = "…" }`."""


class Masking(Section):
    """The key of hashed columns: whoever has it can tell which value a hash stands for."""

    key: SecretStr | None = Field(None, description="The key itself, 16 bytes or more; better from the environment.")
    key_file: Path | None = Field(None, description="A file that holds the key, instead.")

    def secret(self) -> bytes:
        """Raises OperatorError (exit code 2) when there is no key, or too short a one."""
        try:
            found = (
                self.key.get_secret_value().encode()
                if self.key is not None
                else self.key_file.read_bytes().strip()
                if self.key_file is not None
                else b""
            )
        except OSError as error:
            raise OperatorError(
                f"The key of hashed columns cannot be read: {error.strerror}.", "Correct masking.key_file.", exit_code=2
            ) from None
        if len(found) < SHORTEST_KEY_BYTES:
            raise OperatorError(
                f"A column is masked by hash, and that needs a key of {SHORTEST_KEY_BYTES} bytes or more.",
                "Set PLACEMAT_MASKING__KEY or masking.key_file, and keep it: another key makes other hashes.",
                exit_code=2,
            )
        return found
