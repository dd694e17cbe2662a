"""Bytes that only the holder of a key can read: AES-256-GCM under the keys of a file.

The file has one key in each line, of which the first seals and all open.  It is made when there is
none, mode 0600, and nothing that is in it is ever removed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from plait.base import private
from plait.base.digest import digest

_BITS: Final = 256
_NONCE: Final = 12  # bytes
_PRIVATE: Final = 0o600


class Keys:
    """The keys of a file, or one that lasts as long as the process."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._ciphers = {_name(key): AESGCM(key) for key in keys}

    def __bool__(self) -> bool:
        return bool(self._ciphers)

    @classmethod
    def of(cls, file: Path) -> Keys:
        """The keys in a file, which is made if there is none.

        Raises:
            OSError: the file cannot be read or written.
        """
        return cls(_read(file) or [_added(file)])

    @classmethod
    def passing(cls) -> Keys:
        """A new key that nothing keeps."""
        return cls([AESGCM.generate_key(_BITS)])

    def close(self, data: bytes, place: bytes) -> tuple[str, bytes]:
        """The name of the key that sealed, and what was sealed, bound to its place."""
        name, cipher = next(iter(self._ciphers.items()))
        nonce = os.urandom(_NONCE)
        return name, nonce + cipher.encrypt(nonce, data, place)

    def open(self, name: str, closed: bytes, place: bytes) -> bytes | None:
        """What was sealed; None: there is no such key, or it was sealed for another place."""
        cipher = self._ciphers.get(name)
        if cipher is None:
            return None
        with suppress(InvalidTag, ValueError):
            return cipher.decrypt(closed[:_NONCE], closed[_NONCE:], place)
        return None


def _name(key: bytes) -> str:
    """What a key is called where it must not be shown."""
    return digest(b"plait", key)[:8]


def _read(file: Path) -> list[bytes]:
    """The keys in a file; lines that are none are passed over."""
    if not file.exists():
        return []
    file.chmod(_PRIVATE)
    keys = []
    for line in file.read_text(errors="replace").splitlines():
        with suppress(ValueError):
            found = bytes.fromhex(line.strip())
            if len(found) * 8 == _BITS:
                keys.append(found)
    return keys


def _added(file: Path) -> bytes:
    """A new key, on the disk before anything is sealed with it."""
    key = AESGCM.generate_key(_BITS)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _PRIVATE)
    with open(descriptor, "ab") as lines:
        # begun anew: what a crash or an editor left may have no end of its own
        lines.write(f"\n{key.hex()}\n".encode() if lines.tell() else f"{key.hex()}\n".encode())
        lines.flush()
        os.fsync(lines.fileno())
    private.sync(file.parent)
    return key
