"""What stands beside one Envoy in the foreground that is to have an identity."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from plait.agent.credentials import Credentials, Where
from plait.agent.relay import Relay
from plait.agent.renewal import Claim
from plait.agent.streams import until_one_ends
from plait.base.clock import Clock
from plait.base.tasks import steady, supervise
from plait.xds import bootstrap

_LOOK, _PATIENCE = 0.02, 10.0  # seconds between looks for sockets, and until Envoy is started


class Beside:
    """Identity, trust and configuration of one Envoy; sockets are in a directory of our user.

    Args:
        claim: whose identity it is.
        kept: file in which that is kept.
    """

    def __init__(
        self, settings: bootstrap.Settings, claim: Claim, directory: Path, kept: Path, clock: Clock
    ) -> None:
        self._xds, self._sds = directory / "xds.sock", directory / "sds.sock"
        self._cache = directory / "cache"
        where = Where(socket=self._sds, file=kept, upstream=settings.xds)
        self._credentials = Credentials(claim, where, settings.proxy.id, clock)
        self.settings = replace(settings, xds=f"unix:{self._xds}", sds=f"unix:{self._sds}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything runs meanwhile; Envoy may be started when this begins."""
        parts = {**self._credentials.parts(), "relay": self._relay}
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(supervise(steady(run), name=name), name=f"proxy:{name}")
                for name, run in parts.items()
            ]
            try:
                await self._await_sockets()
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def _relay(self) -> None:
        """Relay the control plane; anew with each certificate where that must be shown."""
        while True:
            door = await self._credentials.door()
            relay = Relay(
                self._xds, self._cache, door, on_hosts=lambda _: None, trust=self._credentials
            )
            if door.key:
                await until_one_ends(relay.run(), self._credentials.renewed(), name="proxy:relay")
            else:
                await relay.run()

    async def _await_sockets(self) -> None:
        for _ in range(int(_PATIENCE / _LOOK)):
            if self._xds.exists() and self._sds.exists():
                return
            await asyncio.sleep(_LOOK)
