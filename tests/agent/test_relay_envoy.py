"""A real Envoy behind the relay, while the control plane is there and while it is not."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from plait.mesh import ir
from tests.support import istio, traffic
from tests.support import relay as wire
from tests.support.backend import Backend
from tests.support.envoy import Envoy, eventually
from tests.support.plane import Plane, free_port
from tests.support.relaying import Relaying
from tests.support.world import proxy


def objects(port: int, version: str) -> list[dict[str, Any]]:
    return [
        istio.entry("reviews", [("127.0.32.1", "v1"), ("127.0.32.2", "v2")]),
        istio.rule("reviews", "v1", "v2"),
        istio.gateway("gw", (port, "HTTP")),
        istio.virtual_service(
            "reviews",
            istio.weights("reviews", **{version: 1}),
            hosts=["*"],
            gateways=["gw"],
        ),
    ]


def write(directory: Path, found: list[dict[str, Any]]) -> None:
    directory.mkdir(exist_ok=True)
    for one in found:
        path = directory / f"{one['kind']}-{one['metadata']['name']}.json"
        path.write_text(json.dumps(one))


class World:
    """A gateway behind a relay; ends of all are in the stack."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.files = directory / "mesh"
        write(self.files, objects(self.port, "v1"))
        for number, version in enumerate(("v1", "v2"), 1):
            stack.enter_context(Backend(version, "--http", f"127.0.32.{number}:9080"))
        self.plane = stack.enter_context(Plane(directory, files=self.files))
        self.wire = stack.enter_context(wire.Relay(self.plane.xds))
        self.stack = stack

    def agent(self) -> Relaying:
        return Relaying(self.directory, self.wire.address)

    def envoy(self) -> Envoy:
        labels = {"istio": "ingressgateway"}
        config = proxy(f"unix:{self.directory}/xds.sock", ir.Role.GATEWAY, "gw", labels=labels)
        (self.directory / "gw").mkdir(exist_ok=True)
        return self.stack.enter_context(Envoy(config, self.directory / "gw")).ready()

    def in_sync(self) -> None:
        eventually(self._is_in_sync, 20, "the proxy is in sync")

    def _is_in_sync(self) -> bool:
        types = [one for each in self.plane.proxies() for one in each["types"]]
        return len(types) >= 4 and all(one["synced"] for one in types)

    def served_by(self, version: str) -> None:
        eventually(
            lambda: set(traffic.names(self.address, 5)) == {version}, 20, f"answers of {version}"
        )


def test_an_envoy_that_crashes_while_the_control_plane_is_down_comes_back_with_its_routes(
    tmp_path: Path,
):
    with ExitStack() as stack:
        world = World(tmp_path, stack)
        stack.enter_context(world.agent())
        first = world.envoy()
        world.served_by("v1")
        world.in_sync()

        world.plane.stop(signal.SIGKILL)
        first.stop(signal.SIGKILL)
        second = world.envoy()
        world.served_by("v1")

        write(world.files, objects(world.port, "v2"))
        world.plane.start()
        world.served_by("v2")
        assert second.stats("listener_manager.lds.update_rejected") == {
            "listener_manager.lds.update_rejected": 0
        }


def test_a_new_agent_goes_on_with_an_envoy_that_runs_and_sends_it_nothing(tmp_path: Path):
    with ExitStack() as stack:
        world = World(tmp_path, stack)
        with world.agent():
            envoy = world.envoy()
            world.served_by("v1")
            world.in_sync()
        taken = envoy.stats("update_success")
        whole = world.wire.sent
        world.wire.reset()
        with world.agent():
            eventually(lambda: world.wire.connections, what="the new agent's connection")
            world.in_sync()
            assert world.wire.sent < min(100, whole)  # that there are no names, to the agent
            assert envoy.stats("update_success") == taken

            write(world.files, objects(world.port, "v2"))
            world.served_by("v2")
