"""Secrets as they are stored: everything that only some may know is sealed with AES-256-GCM.

The key is in the file ``secrets.key`` of the data directory: one key in each line, of which the
first seals and all open.  It is made when there is none, and nothing that is in it is ever
removed.  A sealed document keeps its names, labels and dates, so that it can be listed and
deleted by somebody who lacks the key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from plait.base import seal
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.meta import Key

FILE: Final = "secrets.key"
"""Name of the file of keys in the data directory."""
SEALED: Final = "sealed"
"""Field of a stored document that holds what is sealed."""

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

    def __init__(self, keys: seal.Keys | None = None) -> None:
        self._keys = keys or seal.Keys()

    @classmethod
    def of(cls, directory: Path | None) -> Seal:
        """The seal of a data directory; None: one that lasts as long as the process.

        Raises:
            OSError: the file cannot be read or written.
        """
        return cls(seal.Keys.passing() if directory is None else seal.Keys.of(directory / FILE))

    def sealed(self, key: Key, document: dict[str, Any]) -> dict[str, Any]:
        """The document as it is stored; of other kinds, and what is sealed already, as it is.

        What is written beside something sealed takes its place.
        """
        if not is_secret(key) or not self._keys or (is_sealed(document) and not is_anew(document)):
            return document
        shown = {field: part for field, part in document.items() if field in _OPEN}
        hidden: dict[str, Any] = {k: v for k, v in document.items() if k not in (*_OPEN, SEALED)}
        metadata = dict(shown.get("metadata") or {})
        hidden["metadata"] = {k: metadata.pop(k) for k in _HIDDEN_METADATA if k in metadata}
        name, closed = self._keys.close(msgspec.json.encode(hidden), _place(key))
        text = base64.b64encode(closed).decode()
        return {**shown, "metadata": metadata, SEALED: f"{name}:{text}"}

    def opened(self, key: Key, document: dict[str, Any]) -> dict[str, Any]:
        """The document as it was written; one that no key opens stays as it is stored."""
        if not is_secret(key) or not is_sealed(document):
            return document
        name, _, text = document[SEALED].partition(":")
        try:
            plain = self._keys.open(name, base64.b64decode(text, validate=True), _place(key))
        except binascii.Error:
            return document
        if plain is None:
            return document
        hidden = msgspec.json.decode(plain)
        rest = {field: part for field, part in document.items() if field != SEALED}
        return {**rest, **hidden, "metadata": {**rest.get("metadata", {}), **hidden["metadata"]}}


def _place(key: Key) -> bytes:
    """What a seal is bound to: one that is moved to another object does not open."""
    return f"{key.kind}/{key.namespace}/{key.name}".encode()
