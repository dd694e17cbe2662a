"""Secrets as they are stored: everything that only some may know is sealed with AES-256-GCM.

The key is in the file ``secrets.key`` of the data directory: one key in each line, of which the
first seals and all open.  It is made when there is none, and nothing that is in it is ever
removed.  A sealed document keeps its names, labels and dates, so that it can be listed and
deleted by somebody who lacks the key.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from plait.base.digest import digest
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.meta import Key

FILE: Final = "secrets.key"
"""Name of the file of keys in the data directory."""
SEALED: Final = "sealed"
"""Field of a stored document that holds what is sealed."""

_BITS: Final = 256
_NONCE: Final = 12  # bytes
_PRIVATE: Final = 0o600
_OPEN: Final = ("apiVersion", "kind", "type", "immutable", "metadata", "status")
_HIDDEN_METADATA: Final = ("annotations",)  # kubectl keeps the whole manifest in one of them


def is_secret(key: Key) -> bool:
    """Whether the values of an object must not be stored in plain."""
    return key.group == "" and key.kind == "Secret"


def is_sealed(document: Mapping[str, Any]) -> bool:
    """Whether a document of a Secret could not be opened."""
    return isinstance(document.get(SEALED), str)


def is_anew(document: Mapping[str, Any]) -> bool:
    """Whether a document has values beside what is sealed, if anything."""
    return bool(document.keys() - {*_OPEN, SEALED})


def unreadable(key: Key, document: Mapping[str, Any]) -> Diagnostic:
    """What is said of a Secret that cannot be opened."""
    name = str(document[SEALED]).partition(":")[0]
    return Diagnostic(
        code="PLT1011",
        severity=Severity.ERROR,
        subject=key,
        message=f'it is sealed with the key "{name}", which is not in {FILE}',
        hint=f"Add the line of that key to {FILE} in the data directory and start plait again, "
        "or write the Secret anew",
    )


class Seal:
    """Seals and opens documents; one without keys leaves everything as it is."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = {_name(key): AESGCM(key) for key in keys}

    @classmethod
    def of(cls, directory: Path | None) -> Seal:
        """The seal of a data directory; None: one that lasts as long as the process.

        Raises:
            OSError: the file cannot be read or written.
        """
        if directory is None:
            return cls([AESGCM.generate_key(_BITS)])
        file = directory / FILE
        return cls(_read(file) or [_added(file)])

    def sealed(self, key: Key, document: dict[str, Any]) -> dict[str, Any]:
        """The document as it is stored; of other kinds, and what is sealed already, as it is.

        What is written beside something sealed takes its place.
        """
        if not is_secret(key) or not self._keys or (is_sealed(document) and not is_anew(document)):
            return document
        name, cipher = next(iter(self._keys.items()))
        shown = {field: part for field, part in document.items() if field in _OPEN}
        hidden: dict[str, Any] = {k: v for k, v in document.items() if k not in (*_OPEN, SEALED)}
        metadata = dict(shown.get("metadata") or {})
        hidden["metadata"] = {k: metadata.pop(k) for k in _HIDDEN_METADATA if k in metadata}
        nonce = os.urandom(_NONCE)
        closed = cipher.encrypt(nonce, msgspec.json.encode(hidden), _place(key))
        text = base64.b64encode(nonce + closed).decode()
        return {**shown, "metadata": metadata, SEALED: f"{name}:{text}"}

    def opened(self, key: Key, document: dict[str, Any]) -> dict[str, Any]:
        """The document as it was written; one that no key opens stays as it is stored."""
        if not is_secret(key) or not is_sealed(document):
            return document
        name, _, text = document[SEALED].partition(":")
        cipher = self._keys.get(name)
        if cipher is None:
            return document
        try:
            raw = base64.b64decode(text, validate=True)
            hidden = msgspec.json.decode(cipher.decrypt(raw[:_NONCE], raw[_NONCE:], _place(key)))
        except (binascii.Error, InvalidTag, ValueError):
            return document
        rest = {field: part for field, part in document.items() if field != SEALED}
        return {**rest, **hidden, "metadata": {**rest.get("metadata", {}), **hidden["metadata"]}}


def _place(key: Key) -> bytes:
    """What a seal is bound to: one that is moved to another object does not open."""
    return f"{key.kind}/{key.namespace}/{key.name}".encode()


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
    try:
        os.write(descriptor, f"{key.hex()}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return key
