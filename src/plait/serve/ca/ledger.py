"""What certificates were given to whom: kept in memory, and as lines in a file.

A rotation must know, after a restart too, who may still show a certificate of the old root.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from plait.serve.ca import keyring

_log = structlog.get_logger(__name__)
MOST: Final = 100_000
"""Holders that are remembered; of more, those with the newest certificates."""
_SPARE: Final = 1000  # lines beyond twice what is needed at which the file is written anew


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The newest certificate of a proxy.

    Attributes:
        proxy: node id, as the agent said it; empty: it did not.
        pod: ``namespace/name``; empty: the proxy is of no Pod.
        root: fingerprint of the root.
        serial: in hexadecimal digits.
        at: when it was given; `at`, `not_before`, `not_after` in seconds since the epoch.
    """

    proxy: str = ""
    pod: str = ""
    identity: str
    root: str = ""
    serial: str = ""
    at: float = 0.0
    not_before: float = 0.0
    not_after: float = 0.0

    @property
    def holder(self) -> str:
        """Who has it: the proxy, else the Pod, else all of that identity."""
        return self.proxy or self.pod or self.identity

    @property
    def life(self) -> float:
        """Seconds from when it was given to its end."""
        return self.not_after - self.at


class Ledger:
    """The newest entry of each holder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, Entry] = {}
        self._holders: dict[str, str] = {}  # by Pod
        self._lines = 0
        self._failed = False

    def load(self) -> None:
        """Read the file; a line that a crash cut short is left out.

        Raises:
            AuthorityError: it cannot be read.
        """
        decoder = msgspec.json.Decoder(Entry)
        for line in filter(None, keyring.read(self._path).splitlines()):
            self._lines += 1
            with contextlib.suppress(msgspec.DecodeError):
                self._put(decoder.decode(line))

    @property
    def entries(self) -> Mapping[str, Entry]:
        """By holder."""
        return self._entries

    def add(self, entry: Entry) -> None:
        """Remember a certificate; that the disk is full keeps nobody from having one."""
        self._put(entry)
        self._lines += 1
        try:
            # on a line of its own, whatever a crash or a full disk left before it
            self._append(b"\n" + msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            if not self._failed:
                _log.warning("certificates not noted", path=str(self._path), error=str(error))
            self._failed = True
        else:
            self._failed = False

    def forget(self, gone: Iterable[Entry]) -> None:
        """Leave out certificates that nobody can show any more, and keep the file short.

        Raises:
            AuthorityError: the file, which has too many lines by now, cannot be written anew.
        """
        for entry in gone:
            if self._entries.get(entry.holder) is entry:  # else a newer one was given meanwhile
                self._drop(entry.holder)
        if self._lines > 2 * len(self._entries) + _SPARE:
            lines = [msgspec.json.encode(entry) + b"\n" for entry in self._entries.values()]
            keyring.write(self._path, b"".join(lines))
            self._lines = len(lines)

    def _put(self, entry: Entry) -> None:
        """Keep an entry as the newest; a Pod has one proxy, so one of before is no more."""
        self._drop(entry.holder)
        if entry.pod:
            self._drop(self._holders.get(entry.pod, ""))
            self._holders[entry.pod] = entry.holder
        self._entries[entry.holder] = entry
        if len(self._entries) > MOST:
            self._drop(next(iter(self._entries)))

    def _drop(self, holder: str) -> None:
        entry = self._entries.pop(holder, None)
        if entry is not None and entry.pod:
            self._holders.pop(entry.pod, None)

    def _append(self, line: bytes) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
