"""The pages of the certificate authority, below ``/plait/v1/ca``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from plait.base.errors import PlaitError, RefusedError
from plait.serve.api import status
from plait.serve.api.backend import Backend
from plait.serve.api.replies import reply
from plait.serve.ca import overview, spiffe, tokens
from plait.serve.ca.run import CertificateAuthority

ROOT = "/plait/v1/ca"


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of the rotation; `abort` goes back, `force` does not wait for who is away."""

    force: bool = False
    abort: bool = False


class Wanted(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A join token that is asked for, good for so many `seconds`."""

    namespace: str
    service_account: str
    seconds: float = 3600.0


def routes(backend: Backend) -> list[web.RouteDef]:
    """All of them; none, if nobody gives identities here."""
    ca = backend.ca
    if ca is None:
        return []
    shown = _Shown(ca)
    return [
        web.get(ROOT, _told(shown.overview)),
        web.get(f"{ROOT}/certificates", _told(shown.certificates)),
        web.post(f"{ROOT}/rotation", _told(shown.rotate)),
        web.get(f"{ROOT}/tokens", _told(shown.tokens)),
        web.post(f"{ROOT}/tokens", _told(shown.create)),
        web.delete(f"{ROOT}/tokens/{{id}}", _told(shown.revoke)),
    ]


class _Shown:
    def __init__(self, ca: CertificateAuthority) -> None:
        self._ca = ca

    async def overview(self, request: web.Request) -> Any:
        del request
        return overview.overview(self._ca)

    async def certificates(self, request: web.Request) -> Any:
        del request
        return overview.certificates(self._ca)

    async def rotate(self, request: web.Request) -> Any:
        """Begin a rotation, force it on, or abort it."""
        asked = _read(await request.read(), Rotation)
        if asked.abort and asked.force:
            raise status.bad_request("abort or force, not both")
        if asked.abort:
            await self._ca.abort()
        else:
            await self._ca.rotate(force=asked.force)
        return overview.overview(self._ca)

    async def tokens(self, request: web.Request) -> Any:
        """The join tokens without their secrets."""
        del request
        now = self._ca.now()
        return [_shown(token, now) for token in self._ca.tokens.known(now)]

    async def create(self, request: web.Request) -> Any:
        """A new join token: the one time that its secret is shown."""
        asked = _read(await request.read(), Wanted)
        identity = f"spiffe://{self._ca.bundle.trust_domain}/ns/{asked.namespace}"
        if spiffe.parse(f"{identity}/sa/{asked.service_account}") is None:
            raise status.bad_request("namespace and serviceAccount must be names of objects")
        if not 1 <= asked.seconds <= tokens.LONGEST:
            raise status.bad_request(f"a token is good for 1 to {tokens.LONGEST:.0f} seconds")
        create, now = self._ca.tokens.create, self._ca.now()
        text = await self._ca.work(
            create, asked.namespace, asked.service_account, asked.seconds, now
        )
        return {"token": text, "expires": now + asked.seconds}

    async def revoke(self, request: web.Request) -> Any:
        identifier = request.match_info["id"]
        if not await self._ca.work(self._ca.tokens.revoke, identifier, self._ca.now()):
            raise status.StatusError(404, "NotFound", f'there is no join token "{identifier}"')
        return {"id": identifier}


def _told(answer: Callable[[web.Request], Awaitable[Any]]) -> Any:
    """A handler that answers with JSON, and says why the authority refuses or cannot."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return reply(await answer(request))
        except RefusedError as error:
            raise status.StatusError(409, "Conflict", str(error)) from error
        except PlaitError as error:
            raise status.StatusError(503, "ServiceUnavailable", str(error)) from error

    return handle


def _read(body: bytes, cls: Any) -> Any:
    try:
        return msgspec.json.decode(body or b"{}", type=cls)
    except msgspec.DecodeError as error:
        raise status.bad_request(f"the request cannot be read: {error}") from error


def _shown(token: tokens.Token, now: float) -> dict[str, Any]:
    """A token without its secret; durations in seconds, `used` None: it was not."""
    return {
        "id": token.id,
        "namespace": token.namespace,
        "serviceAccount": token.account,
        "left": token.expires - now,
        "used": None if token.used is None else now - token.used,
    }
