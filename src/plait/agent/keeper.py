"""All that stands beside one workload's Envoy: relay, resolver, pages, and its life."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.agent import envoy
from plait.agent.admin import Admin
from plait.agent.dns import Names, Resolver
from plait.agent.envoy import Envoy, Status
from plait.agent.pages import Pages
from plait.agent.relay import Relay
from plait.base import place as places
from plait.base.clock import WallClock
from plait.base.errors import PlaitError, PlatformError
from plait.base.place import Place, ProxySpec, ProxyState
from plait.base.tasks import Backoff, Health, supervise
from plait.config.capture import PROXY_UID
from plait.xds import bootstrap

ADMIN = "127.0.0.1:15000"
"""Where Envoy's own pages are, inside the Pod."""
STATS = "0.0.0.0:15090"
"""Where its metrics are, for who may scrape the Pod."""

_INTERCEPTION = {
    bootstrap.Role.SIDECAR: bootstrap.Interception.REDIRECT,
    bootstrap.Role.GATEWAY: bootstrap.Interception.NONE,
}
_BACKOFF = Backoff(first=0.1, limit=5.0)
_LOOK, _PATIENCE = 0.01, 2.0  # seconds between looks for the relay's socket, and until it is there


class PartLostError(PlaitError):
    """A part of the agent cannot do its work inside a Pod's network."""


class Keeper:
    """One proxy of this machine, as its `ProxySpec` wants it."""

    def __init__(self, spec: ProxySpec, place: Place, xds: str, resolvers: Sequence[str]) -> None:
        directory = place.proxy(spec.id)
        self._spec = spec
        self._place = place
        self._directory = directory
        self._names = Names()
        self._retired = asyncio.Event()
        self._socket = directory / "xds.sock"
        cache = directory / "cache"
        self._relay = Relay(self._socket, cache, xds, on_hosts=self._names.replace)
        self._resolver = Resolver(spec.network, self._names, resolvers)
        self._envoy = Envoy(
            envoy.Settings(
                name=spec.id,
                directory=directory,
                admin=ADMIN,
                network=spec.network,
                uid=PROXY_UID if os.geteuid() == 0 else None,
                concurrency=spec.concurrency,
                drain=spec.termination_drain,
                log_level=spec.log_level,
            ),
            self._changed,
            WallClock(),
        )

    @property
    def spec(self) -> ProxySpec:
        """What is wanted."""
        return self._spec

    @property
    def admin(self) -> Admin:
        """Envoy's own pages."""
        return self._envoy.admin

    @property
    def log(self) -> Path:
        """What Envoy writes."""
        return self._envoy.log

    def is_ready(self) -> bool:
        """Whether Envoy has its configuration and serves."""
        return self._envoy.status.ready

    def own_metrics(self) -> str:
        """What the agent counts of this proxy."""
        status = self._envoy.status
        counts = {
            "ready": ("gauge", int(status.ready)),
            "envoy_restarts_total": ("counter", status.restarts),
            "relaying": ("gauge", int(self._relay.state == "relaying")),
        }
        return "".join(
            f"# TYPE plait_agent_{name} {kind}\nplait_agent_{name} {value}\n"
            for name, (kind, value) in counts.items()
        )

    def quit(self) -> None:
        """End Envoy at once; it is not started again."""
        self._envoy.quit()

    def retire(self) -> None:
        """The proxy is no longer wanted: finish what is open and end."""
        self._retired.set()
        self._envoy.stop()

    async def run(self) -> None:
        """Until it was retired and nothing of it is left; if cancelled, Envoy runs on."""
        self._prepare()
        async with asyncio.TaskGroup() as group:
            parts = [
                group.create_task(one, name=f"{self._spec.id}:{name}")
                for name, one in self._parts().items()
            ]
            await self._await_relay()
            await self._envoy.run()
            await self._retired.wait()
            for part in parts:
                part.cancel()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    def _parts(self) -> Mapping[str, Coroutine[Any, Any, None]]:
        pages = Pages(self, self._spec.network, self._spec.metrics)

        async def relay(health: Health) -> None:
            health.up()
            await self._relay.run()

        async def resolve(health: Health) -> None:
            health.up()
            await self._resolver.run()

        async def serve(health: Health) -> None:
            try:
                await pages.run(health.up)
            except OSError as error:
                raise PartLostError(f"pages of {self._spec.id}: {error}") from error

        found = {"relay": relay, "dns": resolve, "pages": serve}
        return {
            name: supervise(run, name=f"{name}:{self._spec.id}", backoff=_BACKOFF)
            for name, run in found.items()
        }

    async def _await_relay(self) -> None:
        """Envoy tries again only after a second, so its socket should be there."""
        for _ in range(int(_PATIENCE / _LOOK)):
            if self._socket.exists():
                return
            await asyncio.sleep(_LOOK)

    def _prepare(self) -> None:
        """The directory, of which Envoy's user can change a part only, and the bootstrap in it.

        Raises:
            PlatformError: that user cannot come to the directory.
        """
        edge = self._directory / "edge"
        for path in (self._directory, edge):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.geteuid() == 0:
            _check_way(self._directory)
            os.chown(self._directory, 0, PROXY_UID)
            self._directory.chmod(0o750)
            os.chown(edge, PROXY_UID, PROXY_UID)
        written = bootstrap.bootstrap(settings(self._spec, self._socket, edge))
        config = self._directory / envoy.CONFIG
        config.write_text(json.dumps(written))
        config.chmod(0o644)

    def _changed(self, status: Status) -> None:
        state = ProxyState(
            id=self._spec.id,
            pid=status.pid,
            ready=status.ready,
            restarts=status.restarts,
            since=status.since,
            message=status.message,
        )
        places.write(self._place.state(self._spec.id), state)


def _check_way(directory: Path) -> None:
    for parent in directory.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            raise PlatformError(
                f"Envoy runs as user {PROXY_UID}, who may not enter {parent}: "
                f"choose another directory with --data, or allow it: chmod o+x {parent}"
            )


def settings(spec: ProxySpec, socket: Path, edge: Path) -> bootstrap.Settings:
    """What the bootstrap of a proxy depends on."""
    metadata: dict[str, Any] = {"DNS_CAPTURE": "true"}
    if spec.edge:
        metadata["PLAIT_EDGE"] = str(edge)
    role = bootstrap.Role(spec.role)
    who = bootstrap.Proxy(
        role=role,
        name=spec.name,
        namespace=spec.namespace,
        addresses=spec.addresses,
        labels=spec.labels,
        workload=spec.workload,
        service_account=spec.service_account,
        interception=_INTERCEPTION[role],
        metadata=metadata,
    )
    return bootstrap.Settings(proxy=who, xds=f"unix:{socket}", admin=ADMIN, stats=STATS)
