"""Asks for a proxy's certificate, keeps it, and puts it where Envoy is told of it.

While the control plane is away the last good one stays in force.  It is in a file as well, so a
new agent and an Envoy that starts meanwhile have it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from pathlib import Path
from typing import Final

import grpc
import msgspec
import structlog
from msgspec import Struct

from plait.agent import identity as identities
from plait.agent.identity import Identity, State, UnfitError, Wait
from plait.agent.secrets import IDENTITY, Secrets
from plait.agent.upstream import Door, signed
from plait.base import private
from plait.base.clock import Clock
from plait.xds import certificates, keys
from plait.xds.wire import Malformed

_UNTRUSTED: Final = ("CERTIFICATE_VERIFY_FAILED", "BAD_SIGNATURE")
"""What OpenSSL calls a certificate under other roots; the latter, if those have the same name."""
_log = structlog.get_logger(__name__)
_LONGEST: Final = 200  # characters of a reason
_TOKEN: Final = re.compile(rb"[!-~]+")  # what a header may hold, and no blanks


class Claim(Struct, frozen=True, kw_only=True):
    """Who a proxy says it is when it asks for a certificate.

    Attributes:
        pod: ``NAMESPACE/NAME``, if it is one of this machine; empty: it is none.
        proxy: its node id.
        trust_domain: empty: the control plane's own.
        seconds: how long the certificate shall be good; 0: as long as is usual.
        token: file with what proves it the first time, over an encrypted connection; None:
            nothing does.
        join: where it is proved by the token; empty: where everything else is.
        roots: the control plane's certificate must be issued under one of these, in PEM, or
            under one that the mesh trusts; empty: connections are not encrypted.
    """

    namespace: str
    service_account: str
    pod: str = ""
    proxy: str = ""
    trust_domain: str = ""
    seconds: int = 0
    token: Path | None = None
    join: str = ""
    roots: str = ""

    @property
    def account(self) -> str:
        """The end of its SPIFFE id."""
        return f"/ns/{self.namespace}/sa/{self.service_account}"

    @property
    def identity(self) -> str:
        """Its SPIFFE id; empty: the trust domain is not known."""
        return f"spiffe://{self.trust_domain}{self.account}" if self.trust_domain else ""


class Renewal:
    """The certificate of one proxy.

    Args:
        claim: whose it is.
        file: where it is kept, for our own user alone.
        upstream: the control plane, ``host:port`` or ``unix:PATH``.
        secrets: told of each certificate.
    """

    def __init__(
        self, claim: Claim, file: Path, upstream: str, secrets: Secrets, clock: Clock
    ) -> None:
        self._claim = claim
        self._file = file
        self._address = upstream
        self._secrets = secrets
        self._clock = clock
        self._state = State()
        self._identity: Identity | None = None
        self._roots = ""
        self._news = asyncio.Event()
        self._trouble = ""

    def trust(self, roots: str) -> None:
        """New identities are issued under the first of these certificates, in PEM."""
        self._roots = roots
        if self._identity is not None and not self._is_wanted(self._identity):
            self._state = identities.moved(self._state, self._clock.now())
        self._news.set()

    def _loaded(self) -> Identity | None:
        """The certificate that was kept; None: there is none that can be used."""
        try:
            kept = msgspec.json.decode(self._file.read_bytes(), type=Identity)
            identities.restored(kept, account=self._claim.account)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnfitError) as error:
            _log.warning("identity ignored", path=str(self._file), error=_one_line(error))
            return None
        return kept

    async def run(self) -> None:
        """Keep the certificate fresh until cancelled."""
        kept = await asyncio.to_thread(self._loaded) if self._identity is None else None
        if kept is not None:
            self._take(kept, luck=_luck())
        while True:
            found = identities.step(self._state, self._clock.now())
            if isinstance(found, Wait):
                await self._wait(found.seconds)
            else:
                await self._renew()

    def door(self) -> Door | None:
        """The control plane as who has this identity reaches it.

        None: it takes only who has one, and this one has none that is valid.
        """
        if not self._claim.roots:
            return Door(address=self._address)
        held, roots = self._identity, self._claim.roots + self._roots
        if held is None or held.received + held.seconds <= self._clock.now():
            return None
        chain = "".join(_shown(held.chain))
        return Door(address=self._address, roots=roots, chain=chain, key=held.key)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()

    async def _renew(self) -> None:
        try:
            found = await self._asked()
        except grpc.aio.AioRpcError as error:
            self._fail(_told(error))
        except (UnfitError, Malformed, OSError) as error:
            self._fail(str(error))
        else:
            await asyncio.to_thread(self._keep, found)
            self._take(found, luck=_luck())
            self._succeed(found)

    async def _asked(self) -> Identity:
        claim, key = self._claim, identities.new_key()
        about = {
            certificates.IDENTITY: claim.identity,
            certificates.ACCOUNT: "" if claim.pod else claim.account,
            certificates.POD: claim.pod,
            certificates.PROXY: claim.proxy,
        }
        request = certificates.request(
            identities.request(key, claim.identity),
            claim.seconds,
            {name: value for name, value in about.items() if value},
        )
        door, token = self.door(), ""
        if door is None:
            door = Door(address=claim.join or self._address, roots=claim.roots)
            token = await self._token()
        chain = certificates.read_response(await signed(door, request, token))
        now = self._clock.now()
        return identities.accepted(
            key, chain, account=claim.account, seconds=claim.seconds, now=now
        )

    async def _token(self) -> str:
        file = self._claim.token
        if file is None:
            raise UnfitError("there is no token that proves who the proxy is")
        text = (await asyncio.to_thread(file.read_bytes)).strip()
        if not _TOKEN.fullmatch(text):
            raise UnfitError(f"there is no token in {file}")
        return text.decode()

    def _take(self, found: Identity, luck: float) -> None:
        wanted = self._is_wanted(found)
        self._state = identities.received(self._state, found, luck, is_wanted=wanted)
        self._identity = found
        text = "".join(_shown(found.chain)).encode()
        self._secrets.put(keys.certificate(IDENTITY, chain=text, key=found.key.encode()))

    def _is_wanted(self, found: Identity) -> bool:
        """Whether it was issued under the root under which new identities are."""
        try:
            return not self._roots or identities.is_under(found.chain, self._roots)
        except UnfitError:
            return True  # what cannot be read is Envoy's to refuse

    def _keep(self, found: Identity) -> None:
        try:
            private.write(self._file, msgspec.json.encode(found), lasting=False)
        except OSError as error:
            _log.warning("identity not kept", path=str(self._file), error=str(error))

    def _fail(self, error: str) -> None:
        """Note a failure; each reason is logged once in a row."""
        now = self._clock.now()
        self._state = identities.failed(self._state, now, _luck())
        text = _one_line(error)
        if text != self._trouble:
            self._trouble = text
            held = self._identity
            left = round(held.received + held.seconds - now) if held else 0
            _log.warning(
                "certificate not renewed", proxy=self._claim.proxy, error=text, seconds=left
            )

    def _succeed(self, found: Identity) -> None:
        if self._trouble or self._secrets.number(IDENTITY) == 1:
            name = identities.restored(found, account=self._claim.account)
            _log.info("certificate received", proxy=self._claim.proxy, key=name)
        self._trouble = ""


def _shown(chain: tuple[str, ...]) -> tuple[str, ...]:
    """What is shown to others: they know the root, or do not trust it."""
    return chain[:-1] if len(chain) > 1 else chain


def _told(error: grpc.aio.AioRpcError) -> str:
    details = error.details() or ""
    if any(word in details for word in _UNTRUSTED):
        return "the control plane is not known by the roots given: plait ca roots prints its own"
    return f"{error.code().name}: {details}"


def _luck() -> float:
    return random.random()  # noqa: S311 - no secret


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:_LONGEST]
