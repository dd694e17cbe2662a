"""The lock of the API: TLS, and a token for each request that does not come from this machine."""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web
from msgspec import Struct

from plait.base.errors import SettingsError
from plait.serve.api import access, paths, status
from plait.serve.api.access import LOCAL, Role, User
from plait.serve.api.guard import OPEN, Handler
from plait.serve.api.replies import reply
from plait.serve.api.tokens import LONGEST, Grant, TokenError, Tokens, UnknownTokenError
from plait.serve.doors import Pair

LOOK: Final = 1.0
"""Seconds between two looks at the certificate."""
PAGE: Final = "/plait/v1/api-tokens"

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_BEARER: Final = "bearer "
_log = structlog.get_logger(__name__)


class Lock:
    """TLS of the API, and who is let in.

    Args:
        tokens: those that are taken.
        certificate: what is shown now; may read files.
        runs: Pods are programs of this machine.

    Attributes:
        context: of new connections.
        tokens, runs: as given.

    Raises:
        SettingsError: there is no certificate that can be shown.
    """

    def __init__(
        self, tokens: Tokens, certificate: Callable[[], Pair], *, runs: bool = False
    ) -> None:
        self.tokens = tokens
        self.runs = runs
        self._certificate = certificate
        self._error = ""
        self._limits: dict[str, set[asyncio.Timeout]] = {}  # of open requests, by token
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        self.context.set_ciphers(_CIPHERS)
        try:
            self._pair = certificate()
            _load(self.context, self._pair)
        except (OSError, ValueError) as error:
            raise SettingsError(f"the API's certificate cannot be used: {error}") from error

    async def run(self) -> None:
        """Follow the certificate until cancelled; one that cannot be used changes nothing."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                pair = await asyncio.to_thread(self._certificate)
                if pair != self._pair:
                    # tried elsewhere first: half a pair would spoil what is in force
                    await asyncio.to_thread(_load, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair)
                    await asyncio.to_thread(_load, self.context, pair)
                    self._pair, self._error = pair, ""
                    _log.info("api certificate renewed")
            except (OSError, ValueError) as error:
                if str(error) != self._error:
                    self._error = str(error)
                    _log.warning("api certificate not renewed", error=self._error)

    async def revoke(self, identifier: str) -> bool:
        """A token is void from now on, also for what is being answered, such as watches.

        False: it is not listed, and may be one that is older than the list, or none at all.

        Raises:
            OSError: it cannot be noted.
            UnknownTokenError: there is none of that id, or it is over.
        """
        is_known = await asyncio.to_thread(self.tokens.revoke, identifier)
        now = asyncio.get_running_loop().time()
        for limit in tuple(self._limits.get(identifier, ())):
            if not limit.expired():  # its connection is ending already
                limit.reschedule(now)
        return is_known

    def grant(self, request: web.Request) -> Grant | None:
        """What the token says of who asks; None: it is somebody on this machine, without one.

        Raises:
            StatusError: 401.
        """
        said = request.headers.get("Authorization", "")
        if not said and request.transport and not request.transport.get_extra_info("ssl_object"):
            return None
        if said[: len(_BEARER)].lower() != _BEARER:
            raise _unauthorized("a bearer token is needed; see plait token api --help")
        try:
            return self.tokens.grant(said[len(_BEARER) :].strip())
        except TokenError as error:
            raise _unauthorized(str(error)) from error

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who may do what is asked for."""
        if request.path in OPEN:
            return await handler(request)
        grant = self.grant(request)
        user = grant.user if grant else LOCAL
        asked = access.ask(
            request.method,
            request.path,
            _target(request),
            watch=paths.is_true(request.query, "watch"),
        )
        why = access.refusal(user, asked, runs=self.runs)
        if why:
            target = asked.target
            details = status.details(target.kind, target.name) if target else {}
            raise status.StatusError(403, "Forbidden", why, details)
        request[paths.USER], request[access.CALLER] = user.name, user
        return await (self._answered(grant, request, handler) if grant else handler(request))

    async def _answered(
        self, grant: Grant, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """The answer, as long as the token is good: then the connection ends.

        Raises:
            StatusError: 401.
        """
        limit = asyncio.timeout(self.tokens.left(grant))
        limits = self._limits.setdefault(grant.id, set())
        limits.add(limit)
        try:
            async with limit:
                return await handler(request)
        except TimeoutError as error:
            if not limit.expired():
                raise
            if request.transport:  # an answer may have begun: nothing can be said within it
                request.transport.abort()
            raise _unauthorized("the token is over, or was revoked") from error
        finally:
            limits.discard(limit)
            if not limits:
                self._limits.pop(grant.id, None)


def from_files(chain: Path, key: Path) -> Callable[[], Pair]:
    """Read a certificate from files of the operator's."""
    return lambda: Pair(chain=chain.read_text(), key=key.read_text())


class _Wanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    subject: str
    role: Role
    namespaces: frozenset[str] = frozenset()
    seconds: int = 86_400


def routes(lock: Lock | None) -> list[web.RouteDef]:
    """The pages by which tokens are made, listed and revoked."""

    def locked() -> Lock:
        if lock is None:
            raise status.bad_request("the API takes no tokens: start plait serve with --api-tls")
        return lock

    async def create(request: web.Request) -> web.Response:
        given = locked().tokens
        wanted = _wanted(await request.read())
        user = User(name=wanted.subject, role=wanted.role, namespaces=wanted.namespaces)
        try:
            token, identifier, end = await asyncio.to_thread(given.issue, user, wanted.seconds)
        except TokenError as error:
            raise status.StatusError(409, "Conflict", str(error)) from error
        except OSError as error:
            raise _unnoted(error) from error
        _log.info("token given", key=identifier, role=wanted.role.value)
        return reply({"token": token, "id": identifier, "expires": end}, 201)

    async def listed(request: web.Request) -> web.Response:
        del request
        return reply(lock.tokens.shown() if lock else [])

    async def revoke(request: web.Request) -> web.Response:
        identifier = request.match_info["id"]
        try:
            is_known = await locked().revoke(identifier)
        except UnknownTokenError as error:
            raise status.StatusError(404, "NotFound", str(error)) from error
        except OSError as error:
            raise _unnoted(error) from error
        _log.info("token revoked", key=identifier)
        return reply({"id": identifier, "known": is_known})

    return [web.post(PAGE, create), web.get(PAGE, listed), web.delete(PAGE + "/{id}", revoke)]


def _wanted(body: bytes) -> _Wanted:
    """What a token is asked for.

    Raises:
        StatusError: 400.
    """
    try:
        wanted = msgspec.json.decode(body, type=_Wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise status.bad_request(f"no such token: {error}") from error
    if not wanted.subject or not 0 < wanted.seconds <= LONGEST:
        raise status.bad_request(f"a subject, and from 1 to {LONGEST} seconds are needed")
    if (wanted.role is Role.EDITOR) != bool(wanted.namespaces):
        raise status.bad_request("an editor needs namespaces, and nobody else has some")
    return wanted


def _unnoted(error: OSError) -> status.StatusError:
    return status.StatusError(503, "ServiceUnavailable", f"nothing is changed: {error}")


def _target(request: web.Request) -> paths.Target | None:
    """The objects that a request is about; None: it is about a page."""
    found = request.match_info
    if "tail" not in found or "version" not in found:
        return None
    return paths.target(found.get("group", ""), found["version"], found["tail"])


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    """Show a certificate from now on; OpenSSL reads it from a file, which is gone at once."""
    descriptor, name = tempfile.mkstemp(prefix="plait-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{pair.chain}\n{pair.key}")
        context.load_cert_chain(name, password=_no_password)
    finally:
        Path(name).unlink()


def _no_password() -> Any:
    """OpenSSL would ask at the terminal."""
    raise ValueError("the key must not be encrypted")


def _unauthorized(message: str) -> status.StatusError:
    return status.StatusError(401, "Unauthorized", message)
