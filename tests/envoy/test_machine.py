"""A mesh on this machine: traffic inside it and through its gateway, as ``plait up`` makes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import istio, traffic
from tests.support.envoy import eventually
from tests.support.machine import MODES, Machine, machine
from tests.support.netns import needs_root

pytestmark = needs_root
REQUESTS = 2000


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def world(mode: str) -> Iterator[Machine]:
    with machine(mode=mode) as found:
        yield found


def route(world: Machine, *http: dict[str, Any]) -> None:
    """Route ``reviews`` inside the mesh and at the gateway."""
    hosts = [istio.host("reviews"), "reviews.example"]
    world.apply(istio.virtual_service("reviews", *http, hosts=hosts, gateways=["gw", "mesh"]))


def asked(world: Machine, side: str) -> dict[str, int]:
    """Requests that the sidecars of ``web`` and of ``reviews`` counted."""
    if side == "out":
        return {"web": world.stats("http.outbound.*downstream_rq_total", app="web")}
    pattern = "http.inbound.*downstream_rq_total"
    return {v: world.stats(pattern, app="reviews", version=v) for v in ("v1", "v2")}


def test_calls_are_encrypted_unless_a_policy_says_otherwise(world: Machine, mode: str):
    route(world, istio.weights("reviews", port=9080, v2=100))
    name = "x-forwarded-client-cert"

    def is_known() -> bool:
        return world.call(f"'{name}' in traffic.get('reviews:9080')[1]['headers']") == "True"

    expected = mode == "encrypted"
    eventually(lambda: is_known() == expected, what="whether the caller is known")


@pytest.mark.parametrize(
    "target", ["pod", "vip", "reviews", "reviews.default", "reviews.default.svc.cluster.local"]
)
def test_every_request_crosses_both_sidecars(world: Machine, target: str):
    route(world, istio.weights("reviews", port=9080, v2=100))
    address = {
        "pod": world.pod(app="reviews", version="v2")["status"]["podIP"],
        "vip": world.run("get", "service", "reviews", "-o", "jsonpath={.spec.clusterIP}").strip(),
    }.get(target, target)
    headers = {} if target not in ("pod", "vip") else {"Host": "reviews:9080"}
    before = asked(world, "out"), asked(world, "in")

    said = world.call(f"dict(traffic.names('{address}:9080', 10, headers={headers!r}))")

    after = asked(world, "out"), asked(world, "in")
    assert said == "{'v2': 10}"
    assert after[0]["web"] - before[0]["web"] == 10
    assert sum(after[1].values()) - sum(before[1].values()) == 10


def test_a_header_chooses_the_version_inside_and_at_the_gateway(world: Machine):
    route(
        world,
        {"match": istio.for_user("jason"), **istio.weights("reviews", port=9080, v2=100)},
        istio.weights("reviews", port=9080, v1=100),
    )
    jason = {"Host": "reviews.example", "end-user": "jason"}
    inside = {"end-user": "jason"}

    assert (
        world.call(f"dict(traffic.names('reviews:9080', 20, headers={inside!r}))") == "{'v2': 20}"
    )
    assert world.call("dict(traffic.names('reviews:9080', 20))") == "{'v1': 20}"
    assert traffic.names(world.gateway, 20, headers=jason) == {"v2": 20}
    assert traffic.names(world.gateway, 20, headers={"Host": "reviews.example"}) == {"v1": 20}


@pytest.mark.parametrize("share", [90, 50, 0])
def test_weights_hold_inside_and_at_the_gateway(world: Machine, share: int):
    route(world, istio.weights("reviews", port=9080, v1=share, v2=100 - share))

    inside = int(world.call(f"traffic.names('reviews:9080', {REQUESTS}).get('v1', 0)"))
    outside = traffic.names(world.gateway, REQUESTS, headers={"Host": "reviews.example"})

    assert traffic.within_five_sigma(inside, REQUESTS, share / 100)
    assert traffic.within_five_sigma(outside["v1"], REQUESTS, share / 100)
    assert sum(outside.values()) == REQUESTS


def test_a_prefix_is_rewritten_inside_and_at_the_gateway(world: Machine):
    match = [{"uri": {"prefix": "/old/"}}]
    route(
        world,
        {
            "match": match,
            "rewrite": {"uri": "/new/"},
            **istio.weights("reviews", port=9080, v1=100),
        },
        istio.weights("reviews", port=9080, v2=100),
    )

    for said in (
        eval(world.call("traffic.get('reviews:9080', '/old/a?b=c')")),
        traffic.get(world.gateway, "/old/a?b=c", {"Host": "reviews.example"}),
    ):
        assert (said[0], said[1]["path"], said[1]["name"]) == (200, "/new/a?b=c", "v1")
    assert eval(world.call("traffic.get('reviews:9080', '/else')"))[1]["name"] == "v2"


def test_registry_only_blocks_what_nobody_declared(world: Machine):
    outside = world.pod(app="reviews", version="v1")["status"]["podIP"]
    scope = {"hosts": ["./*"], "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
    sidecar = istio.document(
        "Sidecar",
        "web",
        {
            "egress": [{"hosts": scope["hosts"]}],
            "workloadSelector": {"labels": {"app": "web"}},
            "outboundTrafficPolicy": scope["outboundTrafficPolicy"],
        },
    )
    unknown = {"Host": "nobody.example"}
    assert world.call(f"traffic.get('{outside}:9080', headers={unknown!r})[0]") == "200"

    world.apply(sidecar)

    assert world.call(f"traffic.get('{outside}:9080', headers={unknown!r})[0]") == "502"
    world.run("delete", "sidecar", "web")


def test_grpc_websocket_and_a_server_that_speaks_first_pass_the_pair(world: Machine):
    route(world, istio.weights("reviews", port=9080, v2=100))

    unary, stream = eval(world.call("traffic.grpc_echo('echo:9081', 'echo:9081', b'x', b'y')"))
    assert unary in (b"v1:x", b"v2:x")
    assert stream in ([b"v1:x", b"v1:y"], [b"v2:x", b"v2:y"])
    assert world.call("traffic.websocket_echo('reviews:9080', 'reviews:9080', 'a')") == "['v2:a']"
    greeting = world.call("traffic.tcp_echo('echo:9082')")
    assert greeting.endswith("b'ping\\n')")
    assert greeting.startswith("(b'hello from v")


def test_an_upload_of_100_mb_passes_the_pair(world: Machine):
    route(world, istio.weights("reviews", port=9080, v1=100))

    assert world.call("traffic.upload('reviews:9080', 100_000_000)") == "(200, 100000000)"


def test_40_kib_in_40_headers_pass_and_more_than_100_headers_do_not(world: Machine):
    route(world, istio.weights("reviews", port=9080, v1=100))

    assert world.call("traffic.headers('reviews:9080', 40, 1024)") == "[200, 200]"
    assert world.call("traffic.headers('reviews:9080', 120, 10)") == "[431, 200]"
    first, then = eval(world.call("traffic.headers_h2('echo:9081', 120)"))
    assert (first != "OK", then) == (True, "OK")


def test_a_call_to_itself_by_its_service_comes_in_through_the_front_door(world: Machine):
    before = world.stats("http.inbound.*downstream_rq_total", app="web")

    said = world.call("dict(traffic.names('web:9080', 5))")

    assert said == "{'v1': 5}"
    assert world.stats("http.inbound.*downstream_rq_total", app="web") - before == 5


def test_every_user_but_the_proxys_is_captured(world: Machine):
    """EN-05: of two equal calls the proxy's own goes straight out."""
    pod = world.pod(app="web")
    target = f"http://{world.pod(app='reviews', version='v1')['status']['podIP']}:9080/"
    counted = []
    for uid in (65534, 1337):
        before = asked(world, "out")["web"]
        user = ("setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups")
        said = world.beside(
            pod, *user, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", target
        )
        counted.append((said, asked(world, "out")["web"] - before))

    assert counted == [("200", 1), ("200", 0)]


def test_ports_of_proxy_and_agent_are_not_captured(world: Machine):
    """EN-06: from another Pod they are reached without a detour through Envoy."""
    pod, other = world.pod(app="web"), world.pod(app="reviews", version="v1")
    paths = {15020: "stats/prometheus", 15021: "healthz/ready", 15090: "stats/prometheus"}
    before = redirected(world, pod)

    for port, path in paths.items():
        url = f"http://{pod['status']['podIP']}:{port}/{path}"
        user = ("setpriv", "--reuid", "1337", "--regid", "1337", "--clear-groups")
        said = world.beside(
            other, *user, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url
        )
        assert said == "200", url

    assert redirected(world, pod) == before
    world.call("traffic.get('web:9080')", app="reviews")
    assert redirected(world, pod) > before


def redirected(world: Machine, pod: dict[str, Any]) -> int:
    """Connections from outside that were led to Envoy's port for them."""
    rules = world.beside(pod, "iptables", "-t", "nat", "-nvxL", "ISTIO_INBOUND")
    (line,) = [one for one in rules.splitlines() if "ISTIO_IN_REDIRECT" in one]
    return int(line.split()[0])


def test_that_programs_run_as_root_is_said_where_everybody_looks(world: Machine):
    said = "workloads run as root and can read every proxy's key: set runAsUser"

    assert f"identities less safe: {said}" in world.run("status")
    assert world.up().count(said) == 1
