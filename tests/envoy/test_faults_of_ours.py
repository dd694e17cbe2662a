"""A fault in the encoder, a query that raises, an object that is nonsense: each alone is held back.

A real Envoy refuses the planted resource; all other routes, those in the same table too, go on.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from plait.mesh import ir
from tests.support import istio, traffic
from tests.support.backend import Backend
from tests.support.envoy import Envoy, eventually
from tests.support.plane import Plane, free_port
from tests.support.world import proxy

VERSIONS = ("v1", "v2")


class World:
    """A gateway of a control plane with planted faults."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._directory = directory
        self._stack = stack
        self._envoys: list[Envoy] = []
        self.plane = Plane(directory, module="tests.support.planted")
        stack.enter_context(self.plane)
        endpoints = [(f"127.0.32.{n}", v) for n, v in enumerate(VERSIONS, 1)]
        port = int(self.address.rpartition(":")[2])
        self.plane.apply(
            istio.entry("reviews", endpoints),
            istio.rule("reviews", *VERSIONS),
            istio.gateway("gw", (port, "HTTP")),
            wait=False,
        )
        for address, version in endpoints:
            stack.enter_context(Backend(version, "--http", f"{address}:9080"))

    def start(self) -> None:
        """A fresh proxy, in the place of the one before."""
        for one in self._envoys:
            one.stop()
        directory = self._directory / f"gw{len(self._envoys)}"
        directory.mkdir()
        labels = {"istio": "ingressgateway"}
        config = proxy(self.plane.xds, ir.Role.GATEWAY, "gw", labels=labels)
        self._envoys.append(self._stack.enter_context(Envoy(config, directory)).ready())

    def restart(self) -> None:
        """A fresh control plane, and a fresh proxy."""
        self.plane.stop(signal.SIGKILL)
        self.plane.start()
        self.start()

    def apply(self, name: str, *http: dict[str, Any], planted: bool = False) -> None:
        found = istio.virtual_service(name, *http, hosts=[f"{name}.example"], gateways=["gw"])
        if planted:
            found["metadata"]["annotations"] = {"planted": "yes"}
        self.plane.apply(found, wait=False)

    def answer(self, name: str) -> str:
        status, body = traffic.get(self.address, "/", {"Host": f"{name}.example"})
        return body["name"] if status == 200 else str(status)

    def comes(self, name: str, answer: str) -> None:
        eventually(lambda: self.answer(name) == answer, 15, f"{name} answers {answer}")

    def others_change(self) -> None:
        """Routes in the same table follow every change."""
        for version in (*VERSIONS, *VERSIONS):
            self.apply("good", istio.weights("reviews", **{version: 1}))
            self.comes("good", version)

    def said(self, name: str) -> str:
        return self.plane.run("get", "virtualservice", name, "-o", "yaml")


FAULT = {"match": [{"uri": {"prefix": "/planted"}}], **istio.weights("reviews", v1=1)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        found = World(tmp_path, stack)
        found.apply("good", istio.weights("reviews", v1=1))
        found.start()
        found.comes("good", "v1")
        yield found


def test_what_envoy_refuses_is_named_in_its_words_and_the_last_accepted_stays(world: World):
    world.apply("bad", istio.weights("reviews", v2=1))
    world.comes("bad", "v2")

    world.apply("bad", FAULT, istio.weights("reviews", v1=1))
    eventually(lambda: "Rejected" in world.said("bad"), what="the status names it")

    assert "missing )" in world.said("bad")  # RE2's words, through Envoy
    assert "Rejected" not in world.said("good")
    assert "Envoy refused" in world.plane.run("status")
    world.others_change()
    assert world.answer("bad") == "v2"
    world.start()
    world.comes("bad", "v2")
    world.restart()
    world.comes("bad", "v2")
    world.others_change()
    assert "Rejected" in world.said("bad")

    world.apply("bad", istio.weights("reviews", v1=1))
    world.comes("bad", "v1")
    eventually(lambda: "Rejected" not in world.said("bad"), what="a mended object is forgiven")


def test_what_envoy_refuses_from_the_start_answers_503_alone(world: World):
    world.apply("bad", FAULT, istio.weights("reviews", v1=1))
    eventually(lambda: "Rejected" in world.said("bad"), what="the status names it")

    world.comes("bad", "503")
    world.others_change()
    world.restart()
    world.comes("bad", "503")
    world.others_change()


def test_a_query_that_raises_is_named_and_its_last_good_value_stays(world: World):
    world.apply("raiser", istio.weights("reviews", v2=1))
    world.comes("raiser", "v2")

    world.apply("raiser", istio.weights("reviews", v1=1), planted=True)
    eventually(lambda: "PLT9001" in world.said("raiser"), what="the status names it")

    assert "planted in the routes" in world.said("raiser")
    world.others_change()
    assert world.answer("raiser") == "v2"
    world.start()
    world.comes("raiser", "v2")


def test_a_query_that_never_worked_answers_503_alone_also_after_a_restart(world: World):
    world.apply("raiser", istio.weights("reviews", v1=1), planted=True)

    world.comes("raiser", "503")
    world.others_change()
    world.restart()
    world.comes("raiser", "503")
    world.others_change()
    assert "PLT9001" in world.said("raiser")


def test_nonsense_is_refused_at_the_door_or_named_and_harms_nobody(world: World):
    nonsense = istio.virtual_service("no", {"timeout": "1s"})
    refused = world.plane.run("apply", "-f", "-", stdin=str(nonsense).replace("'", '"'), ok=False)
    world.apply("lost", {"route": [istio.to("nowhere", "v7")]})

    assert "PLT1006" in refused
    assert "PLT2001" in world.said("lost")
    world.comes("lost", "503")
    world.others_change()
