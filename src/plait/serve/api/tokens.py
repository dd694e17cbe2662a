"""Bearer tokens of the API: signed here, with an audience, an end, and a way to revoke them."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwk, jwt
from joserfc.errors import JoseError
from msgspec import Struct

from plait.base import private
from plait.base.clock import Clock
from plait.base.errors import PlaitError, SettingsError
from plait.serve.api.access import Role, User

AUDIENCE: Final = "plait-api"
PREFIX: Final = "api-"
"""With which the ids of these tokens begin."""
LONGEST: Final = 366 * 86_400
"""Seconds that a token may be good for."""
_ISSUER: Final = "plait"
_ALGORITHM: Final = "ES256"
_SIZE: Final = 8_192  # characters of a token
_CLAIMS: Final = jwt.JWTClaimsRegistry(leeway=0)


class TokenError(PlaitError):
    """A token proves nothing; the message says why, and nothing of the token."""


class Grant(Struct, frozen=True, kw_only=True):
    """What a token gives: to be `user` until `end`, seconds since the epoch; `id` names it."""

    user: User
    id: str
    end: int


class Tokens:
    """The tokens of one control plane.

    Args:
        directory: keeps the key, and which tokens are revoked, for our own user alone.
        clock: tells when a token is over.

    Raises:
        SettingsError: something there cannot be read or made.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._revoked_file = directory / "revoked.json"
        self._clock = clock
        self._revoking = threading.Lock()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._key = _key(directory / "tokens.pem")
            self._revoked: dict[str, int] = _revoked(self._revoked_file)
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(
                f"the key and list of the API's tokens in {directory} cannot be read: {error}. "
                "Mend them, or remove them: all tokens that were given are void then"
            ) from error

    def issue(self, user: User, seconds: int) -> tuple[str, str, int]:
        """A token, its id, and when it ends in seconds since the epoch."""
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
        return token, identifier, now + seconds

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

    def revoke(self, identifier: str) -> None:
        """A token is void from now on, whether or not it was ever given.

        Raises:
            OSError: it cannot be noted.
        """
        with self._revoking:  # of two at a time, each in a thread, neither may be lost
            now = int(self._clock.now())
            kept = {name: end for name, end in self._revoked.items() if end > now}
            kept[identifier] = now + LONGEST
            private.write(self._revoked_file, json.dumps(kept).encode(), lasting=True)
            self._revoked = kept

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
