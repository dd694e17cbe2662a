"""Who still calls in plain text is told, and stops the way to STRICT."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import istio
from tests.support.envoy import eventually
from tests.support.machine import Machine, directory, service
from tests.support.netns import needs_root

pytestmark = needs_root


@pytest.fixture(scope="module")
def world() -> Iterator[Machine]:
    with directory() as top:
        found = Machine(top)
        outside = found.backend("outside")
        labels = outside["spec"]["template"]["metadata"]["labels"]
        labels["sidecar.istio.io/inject"] = "false"
        found.write(
            "mesh",
            service("reviews", http=9080, tcp=9082),  # none has 9081
            found.backend("reviews"),
            found.backend("web"),
            outside,
        )
        try:
            found.up()
            yield found
        finally:
            found.down()


def ports(world: Machine) -> dict[int, dict[str, Any]]:
    """What ``plait mtls`` says of the ports of reviews."""
    page = json.loads(world.run("mtls", "-n", "default", "-o", "json"))
    return {one["number"]: one for one in page if one["workload"] == "reviews-v1"}


def callers(world: Machine, port: int) -> list[str]:
    found = ports(world).get(port, {"callers": []})
    return [one["name"].rpartition("/")[2][:10] for one in found["callers"]]


def strict(world: Machine) -> str:
    """``plait mtls strict``; an AssertionError while somebody calls in plain text."""
    return world.run("mtls", "strict", "--quiet", "2", seconds=60)


def test_a_server_without_a_proxy_holds_back_strict_until_a_policy_says_it_is_none(world: Machine):
    selector = {"selector": {"matchLabels": {"app": "outside"}}}
    own = istio.document("PeerAuthentication", "outside", {**selector, "mtls": {"mode": "DISABLE"}})
    world.apply(service("outside", http=9080))
    eventually(lambda: "no proxy" in world.run("mtls"), 15, "it is told")
    stopped = world.run("mtls", "strict", "--quiet", "1", ok=False)
    world.apply({**own, "apiVersion": "security.istio.io/v1"})
    passed = world.run("mtls", "strict", "--quiet", "1", "--dry-run", seconds=60)
    world.run("delete", "service/outside")
    world.run("delete", "peerauthentication/outside")

    assert "nothing is changed:\n  default/outside-v1:9080\n" in stopped
    assert "could be STRICT (dry run)" in passed


def test_who_calls_in_plain_text_is_told_and_holds_back_strict(world: Machine):
    address = world.pod(app="reviews")["status"]["podIP"]
    get = f"traffic.get('{address}:9080', headers={{'Host': 'reviews'}})[0]"
    first = ports(world)
    assert world.call("traffic.get('reviews:9080')[0]") == "200"

    assert world.call(get, app="outside") == "200"
    assert world.call(f"traffic.tcp_talk('{address}:9082')[-5:]", app="outside") == "b'ping\\n'"
    world.call(f"traffic.tcp_talk('{address}:9081')", app="outside")
    all_ = (9080, 9081, 9082)
    eventually(lambda: all(callers(world, one) for one in all_), 15, "it is told")
    stopped = world.run("mtls", "strict", "--quiet", "120", ok=False)

    assert {one["mode"] for one in first.values()} == {"PERMISSIVE"}
    assert [one["callers"] for one in first.values()] == [[], []]
    assert [callers(world, one) for one in all_] == [["outside-v1"]] * 3
    assert "somebody calls in plain text; nothing is changed" in stopped
    for one in all_:
        assert f"default/reviews-v1:{one}: default/outside-v1" in stopped
    assert "outside-v1" in world.run("mtls")

    said = eventually(lambda: strict(world), 30, "nobody has called for two seconds")

    assert "peerauthentication/default in default: STRICT" in said
    assert {(one["mode"], one["policy"]) for one in ports(world).values()} == {
        ("STRICT", "PeerAuthentication default/default")
    }
    closed = f"traffic.outcome('http', '{address}:9080')"
    assert world.call(closed, app="outside") == "closed"
    assert world.call("traffic.get('reviews:9080')[0]") == "200"
    assert "no port of a connected workload" in world.run("mtls", "strict")


def test_a_policy_of_a_workload_is_named_where_it_stays(world: Machine):
    spec = {"selector": {"matchLabels": {"app": "reviews"}}, "mtls": {"mode": "PERMISSIVE"}}
    own = istio.document("PeerAuthentication", "reviews", spec)
    world.apply({**own, "apiVersion": "security.istio.io/v1"})

    said = world.run("mtls", "strict", "--quiet", "1", seconds=60)

    assert "stays PERMISSIVE: PeerAuthentication default/reviews says so" in said
