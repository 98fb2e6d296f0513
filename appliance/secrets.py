"""Secrets at rest: sealed with a key that lies in a file of its own, so that the state file alone tells nothing.

    sealed:  "1:" | base64url of ( nonce <12b> | AES-256-GCM of the text <n b> | tag <16b> )

The key file holds 32 random bytes and is readable by its owner alone. Who loses it loses the secrets, nothing else.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import secrets
import stat
from pathlib import Path

from appliance.folders import sync_folder

log = logging.getLogger(__name__)

KEY_FILE_NAME = "secret.key"
KEY_BYTES = 32
NONCE_BYTES = 12  # Random ones are safe for 2**32 messages under one key (NIST SP 800-38D, section 8.3).
_PREFIX = "1:"


class SecretError(Exception):
    """A secret cannot be sealed or opened; the text has the way out, and never the secret."""

    code = "secret"


class SecretBox:
    """Seals and opens texts with the key of a data folder; the key is made when there is none yet."""

    def __init__(self, data_dir: Path) -> None:
        """Raises: SecretError, if the key cannot be read or made."""
        self._path = data_dir / KEY_FILE_NAME
        try:
            self._key = _existing_key(self._path) or _made_key(self._path)
        except OSError as error:
            raise SecretError(f"the key file {self._path} cannot be used: {error.strerror}; see its folder") from error

    def seal(self, text: str) -> str:
        """Encrypt; the same text gives another result each time."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 30 ms, and few processes hold secrets.

        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + AESGCM(self._key).encrypt(nonce, text.encode(), None)
        return _PREFIX + base64.urlsafe_b64encode(sealed).decode()

    def open(self, sealed: str) -> str:
        """Undo seal(). Raises: SecretError, if it was not sealed with this key, or has been changed."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if not sealed.startswith(_PREFIX):
            raise SecretError("a secret is not in the sealed form; enter it again")
        try:
            content = base64.urlsafe_b64decode(sealed[len(_PREFIX) :])
            if _PREFIX + base64.urlsafe_b64encode(content).decode() != sealed:
                raise ValueError("base64 with characters or bits that say nothing")
            return AESGCM(self._key).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], None).decode()
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise SecretError(
                f"a secret was sealed with another key than {self._path}, or is damaged; bring that key file back, "
                f"or enter the secret again"
            ) from error


def _existing_key(path: Path) -> bytes | None:
    """Raises: SecretError, OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            os.fchmod(descriptor, 0o600)
            log.warning("the key file %s could be read by others (mode %03o); it is 600 now", path, mode)
        key = os.read(descriptor, KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(key) != KEY_BYTES:
        raise SecretError(
            f"the key file {path} is damaged: it has {len(key)} bytes or more, not {KEY_BYTES}; bring a copy back, "
            f"or move it away and enter all secrets again"
        )
    return key


def _made_key(path: Path) -> bytes:
    """Make the key file, whole or not at all; of several processes that do so at once, one wins and all use its key."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(partial, path)  # Unlike a rename, it fails when another process was first.
        except FileExistsError:
            log.info("the key file %s was made by another process meanwhile", path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
    key = _existing_key(path)
    assert key is not None, f"{path} vanished while it was made"
    return key
