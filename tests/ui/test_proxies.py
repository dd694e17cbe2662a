"""The verbs that show what proxies have, against a control plane and a real gateway."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import istio
from tests.support.envoy import eventually
from tests.support.plane import Plane, Proxy, free_port

PORT = free_port()


class Mesh(NamedTuple):
    plane: Plane
    envoy: int  # its process


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A control plane with one gateway, which sends /reviews to reviews."""
    directory = tmp_path_factory.mktemp("plane")
    with Plane(directory) as running:
        gateway = istio.gateway("edge", (PORT, "HTTP"))
        route = {"match": [{"uri": {"prefix": "/reviews"}}], "route": [istio.to("reviews")]}
        running.apply(
            gateway,
            istio.entry("reviews", [("127.0.30.1", "v1")]),
            istio.virtual_service("web", route, hosts=["*"], gateways=["edge"]),
            wait=False,
        )
        who = ("gateway", "--name", "web-1", "--labels", "istio=ingressgateway,app=web")
        with Proxy(directory / "proxy", *who, "--xds", running.xds) as proxy:
            eventually(lambda: synced(running), 20, "the gateway has everything")
            keeper = proxy.process.pid
            (envoy,) = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
            yield Mesh(running, int(envoy))


@pytest.fixture
def plane(mesh: Mesh) -> Plane:
    return mesh.plane


def synced(plane: Plane) -> bool:
    found = plane.proxies()
    return bool(found) and all(one["synced"] for one in found[0]["types"])


def test_status_has_a_line_for_each_proxy(plane: Plane):
    header, line, *_ = plane.run("status").splitlines()

    assert header.split() == ["PROXY", "ROLE", "STATUS", "SINCE", "REVISION", "DETAIL"]
    assert line.split()[:3] == ["web-1.default", "gateway", "SYNCED"]


def test_status_can_be_read_by_programs(plane: Plane):
    page = json.loads(plane.run("status", "-o", "json", "--exit-code"))

    assert page["proxies"][0]["labels"] == {"app": "web", "istio": "ingressgateway"}
    assert page["faults"] == []


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("listeners", f"0.0.0.0_{PORT}"),
        ("routes", "VirtualService/default/web"),
        ("clusters", "outbound|9080||reviews.default.svc.cluster.local"),
        ("endpoints", "127.0.30.1:9080"),
        ("bootstrap", "app=web,istio=ingressgateway"),
        ("all", "ROUTE TABLE"),
    ],
)
def test_each_part_of_a_configuration_is_shown(plane: Plane, what: str, said: str):
    assert said in plane.run("proxy", "config", what)


def test_a_proxy_is_named_by_its_id_or_its_name(plane: Plane):
    identity = plane.proxies()[0]["id"]

    said = [plane.run("proxy", "config", "clusters", name) for name in ("web-1", identity)]
    unknown = plane.run("proxy", "config", "clusters", "web-2", ok=False)

    assert said[0] == said[1]
    assert unknown == 'error: proxy "web-2" is not connected\n'


def test_a_configuration_is_filtered_by_name_and_shown_whole(plane: Plane):
    page = plane.run("proxy", "config", "all", "-o", "json", "--name", "reviews")

    assert [one["name"] for one in json.loads(page)["clusters"]] == [
        "outbound|9080||reviews.default.svc.cluster.local"
    ]


def test_why_names_the_objects_a_resource_was_made_from(plane: Plane):
    cluster = "outbound|9080||reviews.default.svc.cluster.local"

    said = plane.run("why", "resource", "cluster", cluster)
    unknown = plane.run("why", "resource", "cluster", "nonsense", ok=False)

    assert "ServiceEntry default/reviews" in said
    assert "└─ " in said
    assert "\ncalls by plain text: the caller has no identity\n" in said
    assert unknown.startswith("error: there is no cluster")


def test_apply_waits_until_the_last_proxy_has_it(plane: Plane):
    route = {"match": [{"uri": {"prefix": "/more"}}], "route": [istio.to("reviews")]}

    said = plane.apply(istio.virtual_service("web", route, hosts=["*"], gateways=["edge"]))
    shown = plane.run("proxy", "config", "routes", "-o", "json")

    assert said.endswith("in force: 1 of 1 proxies acknowledged\n")
    assert "/more" in shown


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """The process stands still."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_a_wait_that_ends_too_early_names_who_is_late(mesh: Mesh):
    route = {"match": [{"uri": {"prefix": "/late"}}], "route": [istio.to("reviews")]}
    late = istio.virtual_service("web", route, hosts=["*"], gateways=["edge"])

    with stopped(mesh.envoy):
        said = mesh.plane.run("apply", "-f", "-", "--wait=1", stdin=json.dumps(late), ok=False)
    after = mesh.plane.apply(late)

    assert "virtualservice/web configured\n" in said
    assert "error: not in force everywhere after 1 s: 0 of 1 proxies acknowledged revision" in said
    assert "not yet: web-1.default (RouteConfiguration: " in said
    assert "in force: 1 of 1" in after


def test_findings_of_objects_stand_below_the_proxies(plane: Plane, tmp_path: Path):
    lost = istio.virtual_service("lost", {"route": [istio.to("nobody")]})
    plane.apply(lost)

    said = plane.run("status", "--exit-code", ok=False)
    plane.run("delete", "vs/lost", "--wait")

    assert "error VirtualService default/lost" in said
    assert "PLT2001" in said


def test_version_names_both_sides(plane: Plane):
    client, server = plane.run("version").splitlines()

    assert client.startswith("client ")
    assert server.startswith("server ")
