"""A control plane, proxies and services for end-to-end tests, on loopback or on own hosts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from plait.config import capture
from plait.mesh import ir
from plait.xds import bootstrap
from tests.support import istio
from tests.support.backend import Backend
from tests.support.envoy import Envoy, eventually
from tests.support.machine import directory
from tests.support.netns import Network
from tests.support.plane import Plane, free_port

VERSIONS = ("v1", "v2", "v3")


def proxy(xds: str, role: ir.Role, name: str, address: str = "127.0.0.1", **more: Any) -> Any:
    """A bootstrap."""
    given = {"namespace": "default", "addresses": (address,), **more}
    who = bootstrap.Proxy(role=role, name=name, **given)
    return bootstrap.bootstrap(bootstrap.Settings(proxy=who, xds=xds))


class Loopback:
    """A gateway and a sidecar without capture, in front of ``reviews`` v1 to v3 and ``echo``.

    Attributes:
        gateway: ``host:port`` where requests enter the mesh.
        sidecar: where a workload beside it calls ``reviews`` on port 9080, by Host header.
    """

    def __init__(self, directory: Path, stack: ExitStack, *options: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.mesh_port = free_port()
        self.tcp_port = free_port()
        self.gateway = f"127.0.0.1:{self.port}"
        self.sidecar = f"127.0.0.1:{self.mesh_port}"
        self.tcp = f"127.0.0.1:{self.tcp_port}"
        self._stack = stack
        self.plane = Plane(directory, *options)
        stack.enter_context(self.plane)
        for number, version in enumerate(VERSIONS, 1):
            address = f"127.0.30.{number}"
            ports = (
                "--http",
                f"{address}:9080",
                "--grpc",
                f"{address}:9081",
                "--tcp",
                f"{address}:9082",
            )
            stack.enter_context(Backend(version, *ports))
        self.plane.apply(*self.objects(), wait=False)

    def objects(self) -> list[dict[str, Any]]:
        endpoints = [(f"127.0.30.{n}", version) for n, version in enumerate(VERSIONS, 1)]
        return [
            istio.entry("reviews", endpoints, port=self.mesh_port, target=9080),
            istio.rule("reviews", *VERSIONS),
            istio.entry("echo", endpoints[:1], port=9081, protocol="GRPC"),
            istio.entry("greeter", endpoints[:1], port=self.tcp_port, protocol="TCP", target=9082),
            istio.gateway("gw", (self.port, "HTTP")),
        ]

    def start(self, role: ir.Role, name: str) -> Envoy:
        labels = {"istio": "ingressgateway"} if role is ir.Role.GATEWAY else {"app": name}
        more: dict[str, Any] = {"labels": labels, "interception": ir.Interception.NONE}
        config = proxy(self.plane.xds, role, name, **more)
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        return self._stack.enter_context(Envoy(config, directory)).ready()

    def route(self, *http: dict[str, Any]) -> str:
        """Route ``reviews`` for the gateway and inside the mesh, and wait until it is in force."""
        hosts = [istio.host("reviews"), "reviews.example"]
        found = istio.virtual_service("reviews", *http, hosts=hosts, gateways=["gw", "mesh"])
        return self.plane.apply(found)


@contextmanager
def loopback(directory: Path, *options: str) -> Iterator[Loopback]:
    """The world with its gateway and its sidecar started."""
    with ExitStack() as stack:
        world = Loopback(directory, stack, *options)
        world.start(ir.Role.GATEWAY, "gateway")
        world.start(ir.Role.SIDECAR, "web")
        yield world


class Captured:
    """Hosts with captured sidecars: ``web`` calls ``reviews`` (v1, v2) at their addresses."""

    def __init__(self, directory: Path, stack: ExitStack, *, dns: bool) -> None:
        self.directory = directory
        self._dns = dns
        self._stack = stack
        self.network = stack.enter_context(Network())
        self.socket = directory / "xds.sock"
        self.plane = Plane(directory, "--xds", f"unix:{self.socket}")
        stack.enter_context(self.plane)
        self.socket.chmod(0o777)
        for name in ("web", "v1", "v2"):
            self.network.host(name)
        self.plane.apply(*self.objects(), wait=False)
        for version in ("v1", "v2"):
            ports = ("--http", "0.0.0.0:9080", "--grpc", "0.0.0.0:9081", "--tcp", "0.0.0.0:9082")
            stack.enter_context(Backend(version, *ports, prefix=self.network.prefix(version)))
        self.proxies = {name: self._sidecar(name) for name in ("web", "v1", "v2")}

    def objects(self) -> list[dict[str, Any]]:
        endpoints = [(self.network.address(v), v) for v in ("v1", "v2")]
        vip: dict[str, Any] = {"addresses": ["10.88.0.1"]}
        return [
            istio.entry("reviews", endpoints, **vip),
            istio.rule("reviews", "v1", "v2"),
            istio.entry("echo", endpoints[:1], port=9081, protocol="GRPC", addresses=["10.88.0.2"]),
            istio.entry(
                "greeter", endpoints[:1], port=9082, protocol="TCP", addresses=["10.88.0.3"]
            ),
        ]

    def _sidecar(self, name: str) -> Envoy:
        directory = self.directory / name
        directory.mkdir()
        address = self.network.address(name)
        labels = {"app": "web" if name == "web" else "reviews", "version": name}
        more = {"labels": labels, "metadata": {"DNS_CAPTURE": "true"} if self._dns else {}}
        config = proxy(f"unix:{self.socket}", ir.Role.SIDECAR, name, address, **more)
        prefix = self.network.prefix(name, uid=capture.PROXY_UID)
        found = self._stack.enter_context(Envoy(config, directory, prefix=prefix)).ready()
        self.network.capture(name, capture.Capture(dns=self._dns))
        return found

    def settled(self) -> None:
        """Wait until every sidecar has everything."""
        eventually(lambda: len(self.plane.proxies()) == 3, what="three proxies are connected")


@contextmanager
def captured(*, dns: bool = False) -> Iterator[Captured]:
    """The hosts, started; with `dns`, queries go to where an agent would answer them."""
    with ExitStack() as stack:
        world = Captured(stack.enter_context(directory()), stack, dns=dns)
        world.settled()
        yield world
