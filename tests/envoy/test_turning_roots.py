"""Roots and intermediates of a whole mesh are replaced while requests are under way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import istio, scale
from tests.support.envoy import eventually
from tests.support.issuing import Authority, plug
from tests.support.machine import Machine, machine
from tests.support.netns import needs_root
from tests.support.traffic import Load

pytestmark = needs_root
RPS = scale.count(100, 300)
LIFE = 20
"""Seconds for which certificates are valid here; they are renewed at half of it."""
REVIEWS = {"Host": "reviews.example"}


@pytest.fixture(scope="module")
def world() -> Iterator[Machine]:
    with machine() as found:
        there = istio.weights("reviews", port=9080, v1=100)
        hosts = ["reviews.example"]
        found.apply(istio.virtual_service("reviews", there, hosts=hosts, gateways=["gw"]))
        yield found


def certificates(world: Machine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(world.run("cert", "-o", "json"))
    return found


def serials(world: Machine) -> set[str]:
    return {one["serial"] for one in certificates(world) if one["connected"]}


def authorities(world: Machine) -> list[str]:
    """What signs and what is trusted, by subject."""
    page = json.loads(world.run("ca", "status", "-o", "json"))
    return [root["subject"] for root in page["roots"]]


def signing(world: Machine) -> str:
    """Fingerprint of the one root there is."""
    [root] = json.loads(world.run("ca", "status", "-o", "json"))["roots"]
    return str(root["fingerprint"])


def test_every_proxy_has_the_identity_of_its_service_account(world: Machine):
    found = {one["pod"].rpartition("-")[0]: one["identity"] for one in certificates(world)}

    assert len(found) == 4
    assert set(found.values()) == {
        "spiffe://cluster.local/ns/default/sa/default",
        "spiffe://cluster.local/ns/istio-system/sa/default",
    }
    assert all(one["connected"] for one in certificates(world))


def test_a_root_is_replaced_under_load_without_a_failed_request(world: Machine):
    before = signing(world)
    with Load(world.gateway, rps=RPS, headers=REVIEWS) as load:
        eventually(lambda: load.sent > RPS, what="a load")
        world.run("ca", "rotate", "--wait", "--timeout", "100", seconds=120)
        sent = load.sent
        eventually(lambda: load.sent > sent + RPS, what="a load after it")

    assert load.failures == []
    assert before != signing(world)
    assert {one["issuer"] for one in certificates(world)} == {signing(world)}


def test_a_mesh_goes_over_to_the_users_own_authority_and_follows_it_under_load(
    world: Machine, tmp_path: Path
):
    root, other = Authority("root"), Authority("other")
    plug(tmp_path, Authority("one", root), root)
    with Load(world.gateway, rps=RPS, headers=REVIEWS) as load:
        eventually(lambda: load.sent > RPS, what="a load")
        with world.another_plane(ca_dir=str(tmp_path), certificate_life=str(LIFE)):
            eventually(lambda: authorities(world) == ["CN=one", "CN=root"], 120, "own authority")
            before = serials(world)
            plug(tmp_path, Authority("two", root), root)
            eventually(lambda: authorities(world) == ["CN=two", "CN=root"], 30, "its next one")
            eventually(lambda: not before & serials(world), 60, "all are renewed")
            plug(tmp_path, other)
            eventually(lambda: authorities(world) == ["CN=other"], 120, "another root")
            sent = load.sent
            eventually(lambda: load.sent > sent + RPS, what="a load after it")

    assert load.failures == []
