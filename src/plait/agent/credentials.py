"""All that one proxy needs to be somebody: its identity, whom it trusts, and a server of both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from msgspec import Struct

from plait.agent.certfiles import Files
from plait.agent.plaintext import Plaintext
from plait.agent.renewal import Claim, Renewal
from plait.agent.sds import Sds
from plait.agent.secrets import IDENTITY, Secrets
from plait.agent.upstream import Door
from plait.base.clock import Clock
from plait.xds import keys
from plait.xds.secrets import ROOTS


class Where(Struct, frozen=True, kw_only=True):
    """Where a proxy's credentials are.

    Attributes:
        socket: where they are served.
        file: where its identity is kept.
        upstream: the control plane, ``host:port`` or ``unix:PATH``.
        uid: as whom Envoy reads certificates in files; None: as we do.
        plaintext: where is written who calls in plain text; None: nowhere.
    """

    socket: Path
    file: Path
    upstream: str
    uid: int | None = None
    plaintext: Path | None = None


class Credentials:
    """One proxy's identity, whom it trusts and what it reads from files, served to its Envoy."""

    def __init__(self, claim: Claim, where: Where, proxy: str, clock: Clock) -> None:
        secrets = Secrets()
        self._secrets = secrets
        self._renewal = Renewal(claim, where.file, where.upstream, secrets, clock)
        self._plaintext = Plaintext(where.plaintext, clock) if where.plaintext else None
        told = self._plaintext.handler() if self._plaintext else None
        self._sds = Sds(where.socket, secrets, proxy, told)
        self._files = Files(secrets, where.uid, proxy)

    def parts(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What must run, by name."""
        found: dict[str, Callable[[], Awaitable[None]]] = {
            "sds": self._sds.run,
            "identity": self._renewal.run,
            "files": self._files.run,
        }
        if self._plaintext is not None:
            found["plaintext"] = self._plaintext.run
        return found

    def take(self, body: bytes) -> None:
        """Trust these from now on: a serialised Secret."""
        self._secrets.put(keys.secret(ROOTS, body))
        self._renewal.trust(keys.trusted([body]).decode())

    async def door(self) -> Door:
        """The control plane as this identity reaches it; waits for one that is needed."""
        while (found := self._renewal.door()) is None:
            await self.renewed()
        return found

    async def renewed(self) -> None:
        """Wait until there is another certificate."""
        number, changed = self._secrets.number(IDENTITY), asyncio.Event()
        stop = self._secrets.follow(changed.set)
        try:
            while self._secrets.number(IDENTITY) == number:
                await changed.wait()
                changed.clear()
        finally:
            stop()

    async def outcome(self) -> str:
        """Wait for what Envoy makes of them; its words if it refuses, empty if it does not."""
        return await self._sds.outcome(ROOTS)
