"""The key that signs the audit log, in a file outside the database: who rules only the database does not have it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from daemon.config.audit import Audit
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PREFIX = b"placemat audit\n"
_KEY_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Signer:
    """`public` is the public key, in hexadecimal."""

    public: str
    _key: Ed25519PrivateKey

    def sign(self, content: dict[str, Any]) -> bytes:
        return self._key.sign(_bytes(content))


@dataclass(frozen=True, slots=True)
class Verifier:
    """`public` is the public key, in hexadecimal."""

    public: str
    _key: Ed25519PublicKey

    def holds(self, content: dict[str, Any], signature: bytes) -> bool:
        """Whether this key has signed that."""
        from cryptography.exceptions import InvalidSignature

        with suppress(InvalidSignature):
            self._key.verify(bytes(signature), _bytes(content))
            return True
        return False


def make(path: Path) -> str:
    """Write a new private key to a file that only its owner can read; its public key.

    Raises OperatorError when the file is there, or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except FileExistsError:
        raise OperatorError(f"{path} is there already.", "Name a new file: a key is never written over.") from None
    except OSError as error:
        raise OperatorError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from None
    return _hex(key.public_key())


def signer(settings: Audit) -> Signer | None:
    """None where no key is set. Raises OperatorError (exit code 2) when it cannot be read, or is none."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = settings.signing_key
    if path is None:
        return None
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise OperatorError(
            f"The key that signs the audit log cannot be read: {error.strerror}.",
            "Correct audit.signing_key, or make one: placemat audit key FILE", exit_code=2,
        ) from None  # fmt: skip
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise OperatorError(
            f"{path} holds no key that can sign the audit log.", "Make one: placemat audit key FILE", exit_code=2
        )
    return Signer(_hex(key.public_key()), key)


def verifiers(settings: Audit, public: str | None = None) -> dict[str, Verifier]:
    """By the id of their key: those of the given public keys (with commas between), else of the settings, and that of
    the signing key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    texts = [one.strip() for one in (public or settings.public_key or "").split(",") if one.strip()]
    if public is None and (found := signer(settings)) is not None:
        texts.append(found.public)
    try:
        keys = {text: Ed25519PublicKey.from_public_bytes(bytes.fromhex(text)) for text in texts}
    except ValueError:
        raise OperatorError(
            "A public key cannot be read.",
            f"It has {_KEY_CHARACTERS} characters, as placemat audit key prints it.", exit_code=2,
        ) from None  # fmt: skip
    return {key_id(text): Verifier(text, key) for text, key in keys.items()}


def vouched(keys: Mapping[str, Verifier], said: dict[str, Any], key_id: str | None, signature: bytes | None) -> bool:
    """Whether one of these keys has signed that."""
    key = keys.get(key_id or "")
    return key is not None and signature is not None and key.holds(said, signature)


def key_id(public: str) -> str:
    """A short name for a key."""
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()[:16]


def checkpoint(sequence: int, hash_: bytes, signed_at: datetime) -> dict[str, Any]:
    """What is signed of a head."""
    at = signed_at.astimezone(UTC).isoformat(timespec="microseconds")
    return {"kind": "checkpoint", "sequence": sequence, "hash": bytes(hash_).hex(), "at": at}


def segment(month: str, first: int, last: int, previous: bytes, hash_: bytes, file_hash: bytes) -> dict[str, Any]:
    """What is signed of a sealed month."""
    hashes = {"previous": bytes(previous).hex(), "hash": bytes(hash_).hex(), "file_hash": bytes(file_hash).hex()}
    return {"kind": "segment", "month": month, "first": first, "last": last, **hashes}


def _bytes(content: dict[str, Any]) -> bytes:
    return PREFIX + orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def _hex(key: Ed25519PublicKey) -> str:
    return key.public_bytes_raw().hex()
