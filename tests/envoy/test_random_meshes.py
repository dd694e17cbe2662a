"""Whatever validation lets through compiles, in whatever order it comes, and Envoy takes it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from plait.base.query import Engine
from plait.config import catalog
from plait.config.mesh_config import MeshConfig
from plait.config.meta import Object
from plait.mesh import status
from tests.envoy.test_cases_accepted import bootstrap
from tests.support import objects, scale
from tests.support.case import Case
from tests.support.envoy import validate
from tests.support.meshes import Maker

OBJECTS = 22
PROXIES: dict[str, dict[str, Any]] = {
    "captured": {
        "namespace": "demo",
        "labels": {"app": "a"},
        "addresses": ["192.0.2.7"],
        "addressing": "automatic",
        "certified": True,
    },
    "uncaptured": {
        "namespace": "other",
        "labels": {"app": "b", "version": "v1"},
        "addresses": ["10.1.1.1"],
        "interception": "NONE",
    },
    "edge": {
        "role": "router",
        "namespace": "istio-system",
        "labels": {"istio": "ingressgateway", "app": "a"},
        "certified": True,
    },
}
LIMITS = {"name": "limits", "static_layer": {"re2.max_program_size.error_level": 32768}}


class Made(Case):
    """Objects in an engine, as cases are."""

    def __init__(self, settings: MeshConfig) -> None:
        self.engine = Engine(catalog.tables())
        self.proxies = PROXIES
        self.engine.commit([("MeshConfig", "mesh", settings)])

    def write(self, found: Iterable[Object[Any]]) -> None:
        self.engine.commit([objects.put(one) for one in found])

    def everything(self) -> dict[str, Any]:
        """All that every proxy is sent."""
        return {proxy: self.resources(proxy) for proxy in PROXIES}


@pytest.mark.parametrize("number", range(scale.count(25, 2000)))
def test_an_arbitrary_mesh_is_accepted(number: int, tmp_path: Path):
    number += scale.seed() * 100_000
    maker = Maker(number)
    found, settings = maker.objects(OBJECTS), maker.settings()
    mesh = Made(settings)

    mesh.write(found)
    sent = mesh.everything()
    for one in found:
        mesh.engine.attempt(status.standing, one.key)

    assert mesh.engine.failures() == {}
    for proxy in PROXIES:
        validate(bootstrap(sent[proxy]) | {"layered_runtime": {"layers": [LIMITS]}}, tmp_path)
    assert arrived_at(found, settings, Random(number)) == sent


def arrived_at(found: list[Object[Any]], settings: MeshConfig, random: Random) -> dict[str, Any]:
    """The same, step by step from another mesh, whose proxies are served all the while."""
    other = Maker(random.randrange(2**32))
    mesh, others = Made(other.settings()), other.objects(OBJECTS)
    mesh.write(others)
    mesh.everything()
    kept = {one.key for one in found}
    steps = [objects.put(one) for one in found]
    steps += [objects.gone(one) for one in others if one.key not in kept]
    steps.append(("MeshConfig", "mesh", settings))
    random.shuffle(steps)
    for step in steps:
        mesh.engine.commit([step])
        mesh.resources(random.choice(list(PROXIES)))
    return mesh.everything()
