"""A file sealed with a passphrase, written and read as a stream; its bytes are described in docs/format/backup.md.

Every piece is encrypted with AES-256-GCM under a key made of the passphrase and a random salt of the file. The number
of the piece is its nonce, and whether it is the last one is authenticated too: a piece that was changed, left out,
moved or cut off is noticed before anything of it is given out.
"""

from __future__ import annotations

import io
import secrets
import struct
from typing import BinaryIO

MAGIC = b"HENGESEALED1\n"
SALT_BYTES = 16
PIECE_BYTES = 2**20
TAG_BYTES = 16
# scrypt, RFC 7914: 128 MiB and half a second for each guess.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**17, 8, 1
PASSPHRASE_CHARACTERS_MIN = 12

_FRAME = struct.Struct("<BI")  # Whether it is the last piece; how many bytes of it follow, the tag included.


class SealedFileError(Exception):
    """The file cannot be read; the text has the reason and the way out."""

    code = "sealed_file"


class WrongPassphrase(SealedFileError):
    code = "wrong_passphrase"


class _Cipher:
    def __init__(self, passphrase: str, salt: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 30 ms, and few commands need it.
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

        key = Scrypt(salt=salt, length=32, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(passphrase.encode())
        self._aead = AESGCM(key)
        self._number = 0

    def seal(self, piece: bytes, is_last: bool) -> bytes:
        return self._aead.encrypt(self._nonce(), piece, _authenticated(is_last))

    def open(self, sealed: bytes, is_last: bool) -> bytes:
        """Raises: InvalidTag."""
        return self._aead.decrypt(self._nonce(), sealed, _authenticated(is_last))

    def _nonce(self) -> bytes:
        """The number of the piece: no two of one file are alike, and each file has a key of its own."""
        nonce = self._number.to_bytes(12, "little")
        self._number += 1
        return nonce


def _authenticated(is_last: bool) -> bytes:
    return MAGIC + bytes([is_last])


class SealedWriter(io.RawIOBase):
    """What is written goes into `stream`, sealed. Only a close() makes the file whole; the stream stays open."""

    def __init__(self, stream: BinaryIO, passphrase: str) -> None:
        salt = secrets.token_bytes(SALT_BYTES)
        self._stream = stream
        self._cipher = _Cipher(passphrase, salt)
        self._waiting = bytearray()
        stream.write(MAGIC + salt)

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        given = memoryview(data)  # type: ignore[arg-type]
        self._waiting += given
        while len(self._waiting) > PIECE_BYTES:
            self._put(bytes(self._waiting[:PIECE_BYTES]), is_last=False)
            del self._waiting[:PIECE_BYTES]
        return given.nbytes

    def finish(self) -> None:
        """The last piece, without which the file is a torn one."""
        self._put(bytes(self._waiting), is_last=True)
        self._waiting.clear()

    def _put(self, piece: bytes, *, is_last: bool) -> None:
        sealed = self._cipher.seal(piece, is_last)
        self._stream.write(_FRAME.pack(is_last, len(sealed)))
        self._stream.write(sealed)


class SealedReader(io.RawIOBase):
    """Gives the bytes of a sealed file, each piece checked first."""

    def __init__(self, stream: BinaryIO, passphrase: str) -> None:
        """Raises: SealedFileError, for a file of another kind or version; WrongPassphrase."""
        self._stream = stream
        head = stream.read(len(MAGIC) + SALT_BYTES)
        if not head.startswith(MAGIC) or len(head) < len(MAGIC) + SALT_BYTES:
            raise SealedFileError("this is no sealed file of Henge, or one of a later version")
        self._cipher = _Cipher(passphrase, head[len(MAGIC) :])
        self._is_ended = False
        self._piece = memoryview(self._next(is_first=True))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        """Raises: SealedFileError, where the file is damaged or cut off."""
        wanted = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._piece and not self._is_ended:
            self._piece = memoryview(self._next(is_first=False))
        count = min(len(wanted), len(self._piece))
        wanted[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def _next(self, *, is_first: bool) -> bytes:
        from cryptography.exceptions import InvalidTag

        frame = self._stream.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            raise SealedFileError("the file is cut off: its last piece is missing; take another copy of it")
        is_last, size = _FRAME.unpack(frame)
        if is_last > 1 or not TAG_BYTES <= size <= PIECE_BYTES + TAG_BYTES:
            raise SealedFileError("the file is damaged; take another copy of it")
        try:
            piece = self._cipher.open(self._stream.read(size), bool(is_last))
        except InvalidTag as error:
            if is_first:
                raise WrongPassphrase("the passphrase is not that of this file, or its beginning is damaged") from error
            raise SealedFileError("the file is damaged or cut off; take another copy of it") from error
        self._is_ended = bool(is_last)
        if self._is_ended and self._stream.read(1):
            raise SealedFileError("the file goes on behind its end: it is damaged; take another copy of it")
        return piece
