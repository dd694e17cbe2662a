"""Bearer tokens of the API: signed here, with an audience, an end, and a way to revoke them."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwk, jwt
from joserfc.errors import JoseError
from msgspec import Struct

from plait.base import private
from plait.base.clock import Clock
from plait.base.errors import PlaitError, SettingsError
from plait.serve.api.access import Role, User
from plait.serve.api.given import MOST, Given, Ledger

AUDIENCE: Final = "plait-api"
PREFIX: Final = "api-"
"""With which the ids of these tokens begin."""
LONGEST: Final = 366 * 86_400
"""Seconds that a token may be good for."""
_ISSUER: Final = "plait"
_ALGORITHM: Final = "ES256"
_SIZE: Final = 8_192  # characters of a token
_ID: Final = re.compile(r"api-[0-9a-f]{16}")


class TokenError(PlaitError):
    """A token proves nothing; the message says why, and nothing of the token."""


class UnknownTokenError(PlaitError):
    """There is no token of that id."""


class Grant(Struct, frozen=True, kw_only=True):
    """What a token gives: to be `user` until `end`, seconds since the epoch; `id` names it."""

    user: User
    id: str
    end: int


class Tokens:
    """The tokens of one control plane.

    Args:
        directory: keeps the key, and which tokens are given and revoked, for our own user alone.
        clock: tells when a token is over.

    Raises:
        SettingsError: something there cannot be read or made.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._revoked_file = directory / "revoked.json"
        self._clock = clock
        self._changing = threading.Lock()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            key = directory / "tokens.pem"
            older = int(clock.now()) + LONGEST if key.exists() else 0  # it may have signed some
            self._given = Ledger(directory / "given.json", older)
            self._key = _key(key)
            self._revoked: dict[str, int] = _revoked(self._revoked_file)
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(
                f"the key and list of the API's tokens in {directory} cannot be read: {error}. "
                "Mend them, or remove them: all tokens that were given are void then"
            ) from error

    def issue(self, user: User, seconds: int) -> tuple[str, str, int]:
        """A token, its id, and when it ends in seconds since the epoch.

        Raises:
            OSError: that it was given cannot be noted.
            TokenError: there are too many.
        """
        now = int(self._clock.now())
        identifier = PREFIX + secrets.token_hex(8)
        claims = {
            "iss": _ISSUER,
            "aud": AUDIENCE,
            "sub": user.name,
            "iat": now,
            "exp": now + seconds,
            "jti": identifier,
            "role": user.role.value,
            "namespaces": sorted(user.namespaces),
        }
        token = jwt.encode({"alg": _ALGORITHM}, claims, self._key)
        noted = Given(
            id=identifier,
            subject=user.name,
            role=user.role,
            namespaces=tuple(sorted(user.namespaces)),
            given=now,
            expires=now + seconds,
        )
        with self._changing:
            if len(self._given.known(now)) >= MOST:
                raise TokenError(f"there are {MOST} API tokens: revoke some first")
            self._given.add(noted)
        return token, identifier, now + seconds

    def shown(self) -> list[dict[str, Any]]:
        """Those that are good and not older than the list of them, the newest first.

        `given` and `expires` are in seconds since the epoch, `left` from now.
        """
        now = self._clock.now()
        found = (one for one in self._given.known(now) if one.id not in self._revoked)
        return [{**msgspec.to_builtins(one), "left": one.expires - now} for one in found]

    def grant(self, token: str) -> Grant:
        """Who shows a token, and until when.

        Raises:
            TokenError: it is not one of ours, over, revoked, or for something else.
        """
        if len(token) > _SIZE:
            raise TokenError("the token is too long")
        try:
            claims = jwt.decode(token, self._key, algorithms=[_ALGORITHM]).claims
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise TokenError("the token was not given by this control plane") from error
        return self._checked(claims)

    def revoke(self, identifier: str) -> bool:
        """A token is void from now on.

        False: it is not listed, and may be one that is older than the list, or none at all.

        Raises:
            OSError: it cannot be noted.
            UnknownTokenError: there is none of that id, or it is over.
        """
        with self._changing:  # of two at a time, each in a thread, neither may be lost
            now = int(self._clock.now())
            if identifier in self._revoked:
                return True
            is_known = any(one.id == identifier for one in self._given.known(now))
            if not is_known and not (self._given.may_lack(now) and _ID.fullmatch(identifier)):
                raise UnknownTokenError(
                    f'there is no API token "{identifier}": plait token list shows those there are'
                )
            kept = {name: end for name, end in self._revoked.items() if end > now}
            kept[identifier] = now + LONGEST
            private.write(self._revoked_file, json.dumps(kept).encode(), lasting=True)
            self._revoked = kept
            self._given.remove(identifier)
        return is_known

    def left(self, grant: Grant) -> float:
        """Seconds until a token is over."""
        return grant.end - self._clock.now()

    def _checked(self, claims: Any) -> Grant:
        now = self._clock.now()
        if not isinstance(claims, dict) or claims.get("iss") != _ISSUER:
            raise TokenError("the token was not given by this control plane")
        if claims.get("aud") != AUDIENCE:
            raise TokenError(f'the token is not for "{AUDIENCE}"')
        end = claims.get("exp")
        if not isinstance(end, int) or end <= now:
            raise TokenError("the token is over: make another with plait token api")
        if claims.get("jti") in self._revoked:
            raise TokenError("the token was revoked")
        known = {role.value: role for role in Role}
        role = known.get(str(claims.get("role")))
        if role is None:
            raise TokenError("the token has a role that there is not")
        user = User(
            name=str(claims.get("sub", "")),
            role=role,
            namespaces=frozenset(_texts(claims.get("namespaces"))),
        )
        return Grant(user=user, id=str(claims.get("jti", "")), end=end)


def _texts(value: Any) -> Iterable[str]:
    return (one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _key(path: Path) -> jwk.ECKey:
    """The key in a file; a new one where there is none."""
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        text = made.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        private.write(path, text, lasting=True)
    return jwk.ECKey.import_key(path.read_text())


def _revoked(path: Path) -> dict[str, int]:
    with contextlib.suppress(FileNotFoundError):
        return {str(name): int(end) for name, end in json.loads(path.read_text()).items()}
    return {}
