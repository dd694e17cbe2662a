"""The control plane dies under load and comes back: nobody notices, and nothing is sent again."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from plait.mesh import ir
from tests.support import istio, traffic
from tests.support.backend import Backend
from tests.support.envoy import Envoy, eventually
from tests.support.plane import Plane, free_port
from tests.support.relay import Relay
from tests.support.scale import count
from tests.support.world import proxy


def objects(port: int, *versions: str) -> list[dict[str, Any]]:
    return [
        istio.entry("reviews", [("127.0.31.1", "v1"), ("127.0.31.2", "v2")]),
        istio.rule("reviews", "v1", "v2"),
        istio.gateway("gw", (port, "HTTP")),
        istio.virtual_service(
            "reviews",
            istio.weights("reviews", **dict.fromkeys(versions, 1)),
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
    """A gateway behind a counting relay, and the control plane that reads a directory."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.files = directory / "mesh"
        write(self.files, objects(self.port, "v1", "v2"))
        self.plane = Plane(directory, files=self.files)
        stack.enter_context(self.plane)
        self.relay = stack.enter_context(Relay(self.plane.xds))
        for number, version in enumerate(("v1", "v2"), 1):
            stack.enter_context(Backend(version, "--http", f"127.0.31.{number}:9080"))
        labels = {"istio": "ingressgateway"}
        config = proxy(self.relay.address, ir.Role.GATEWAY, "gw", labels=labels)
        (directory / "gw").mkdir()
        stack.enter_context(Envoy(config, directory / "gw")).ready()
        eventually(lambda: traffic.get(self.address)[0] == 200, what="the gateway serves")

    def restart(self) -> None:
        self.plane.stop(signal.SIGKILL)
        self.relay.reset()
        self.plane.start()
        eventually(self._is_back, 30, "the proxy is back and in sync")

    def _is_back(self) -> bool:
        found = self.plane.proxies()
        types = [one for each in found for one in each["types"]]
        return len(types) >= 4 and all(one["synced"] for one in types)


@pytest.fixture
def world(tmp_path: Path):
    with ExitStack() as stack:
        yield World(tmp_path, stack)


def test_no_request_fails_while_the_plane_is_dead_and_nothing_is_sent_when_it_is_back(
    world: World,
):
    with traffic.Load(world.address, rps=200) as load:
        for _ in range(count(1, 5)):
            world.restart()
            assert (world.relay.connections > 0, world.relay.sent) == (True, 0)

    assert load.failures == []
    assert load.sent > 100


def test_nothing_is_sent_when_a_source_is_missing_at_the_restart(world: World):
    away = world.files.with_name("away")
    world.files.rename(away)

    with traffic.Load(world.address, rps=100) as load:
        world.plane.stop(signal.SIGKILL)
        world.relay.reset()
        world.plane.start()
        eventually(world._is_back, 40, "the proxy is back without the source")
        sent = world.relay.sent
    away.rename(world.files)
    write(world.files, objects(world.port, "v2"))
    eventually(lambda: set(traffic.names(world.address, 20)) == {"v2"}, what="the source is back")

    assert sent == 0
    assert load.failures == []


def test_after_a_restart_only_what_changed_meanwhile_is_sent(world: World):
    whole = world.relay.sent
    world.plane.stop(signal.SIGKILL)
    world.relay.reset()
    write(world.files, objects(world.port, "v1"))
    world.plane.start()
    eventually(lambda: set(traffic.names(world.address, 20)) == {"v1"}, what="the change is sent")

    assert 0 < world.relay.sent < whole / 3
