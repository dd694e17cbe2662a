"""TA-01: while services, subsets and routes come and go under load, no request finds a gap."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import istio, traffic
from tests.support.envoy import eventually
from tests.support.scale import count, seed
from tests.support.world import VERSIONS, Loopback, loopback


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    with loopback(tmp_path_factory.mktemp("gaps")) as found:
        yield found


class Churn:
    """Random changes, each of which leaves a mesh in which every request has an answer."""

    def __init__(self, world: Loopback, chance: random.Random) -> None:
        self._plane = world.plane
        self._port = world.mesh_port
        self._chance = chance
        self._number = 0
        self._services = ["reviews"]
        self._versions = {"reviews": list(VERSIONS)}

    def step(self) -> None:
        choices = [self.move, self.move, self.weigh, self.replace]
        self._chance.choice(choices)()

    def move(self) -> None:
        """A new service with its rule, in any order, and the route to it right after."""
        self._number += 1
        name = f"extra{self._number}"
        self._services.append(name)
        self._versions[name] = ["v1", "v2"]
        found = [
            istio.entry(name, self._endpoints(2), port=self._port, target=9080),
            istio.rule(name, "v1", "v2"),
        ]
        self._chance.shuffle(found)
        self._plane.apply(*found, self._route(name), wait=False)

    def weigh(self) -> None:
        """Other shares of the same service."""
        self._plane.apply(self._route(self._services[-1]), wait=False)

    def replace(self) -> None:
        """Back to ``reviews``; the services added meanwhile go at once."""
        self._plane.apply(self._route("reviews"), wait=False)
        extra, self._services = self._services[1:], ["reviews"]
        for kind in ("serviceentry", "destinationrule"):
            if extra:
                self._plane.run("delete", kind, *extra)

    def _route(self, name: str) -> dict[str, Any]:
        versions = self._versions[name]
        shares = {version: self._chance.randint(1, 9) for version in versions}
        hosts = [istio.host("reviews"), "reviews.example"]
        http = istio.weights(name, **shares)
        return istio.virtual_service("reviews", http, hosts=hosts, gateways=["gw", "mesh"])

    def _endpoints(self, number: int) -> list[tuple[str, str]]:
        return [(f"127.0.30.{n}", version) for n, version in enumerate(VERSIONS[:number], 1)]


def test_no_request_fails_while_services_and_routes_come_and_go(world: Loopback):
    churn = Churn(world, random.Random(seed()))
    world.route(istio.weights("reviews", v1=1))
    inside = {"Host": f"reviews:{world.mesh_port}"}

    with (
        traffic.Load(world.gateway, rps=100, headers={"Host": "reviews.example"}) as edge,
        traffic.Load(world.sidecar, rps=100, headers=inside) as mesh,
    ):
        for _ in range(count(25, 100)):
            churn.step()
        churn.replace()
        eventually(lambda: all(_synced(p) for p in world.plane.proxies()), what="all in sync")

    assert (edge.failures, mesh.failures) == ([], [])
    assert min(edge.sent, mesh.sent) > 100


def _synced(proxy: dict[str, Any]) -> bool:
    return all(one["synced"] for one in proxy["types"])
