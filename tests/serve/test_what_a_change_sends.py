"""DM-10: which change may send which type, counted on open streams; and only what changed.

The answers to a new subscription, and the endpoints of a cluster that is sent again, do not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec import Struct

from plait.config import catalog
from plait.xds import protos
from plait.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES
from tests.support import istio
from tests.support.served import Plane, serving
from tests.support.xds_client import Client, connected, node, short

CDS, EDS, LDS, RDS = "Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"
TWO = [("10.0.0.1", "v1"), ("10.0.0.2", "v2")]
GATEWAY = "router~10.0.0.9~gw.default~default.svc.cluster.local"
SIDECAR = "sidecar~10.0.0.8~web.default~default.svc.cluster.local"


def workload(address: str, version: str = "v1") -> dict[str, Any]:
    labels = {"app": "ratings", "version": version}
    return istio.document("WorkloadEntry", "ratings-1", {"address": address, "labels": labels})


def selecting() -> dict[str, Any]:
    found = istio.entry("ratings", [], workloadSelector={"labels": {"app": "ratings"}})
    del found["spec"]["endpoints"]
    return found


def routed(v1: int) -> dict[str, Any]:
    shares = istio.weights("reviews", v1=v1, v2=100 - v1)
    return istio.virtual_service("reviews", shares, gateways=["gw", "mesh"])


def policy(simple: str) -> dict[str, Any]:
    found = istio.rule("reviews", "v1", "v2")
    found["spec"]["trafficPolicy"] = {"loadBalancer": {"simple": simple}}
    return found


def sidecar(*hosts: str) -> dict[str, Any]:
    return istio.document("Sidecar", "default", {"egress": [{"hosts": list(hosts)}]})


def labelled(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "metadata": {**document["metadata"], "labels": {"team": "a"}}}


START = [
    istio.entry("reviews", TWO),
    selecting(),
    workload("10.0.1.1"),
    istio.rule("reviews", "v1", "v2"),
    routed(90),
    istio.gateway("gw", (8080, "HTTP")),
]


class Case(Struct, frozen=True, kw_only=True):
    """A change, what it sends to a sidecar and to a gateway; names that may be sent, by a part."""

    change: dict[str, Any]
    sidecar: set[str]
    gateway: set[str]
    about: str = ""


CASES = {
    "an endpoint": Case(
        change=istio.entry("reviews", TWO[:1]), sidecar={EDS}, gateway={EDS}, about="reviews"
    ),
    "a WorkloadEntry": Case(
        change=workload("10.0.1.2"), sidecar={EDS}, gateway={EDS}, about="ratings"
    ),
    "a weight": Case(change=routed(50), sidecar={RDS}, gateway={RDS}),
    "a DestinationRule's policy": Case(
        change=policy("RANDOM"), sidecar={CDS}, gateway={CDS}, about="reviews"
    ),
    "a subset more": Case(
        change=istio.rule("reviews", "v1", "v2", "v3"), sidecar={CDS}, gateway={CDS}, about="v3"
    ),
    "a service on a known port": Case(
        change=istio.entry("details", TWO), sidecar={CDS, RDS}, gateway={CDS}
    ),
    "a service on a new port": Case(
        change=istio.entry("details", TWO, port=7070), sidecar={CDS, LDS}, gateway={CDS}
    ),
    "a Sidecar": Case(
        change=sidecar("./reviews.default.svc.cluster.local"), sidecar={CDS, RDS}, gateway=set()
    ),
    "a Gateway": Case(
        change=istio.gateway("gw", (8080, "HTTP"), (8081, "HTTP")), sidecar=set(), gateway={LDS}
    ),
    "the same again": Case(change=routed(90), sidecar=set(), gateway=set()),
    "a label": Case(change=labelled(routed(90)), sidecar=set(), gateway=set()),
    "a ConfigMap": Case(
        change={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {}},
        sidecar=set(),
        gateway=set(),
    ),
    "a Namespace": Case(
        change={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}},
        sidecar=set(),
        gateway=set(),
    ),
    "a Deployment": Case(
        change={
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d"},
            "spec": {
                "selector": {"matchLabels": {"app": "d"}},
                "template": {
                    "metadata": {"labels": {"app": "d"}},
                    "spec": {"containers": [{"name": "d", "image": "d"}]},
                },
            },
        },
        sidecar=set(),
        gateway=set(),
    ),
}


class Proxy:
    """A client that asks for what an Envoy asks for, and knows what it asked for."""

    def __init__(self, client: Client, table: str) -> None:
        self.client = client
        self._table = table
        self._asked: set[str] = set()

    async def start(self) -> None:
        await self.client.subscribe(CLUSTER)
        await self.client.until(lambda: self.client.messages[CLUSTER], "clusters")
        await self.ask()
        await self.client.subscribe(LISTENER)
        await self.client.until(lambda: self.client.messages[LISTENER], "listeners")
        await self.client.subscribe(ROUTES, self._table)
        await self.client.has(ROUTES, self._table)

    async def ask(self) -> set[str]:
        """Ask for the endpoints of clusters that are new; their names."""
        new = {name for name, body in self.client.resources[CLUSTER].items() if _asks(body)}
        new -= self._asked
        self._asked |= new
        if new:
            await self.client.subscribe(ENDPOINTS, *sorted(new))
            await self.client.has(ENDPOINTS, *new)
        return new


def _asks(body: bytes) -> bool:
    return bool(protos.Cluster.FromString(body).type == protos.Cluster.EDS)


async def settled(plane: Plane, proxies: list[Proxy], revision: int) -> set[str]:
    """Play Envoy until everything is acknowledged; names that were asked for meanwhile."""
    asked: set[str] = set()
    while (plane.ads.delivered() or 0) < revision:
        for proxy in proxies:
            asked |= await proxy.ask()
        await asyncio.sleep(0.005)
    return asked


def sent(
    client: Client, since: int, before: dict[str, dict[str, str]], asked: set[str]
) -> set[str]:
    """Types of what was sent; fails at a resource whose version the client had already."""
    types = set()
    for response in client.responses[since:]:
        resent = set(client.versions[CLUSTER]) if response.type_url == ENDPOINTS else set()
        for one in response.resources:
            again = before.get(response.type_url, {}).get(one.name) == one.version
            assert not again or one.name in resent, f"{one.name} was sent again"
            answered = response.type_url == ENDPOINTS and one.name in asked
            if not answered and not again:
                types.add(response.type_url)
        if response.removed_resources:
            types.add(response.type_url)
    return set(short(types))


def played(story: Callable[[Plane, Proxy, Proxy], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), serving() as plane:
            revision = await plane.apply(*START)
            labels = {"istio": "ingressgateway"}
            async with (
                connected(plane.address, node=node(SIDECAR)) as side,
                connected(plane.address, node=node(GATEWAY, labels=labels)) as edge,
            ):
                web, gateway = Proxy(side, "9080"), Proxy(edge, "http.8080")
                for one in (web, gateway):
                    await one.start()
                await settled(plane, [web, gateway], revision)
                await story(plane, web, gateway)

    asyncio.run(main())


@pytest.mark.parametrize("name", CASES)
def test_a_change_sends_only_its_types_and_only_what_changed(name: str):
    case = CASES[name]

    async def story(plane: Plane, web: Proxy, gateway: Proxy) -> None:
        places = [(one, len(one.client.responses)) for one in (web, gateway)]
        before = [{t: dict(v) for t, v in one.client.versions.items()} for one in (web, gateway)]

        asked = await settled(plane, [web, gateway], await plane.apply(case.change))

        found = [
            sent(one.client, since, held, asked)
            for (one, since), held in zip(places, before, strict=True)
        ]
        assert found == [case.sidecar, case.gateway]
        for one, since in places:
            for response in one.client.responses[since:]:
                assert all(case.about in resource.name for resource in response.resources)

    played(story)


def test_a_push_goes_clusters_endpoints_listeners_routes_and_removals_last():
    async def story(plane: Plane, web: Proxy, gateway: Proxy) -> None:
        since = len(web.client.responses)
        await plane.apply(istio.entry("details", TWO, port=7070))
        to_details = istio.virtual_service("reviews", {"route": [istio.to("details")]})
        revision = await plane.apply(to_details)
        await settled(plane, [web, gateway], revision)
        came = short(r.type_url for r in web.client.responses[since:])
        since = len(web.client.responses)
        await plane.store.commit([])
        kinds = catalog.KINDS
        await plane.apply(routed(90))
        revision = await plane.delete(kinds["ServiceEntry"].key("default", "details"))
        await settled(plane, [web, gateway], revision)
        went = web.client.responses[since:]

        first = {kind: came.index(kind) for kind in (CDS, EDS, LDS)}
        assert first[CDS] < first[EDS] < first[LDS]
        assert came.index(EDS) < len(came) - 1 - came[::-1].index(RDS)
        removals = [i for i, r in enumerate(went) if r.type_url == CLUSTER and r.removed_resources]
        routes = [i for i, r in enumerate(went) if r.type_url == ROUTES]
        assert removals
        assert min(removals) > min(routes)

    played(story)
