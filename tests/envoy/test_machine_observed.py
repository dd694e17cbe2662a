"""What is seen of requests on this machine: headers, access logs, metrics, and worker threads."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import istio, traffic
from tests.support.envoy import eventually
from tests.support.machine import Machine, machine, service
from tests.support.netns import needs_root

pytestmark = needs_root
REQUESTS, _, RESPONSES = (
    (Path(__file__).parent.parent.parent / "docs" / "headers.md")
    .read_text()
    .partition("A response has")
)
BUSY = {
    "sidecar.istio.io/proxyCPULimit": "2",
    "prometheus.io/scrape": "true",
    "prometheus.io/port": "9080",
}
_HEADERS = "import urllib.request as r; print(dict(r.urlopen('http://{}/').headers))"
_METRICS = (
    "import urllib.request as r; "
    "print(r.urlopen('http://127.0.0.1:15020/stats/prometheus').read().decode())"
)


@pytest.fixture(scope="module")
def world() -> Iterator[Machine]:
    with machine(start=False) as found:
        found.write("busy", found.backend("busy", annotations=BUSY))
        found.write("empty", service("empty", http=9080))
        old = {"match": [{"uri": {"prefix": "/old/"}}], "rewrite": {"uri": "/new/"}}
        to_v1 = istio.weights("reviews", port=9080, v1=100)
        hosts = [istio.host("reviews"), "reviews.example"]
        rules = istio.virtual_service(
            "reviews", {**old, **to_v1}, to_v1, hosts=hosts, gateways=["gw", "mesh"]
        )
        found.write("routing", rules)
        found.up()
        eventually(lambda: at_the_gateway(found)[0] == 200, what="a 200")
        yield found


def at_the_gateway(world: Machine, path: str = "/") -> tuple[int, dict[str, Any]]:
    return traffic.get(world.gateway, path, {"Host": "reviews.example"})


def listed(text: str) -> set[str]:
    """The headers of the list's table."""
    return set(re.findall(r"(?m)^\| `([-a-z]+)` \|", text))


def listed_of(hop: str) -> set[str]:
    """Those that a hop has of its own."""
    (clause,) = re.findall(rf"{hop} adds ([^,.]*)", REQUESTS)
    return set(re.findall(r"`([-a-z]+)`", clause))


def added(found: dict[str, Any]) -> set[str]:
    """What an application saw and its caller did not send."""
    return set(found["headers"]) - {"host", "user-agent", "accept-encoding"}


def test_the_headers_that_are_added_are_those_of_the_list(world: Machine):
    status, seen = eval(world.call("traffic.get('reviews:9080')"))

    assert (status, added(seen)) == (200, listed(REQUESTS))


def test_the_headers_that_a_rewrite_adds_are_those_of_the_list(world: Machine):
    _, seen = eval(world.call("traffic.get('reviews:9080', '/old/a?b=c')"))

    assert added(seen) - listed(REQUESTS) == listed_of("a rewrite") != set()
    assert seen["headers"]["x-envoy-original-path"] == "/old/a?b=c"


def test_the_headers_that_a_gateway_adds_are_those_of_the_list(world: Machine):
    _, seen = at_the_gateway(world)

    assert added(seen) - listed(REQUESTS) == listed_of("a gateway") != set()
    gateway = world.pod(istio="ingressgateway")["status"]["podIP"]
    assert seen["headers"]["x-forwarded-for"] == gateway
    assert seen["headers"]["x-envoy-external-address"] == "127.0.0.1"


def test_the_headers_of_a_response_are_those_of_the_list(world: Machine):
    direct, through = (
        {name.lower(): value for name, value in eval(said).items()}
        for said in (
            world.inside("reviews", sys.executable, "-c", _HEADERS.format("127.0.0.1:9080")),
            world.inside("web", sys.executable, "-c", _HEADERS.format("reviews:9080")),
        )
    )

    changed = {name for name in through if through[name] != direct.get(name)}
    assert changed - {"date", "content-length"} == listed(RESPONSES)
    assert set(direct) <= set(through)


def logged(world: Machine, deployment: str, path: str) -> dict[str, Any]:
    """What a sidecar's log has of the request for a path."""

    def lines() -> list[dict[str, Any]]:
        said = world.run("logs", f"deployment/{deployment}", "-c", "istio-proxy").splitlines()
        found = [json.loads(line) for line in said if line.startswith("{")]
        return [line for line in found if line.get("path") == path]

    (found,) = eventually(lines, what="the sidecar logs the request")
    return dict(found)


def test_access_logs_tell_what_happened_and_what_routed_it(world: Machine):
    """EN-24: on both sides, and one id leads from one to the other."""
    pod = world.pod(app="reviews", version="v1")["status"]["podIP"]
    _, seen = eval(world.call("traffic.get('reviews:9080', '/logged')"))

    out, into = logged(world, "web-v1", "/logged"), logged(world, "reviews-v1", "/logged")

    assert (out["method"], out["protocol"], out["response_code"]) == ("GET", "HTTP/1.1", 200)
    assert out["response_flags"] == into["response_flags"] == "-"
    assert out["duration"] >= 0
    assert out["upstream_host"] == f"{pod}:9080"
    assert out["route_name"].startswith("VirtualService/default/reviews")
    assert out["request_id"] == into["request_id"] == seen["headers"]["x-request-id"]
    assert into["response_code"] == 200


def test_access_logs_tell_why_a_request_failed(world: Machine):
    assert world.call("traffic.get('empty:9080', '/lost')[0]") == "503"

    found = logged(world, "web-v1", "/lost")

    assert (found["response_code"], found["response_flags"]) == (503, "UH")
    assert found["upstream_host"] is None
    assert found["request_id"]


def test_workers_are_as_many_as_the_limit_allows(world: Machine):
    """EN-17: a limit of two cores is two threads; without one it is one."""
    assert world.stats("^server.concurrency$", app="busy") == 2
    assert world.stats("^server.concurrency$", app="web") == 1


def test_metrics_of_application_agent_and_envoy_are_one_page(world: Machine):
    """EN-13."""
    page = world.inside("busy", sys.executable, "-c", _METRICS)

    names = {re.split(r"[ {]", line)[0] for line in page.splitlines() if line[0] != "#"}
    assert {"backend_up", "envoy_server_live"} <= names
    assert any(name.startswith("plait_agent") for name in names)
