"""Which tokens of the API were given and are not over: who has them, never what they are."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, structs

from plait.base import private
from plait.serve.api.access import Role

MOST: Final = 10_000
"""Tokens that there may be."""


class Given(Struct, frozen=True, kw_only=True):
    """What is known of a token; `given` and `expires` in seconds since the epoch."""

    id: str
    subject: str
    role: Role
    namespaces: tuple[str, ...]
    given: int
    expires: int


class _Kept(Struct, frozen=True, kw_only=True):
    """What is in the file.

    Attributes:
        older: until then, in seconds since the epoch, tokens may be good that are older than the
            file; 0: there are none.
    """

    older: int = 0
    tokens: tuple[Given, ...] = ()


class Ledger:
    """The tokens in a file.  What changes it is called by one thread at a time.

    Args:
        path: the file.
        older: until when tokens may be good that were given before there was the file.

    Raises:
        OSError: it cannot be read or made.
        ValueError: it is damaged.
    """

    def __init__(self, path: Path, older: int) -> None:
        self._path = path
        with contextlib.suppress(FileNotFoundError):
            self._kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
            return
        self._keep(_Kept(older=older))

    def known(self, now: float) -> tuple[Given, ...]:
        """Those that are not over, the newest first."""
        found = [one for one in self._kept.tokens if one.expires > now]
        return tuple(sorted(found, key=lambda one: (-one.given, one.id)))

    def may_lack(self, now: float) -> bool:
        """Whether tokens may be good that are not in it, because they are older."""
        return self._kept.older > now

    def add(self, token: Given) -> None:
        """Note a token; those that are over are forgotten.

        Raises:
            OSError: it cannot be noted.
        """
        kept = tuple(one for one in self._kept.tokens if one.expires > token.given)
        self._keep(structs.replace(self._kept, tokens=(*kept, token)))

    def remove(self, identifier: str) -> None:
        """Forget a token.

        Raises:
            OSError: that cannot be noted.
        """
        kept = tuple(one for one in self._kept.tokens if one.id != identifier)
        if kept != self._kept.tokens:
            self._keep(structs.replace(self._kept, tokens=kept))

    def _keep(self, kept: _Kept) -> None:
        private.write(self._path, msgspec.json.encode(kept), lasting=True)
        self._kept = kept
