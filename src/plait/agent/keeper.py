"""All that stands beside one workload's Envoy: relay, resolver, pages, and its life."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct

from plait.agent import envoy
from plait.agent.admin import Admin
from plait.agent.credentials import Credentials, Where
from plait.agent.dns import Names, Resolver
from plait.agent.envoy import Envoy, Status
from plait.agent.gate import Gate, Guest
from plait.agent.pages import Pages
from plait.agent.relay import Relay
from plait.agent.renewal import Claim
from plait.base import place as places
from plait.base.clock import WallClock
from plait.base.errors import PlaitError, PlatformError
from plait.base.place import Place, ProxySpec, ProxyState
from plait.base.tasks import Backoff, Health, steady, supervise
from plait.config.capture import PROXY_UID
from plait.xds import bootstrap

WINDOW = "127.0.0.1:15000"
"""Where those of Envoy's own pages are, inside the Pod, that a workload may see."""
STATS = "0.0.0.0:15090"
"""Where its metrics are, for who may scrape the Pod."""
XDS, SDS = "xds.sock", "sds.sock"
"""Names of the sockets that Envoy connects to; those behind the gates have them too."""
OWN, EDGE = "own", "edge"
"""Names of directories: for the agent alone, and where gateways listen for the edge."""

_INTERCEPTION = {
    bootstrap.Role.SIDECAR: bootstrap.Interception.REDIRECT,
    bootstrap.Role.GATEWAY: bootstrap.Interception.NONE,
}
_BACKOFF = Backoff(first=0.1, limit=5.0)
_LOOK, _PATIENCE = 0.01, 2.0  # seconds between looks for the relay's socket, and until it is there


_log = structlog.get_logger(__name__)


class Plane(Struct, frozen=True, kw_only=True):
    """The control plane, as the agent is told of it.

    Attributes:
        address: ``host:port`` or ``unix:PATH``.
        seconds: how long certificates shall be good; 0: as long as is usual there.
        trust_domain: that of identities; empty: the control plane's own.
    """

    address: str
    seconds: int = 0
    trust_domain: str = ""

    @property
    def trusts(self) -> bool:
        """Whether it takes our word for who a proxy is: it is on this machine, and ours."""
        return self.address.startswith("unix:")


class PartLostError(PlaitError):
    """A part of the agent cannot do its work inside a Pod's network."""


class Keeper:
    """One proxy of this machine, as its `ProxySpec` wants it."""

    def __init__(
        self, spec: ProxySpec, place: Place, plane: Plane, resolvers: Sequence[str]
    ) -> None:
        directory = place.proxy(spec.id)
        own = directory / OWN
        self._uid = PROXY_UID if os.geteuid() == 0 else None
        self._spec = spec
        self._place = place
        self._directory = directory
        self._names = Names()
        self._retired = asyncio.Event()
        self._settings = settings(spec, directory, is_certified=plane.trusts)
        self._credentials = self._identified(plane) if plane.trusts else None
        self._relay = Relay(
            own / XDS,
            directory / "cache",
            plane.address,
            on_hosts=self._names.replace,
            trust=self._credentials,
        )
        self._resolver = Resolver(spec.network, self._names, resolvers)
        self._envoy = Envoy(
            envoy.Settings(
                name=spec.id,
                directory=directory,
                admin=_admin(directory / EDGE),
                network=spec.network,
                uid=self._uid,
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
    def weakness(self) -> str:
        """Why others are kept from its identity less well than they could be; empty: they are not.

        With a user of its own, no workload can read its memory or its files; with a network of its
        own, the kernel tells its processes from those of other Pods.
        """
        found = []
        if self._uid is None:
            found.append("workloads run as the user of their proxies, and can act as any of them")
        elif self._spec.shares_user:
            found.append("workloads run as root and can read every proxy's key: set runAsUser")
        if not self._spec.network:
            found.append("proxies share the machine's network, and only their process is checked")
        return "; ".join(found)

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
                group.create_task(
                    supervise(one, name=f"{name}:{self._spec.id}", backoff=_BACKOFF),
                    name=f"{self._spec.id}:{name}",
                )
                for name, one in self._parts().items()
            ]
            await self._await_sockets()
            await self._envoy.run()
            await self._retired.wait()
            for part in parts:
                part.cancel()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    def _identified(self, plane: Plane) -> Credentials:
        spec, own = self._spec, self._directory / OWN
        claim = Claim(
            namespace=spec.namespace,
            service_account=spec.service_account,
            pod=f"{spec.namespace}/{spec.name}",
            proxy=self._settings.proxy.id,
            trust_domain=plane.trust_domain,
            seconds=plane.seconds,
        )
        where = Where(
            socket=own / SDS,
            file=own / "identity",
            upstream=plane.address,
            uid=self._uid,
            plaintext=self._place.plaintext(spec.id),
        )
        return Credentials(claim, where, claim.proxy, WallClock())

    def _parts(self) -> Mapping[str, Callable[[Health], Awaitable[None]]]:
        pages = Pages(self, self._spec.network, self._spec.metrics)

        async def serve(health: Health) -> None:
            try:
                await pages.run(health.up)
            except OSError as error:
                raise PartLostError(f"pages of {self._spec.id}: {error}") from error

        found: dict[str, Callable[[], Awaitable[None]]] = {
            "relay": self._relay.run,
            "dns": self._resolver.run,
        }
        if self._credentials is not None:
            found |= self._credentials.parts()
        found |= {f"gate:{name}": self._gate(name).run for name in self._sockets}
        return {"pages": serve, **{name: steady(run) for name, run in found.items()}}

    @property
    def _sockets(self) -> tuple[str, ...]:
        """Names of the sockets that Envoy connects to."""
        return (XDS,) if self._credentials is None else (XDS, SDS)

    def _gate(self, name: str) -> Gate:
        uid = os.geteuid() if self._uid is None else self._uid
        guest = Guest(uid=uid, network=self._spec.network, envoy=lambda: self._envoy.handle)
        directory = self._directory
        return Gate(directory / name, directory / OWN / name, guest, self._spec.id)

    async def _await_sockets(self) -> None:
        """Envoy tries again only after a second, so its sockets should be there."""
        paths = [self._directory / part / one for one in self._sockets for part in ("", OWN)]
        for _ in range(int(_PATIENCE / _LOOK)):
            if all(path.exists() for path in paths):
                return
            await asyncio.sleep(_LOOK)

    def _prepare(self) -> None:
        """The directory, of which Envoy's user can change a part only, and the bootstrap in it.

        Raises:
            PlatformError: that user cannot come to the directory.
        """
        edge = self._directory / EDGE
        for path in (self._directory, edge, self._directory / OWN):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.geteuid() == 0:
            _check_way(self._directory)
            os.chown(self._directory, 0, PROXY_UID)
            self._directory.chmod(0o750)
            os.chown(edge, PROXY_UID, PROXY_UID)
        for name in self._sockets:  # those of an agent that ended, where nobody answers
            (self._directory / name).unlink(missing_ok=True)
            (self._directory / OWN / name).unlink(missing_ok=True)
        written = bootstrap.bootstrap(self._settings)
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
            weakness=self.weakness,
        )
        places.write(self._place.state(self._spec.id), state)


def _check_way(directory: Path) -> None:
    for parent in directory.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            raise PlatformError(
                f"Envoy runs as user {PROXY_UID}, who may not enter {parent}: "
                f"choose another directory with --data, or allow it: chmod o+x {parent}"
            )


def settings(spec: ProxySpec, directory: Path, *, is_certified: bool) -> bootstrap.Settings:
    """What the bootstrap of a proxy depends on; `is_certified`: it is given an identity."""
    metadata: dict[str, Any] = {"DNS_CAPTURE": "true"}
    if spec.edge:
        metadata["PLAIT_EDGE"] = str(directory / EDGE)
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
    return bootstrap.Settings(
        proxy=who,
        xds=f"unix:{directory / XDS}",
        sds=f"unix:{directory / SDS}" if is_certified else "",
        admin=_admin(directory / EDGE),
        stats=STATS,
        window=WINDOW,
    )


def _admin(edge: Path) -> str:
    """Where Envoy's own pages are, all of them: where its user alone may make a socket."""
    return f"unix:{edge / 'admin.sock'}"
