"""Join tokens: each is good for one first certificate of one identity.

A token is ``plait-ID.SECRET``, and its id begins with ``join-``.  Only a digest of the secret is
kept, so the file gives nobody an identity; a token that was used stays in it until it would have
expired, as used.  That one was used is added to a file beside it, so that a thousand machines may
join at once; the two become one when a token is made or revoked.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, structs

from plait.base import private
from plait.base.errors import AuthorityError, UnknownCallerError
from plait.serve.ca import keyring

PREFIX: Final = "plait-join-"
"""With which the text of every join token begins."""
_SHOWN: Final = "plait-"  # before the id
LONGEST: Final = 7 * 86_400.0
"""Seconds that a token may be good for."""
MOST: Final = 10_000
"""Tokens that there may be."""


class Token(Struct, frozen=True, kw_only=True):
    """What is known of a token.

    Attributes:
        id: names it; no secret.
        digest: SHA-256 of its secret, in hexadecimal digits.
        namespace, account: the service account that it gives.
        created, expires: in seconds since the epoch; `used` too, None: it was not.
    """

    id: str
    digest: str
    namespace: str
    account: str
    created: float
    expires: float
    used: float | None = None


class Tokens:
    """The tokens in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._used = path.with_name(f"{path.name}.used")
        self._tokens: dict[str, Token] = {}

    def load(self) -> None:
        """Read the file.

        Raises:
            AuthorityError: it cannot be read.
        """
        data = keyring.read(self._path) or b"[]"
        try:
            found = msgspec.json.decode(data, type=tuple[Token, ...])
        except msgspec.DecodeError as error:
            raise AuthorityError(
                f"{self._path} is damaged: remove it, and make the tokens in it anew"
            ) from error
        self._tokens = {token.id: token for token in found}
        for identifier, used in self._spent():
            token = self._tokens.get(identifier)
            if token is not None and token.used is None:
                self._tokens[identifier] = structs.replace(token, used=used)

    def _spent(self) -> Iterator[tuple[str, float]]:
        """Ids of used tokens and when they were; a line that was not written whole is none."""
        for line in (keyring.read(self._used) or b"").decode(errors="replace").splitlines():
            identifier, _, when = line.partition(" ")
            with contextlib.suppress(ValueError):
                yield identifier, float(when)

    def known(self, now: float) -> tuple[Token, ...]:
        """Those that have not expired, the newest first."""
        found = [token for token in self._tokens.values() if token.expires > now]
        return tuple(sorted(found, key=lambda token: (-token.created, token.id)))

    def create(self, namespace: str, account: str, seconds: float, now: float) -> str:
        """A new token, good for `seconds`; the text is shown once and kept nowhere.

        Raises:
            AuthorityError: it cannot be kept, or there are too many.
        """
        left = self.known(now)
        if len(left) >= MOST:
            raise AuthorityError(f"there are {MOST} join tokens: revoke some first")
        identifier, secret = f"join-{secrets.token_hex(8)}", secrets.token_urlsafe(32)
        token = Token(
            id=identifier,
            digest=_digest(secret),
            namespace=namespace,
            account=account,
            created=now,
            expires=now + seconds,
        )
        self._keep((*left, token))
        return f"{_SHOWN}{identifier}.{secret}"

    def check(self, text: str, now: float) -> Token:
        """The token that a text is; it is not used up.

        Raises:
            UnknownCallerError: it is unknown, used, revoked or expired.
        """
        identifier, _, secret = text.removeprefix(_SHOWN).partition(".")
        token = self._tokens.get(identifier)
        is_right = hmac.compare_digest(token.digest if token else "", _digest(secret))
        if token is None or not is_right:
            raise UnknownCallerError("the join token is not known, or was revoked")
        if token.used is not None:
            raise UnknownCallerError(f'the join token "{token.id}" was used before')
        if token.expires <= now:
            raise UnknownCallerError(f'the join token "{token.id}" has expired')
        return token

    def spend(self, text: str, now: float) -> Token:
        """Use a token up; it is noted as used before this returns.

        Raises:
            UnknownCallerError: as `check`.
            AuthorityError: that it is used cannot be noted.
        """
        spent = structs.replace(self.check(text, now), used=now)
        try:
            # on a line of its own, whatever a crash left before it
            private.append(self._used, f"\n{spent.id} {now}\n".encode())
        except OSError as error:
            raise AuthorityError(f"{self._used} cannot be written: {error}") from error
        self._tokens[spent.id] = spent
        return spent

    def revoke(self, identifier: str, now: float) -> bool:
        """Take a token back; False: there is none of that id.

        Raises:
            AuthorityError: it cannot be noted.
        """
        left = self.known(now)
        self._keep(token for token in left if token.id != identifier)
        return any(token.id == identifier for token in left)

    def _keep(self, tokens: Iterable[Token]) -> None:
        kept = tuple(tokens)
        keyring.write(self._path, msgspec.json.encode(kept))
        self._used.unlink(missing_ok=True)
        self._tokens = {token.id: token for token in kept}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
