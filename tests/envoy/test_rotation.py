"""Real Envoys that call each other with identities from an agent, while these are replaced."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
from structlog.testing import capture_logs

from plait.agent.credentials import Credentials, Where
from plait.agent.gate import Gate, Guest
from plait.agent.renewal import Claim
from plait.base import processes
from plait.base.clock import WallClock
from plait.mesh import ir, tls
from plait.xds import bootstrap, keys, protos
from plait.xds import tls as encoders
from tests.support.envoy import Envoy, eventually
from tests.support.plane import free_port
from tests.support.signing import DEMO, Authority, Signing
from tests.support.traffic import Load, get

SECONDS = 4
"""How long certificates are good here; they are renewed at half of it."""
_HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class Loop:
    """An event loop in a thread, for what runs beside Envoys."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    @contextmanager
    def running(self, *parts: Callable[[], Any]) -> Iterator[None]:
        self._thread.start()
        task = asyncio.run_coroutine_threadsafe(_all(parts), self._loop)
        try:
            yield
        finally:
            task.cancel()
            self.do(asyncio.sleep(0.3))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()


async def _all(parts: tuple[Callable[[], Any], ...]) -> None:
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(part())


class World:
    """Two Envoys of one identity, an agent, and who signs.

    Attributes:
        address: where the one that calls takes requests.
    """

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.signing = Signing(Authority("old"))
        self.signing.seconds = SECONDS
        self.address, self.inner = (f"127.0.0.1:{free_port()}" for _ in range(2))
        upstream = f"unix:{directory}/plane.sock"
        claim = Claim(namespace="demo", service_account="web", seconds=SECONDS)
        where = Where(socket=directory / "own.sock", file=directory / "identity", upstream=upstream)
        self.credentials = Credentials(claim, where, "web", WallClock())
        self.envoys: list[Envoy] = []
        sockets = [directory / f"{name}.sock" for name in ("server", "client")]
        gates = [
            Gate(path, where.socket, self._guest(number), path.stem)
            for number, path in enumerate(sockets)
        ]
        self.loop = Loop()
        parts = [*self.credentials.parts().values(), *(gate.run for gate in gates), self._sign]
        self._upstream = upstream
        stack.enter_context(self.loop.running(*parts))
        self.trust(self.signing.authority)
        eventually(lambda: all(path.exists() for path in sockets), what="the agent's sockets")
        for path, extra in zip(sockets, (self._server(), self._client()), strict=True):
            home = directory / path.stem
            home.mkdir()
            config = {"node": {"id": path.stem, "cluster": "demo"}, "static_resources": extra}
            extra["clusters"] = [*extra.get("clusters", []), _sds(path)]
            self.envoys.append(stack.enter_context(Envoy(config, home)))
        for envoy in self.envoys:
            envoy.ready()

    async def _sign(self) -> None:
        async with self.signing.at(self._upstream):
            await asyncio.Event().wait()

    def _guest(self, number: int) -> Guest:
        def envoy() -> processes.Handle | None:
            started = self.envoys[number : number + 1]
            return processes.handle(started[0].process.pid) if started else None

        return Guest(uid=os.geteuid(), network="", envoy=envoy)

    def trust(self, *authorities: Authority) -> None:
        self.take("".join(one.root for one in authorities))

    def take(self, roots: str) -> None:
        async def take() -> None:
            self.credentials.take(keys.roots("ROOTCA", roots.encode()).body)

        self.loop.do(take())

    def outcome(self) -> str:
        return str(self.loop.do(self.credentials.outcome()))

    def rotated(self, times: int) -> None:
        """Wait until the certificate was replaced so often."""
        wanted = len(self.signing.requests) + times
        eventually(lambda: len(self.signing.requests) >= wanted, 60, f"{times} rotations")

    def _server(self) -> dict[str, Any]:
        end = tls.Server(
            certificates=(tls.IDENTITY,),
            roots=tls.ROOTS,
            requires=True,
            names=(tls.Name(DEMO),),
        )
        answer = {"status": 200, "body": {"inline_string": '{"name": "web"}'}}
        return {
            "listeners": [
                _listener(self.inner, {"direct_response": answer}, encoders.server(end)),
            ]
        }

    def _client(self) -> dict[str, Any]:
        end = tls.Client(
            certificate=tls.IDENTITY, roots=tls.ROOTS, names=(tls.Name(DEMO),), sni="web"
        )
        once = {"max_requests_per_connection": 1}  # so each request is a handshake
        options = {
            "@type": f"type.googleapis.com/{_OPTIONS}",
            "common_http_protocol_options": once,
            "explicit_http_config": {"http_protocol_options": {}},
        }
        cluster = {
            **bootstrap._cluster("web", self.inner),
            "transport_socket": _document(encoders.client(end)),
            "typed_extension_protocol_options": {_OPTIONS: options},
        }
        route = {"route": {"cluster": "web"}}
        return {"clusters": [cluster], "listeners": [_listener(self.address, route)]}


def _sds(path: Path) -> dict[str, Any]:
    who = bootstrap.Proxy(role=ir.Role.SIDECAR, name="web", namespace="demo", addresses=("::1",))
    settings = bootstrap.Settings(proxy=who, xds="unix:/none", sds=f"unix:{path}")
    clusters = bootstrap.bootstrap(settings)["static_resources"]["clusters"]
    [found] = [one for one in clusters if one["name"] == encoders.SDS_CLUSTER]
    return dict(found)


def _listener(address: str, action: dict[str, Any], socket: Any = None) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    routes = [{"match": {"prefix": "/"}, **action}]
    manager = {
        "@type": f"{_HTTP}.HttpConnectionManager",
        "stat_prefix": "test",
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
    }
    chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": manager}]}
    if socket is not None:
        chain["transport_socket"] = _document(socket)
    return {
        "name": "test",
        "address": {"socket_address": {"address": host, "port_value": int(port)}},
        "filter_chains": [chain],
    }


def _document(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = protos.MessageToDict(message, preserving_proto_field_name=True)
    return found


def test_certificates_and_roots_are_replaced_under_load_without_a_failed_request(tmp_path: Path):
    with ExitStack() as stack:
        world = World(tmp_path, stack)
        eventually(lambda: get(world.address)[0] == 200, 20, "the first call")
        old, new = world.signing.authority, Authority("new")
        with Load(world.address, rps=100) as load:
            world.rotated(3)
            world.trust(old, new)
            assert world.outcome() == ""
            world.signing.authority = new
            world.trust(new, old)
            world.rotated(2)
            world.trust(new)
            assert world.outcome() == ""
            world.rotated(2)

        assert load.failures == []
        assert load.seen["web"] > 100
        handshakes = world.envoys[0].stats("ssl.handshake")
        assert sum(handshakes.values()) >= load.seen["web"]


def test_while_nobody_signs_for_a_part_of_a_certificates_life_no_request_fails(tmp_path: Path):
    with ExitStack() as stack:
        world = World(tmp_path, stack)
        eventually(lambda: get(world.address)[0] == 200, 20, "the first call")
        with Load(world.address, rps=100) as load:
            for _ in range(2):
                world.signing.refusal = (grpc.StatusCode.UNAVAILABLE, "away")
                world.rotated(2)  # attempts that lead to nothing
                world.signing.refusal = None
                world.rotated(2)

        assert load.failures == []


def test_roots_that_envoy_refuses_change_nothing_and_its_words_are_known(tmp_path: Path):
    with capture_logs() as logs, ExitStack() as stack:
        world = World(tmp_path, stack)
        eventually(lambda: get(world.address)[0] == 200, 20, "the first call")
        world.take("no certificate")

        assert "trusted CA" in world.outcome()
        assert get(world.address)[0] == 200
        world.trust(world.signing.authority, Authority("new"))
        assert world.outcome() == ""
        assert get(world.address)[0] == 200

    refused = [one for one in logs if one["event"] == "secret refused"]
    assert {one["key"] for one in refused} == {"ROOTCA"}
    assert "PRIVATE" not in str(logs)


def test_nobody_is_called_whose_certificate_is_under_no_trusted_root(tmp_path: Path):
    with ExitStack() as stack:
        world = World(tmp_path, stack)
        eventually(lambda: get(world.address)[0] == 200, 20, "the first call")
        world.trust(Authority("another"))
        assert world.outcome() == ""

        assert get(world.address)[0] == 503
