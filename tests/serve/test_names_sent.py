"""What an agent is told of DNS names, over a real stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from plait.xds import dns_table
from plait.xds.resource import CLUSTER, HOSTS, LISTENER
from tests.support import mesh
from tests.support.served import serving
from tests.support.xds_client import Client, connected, node

REVIEWS = "reviews.demo.svc.cluster.local"
NODES = "nodes.demo.svc.cluster.local"
API = "api.example.com"


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await story()

    asyncio.run(bounded())


def service(name: str, ip: str = "10.96.0.1") -> str:
    return mesh.service(name, "tcp:9080", ip=ip)


def nodes(*addresses: str) -> str:
    endpoints = "".join(f"\n- {{addresses: [{one}]}}" for one in addresses)
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: nodes-1, labels: {{kubernetes.io/service-name: nodes}}}}
addressType: IPv4
ports: [{{name: tcp, port: 9080}}]
endpoints:{endpoints}
"""


ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [api.example.com]
  ports: [{number: 9000, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 192.0.2.1}]
"""


def known(client: Client) -> dict[str, tuple[str, ...]]:
    """All that the agent knows of names."""
    found: dict[str, tuple[str, ...]] = {}
    for body in client.resources.get(HOSTS, {}).values():
        found |= dns_table.decode(body)
    return found


@pytest.mark.parametrize("asked", [(), ("*",)])
def test_an_agent_is_told_what_the_names_of_all_visible_hosts_mean(asked):
    async def story() -> None:
        async with serving() as plane:
            await plane.put(service("reviews"), service("nodes", "None"), nodes("10.0.0.1"), ENTRY)
            async with connected(plane.address, node=node(DNS_CAPTURE="true")) as client:
                await client.subscribe(HOSTS, *asked)
                await client.has(HOSTS, REVIEWS, NODES, API)

                given = known(client)[API]
                assert given[0].startswith("240.240.")
                assert known(client) == {
                    REVIEWS: ("10.96.0.1",),
                    NODES: ("10.0.0.1",),
                    API: given,
                }

                await client.subscribe(LISTENER)
                await client.has(LISTENER, f"{given[0]}_9000")

    run(story)


@pytest.mark.parametrize("metadata", [{}, {"DNS_CAPTURE": "true", "DNS_AUTO_ALLOCATE": "false"}])
def test_who_does_not_ask_for_automatic_addresses_is_given_none(metadata):
    async def story() -> None:
        async with serving() as plane:
            await plane.put(service("reviews"), ENTRY)
            async with connected(plane.address, node=node(**metadata)) as client:
                await client.subscribe(HOSTS, "*")
                await client.has(HOSTS, REVIEWS)

                assert known(client) == {REVIEWS: ("10.96.0.1",)}

    run(story)


def test_a_change_of_endpoints_sends_one_name_and_a_removal_one_removal():
    async def story() -> None:
        async with serving() as plane:
            await plane.put(service("reviews"), service("nodes", "None"), nodes("10.0.0.1"))
            async with connected(plane.address, node=node()) as client:
                await client.subscribe(HOSTS, "*")
                await client.has(HOSTS, REVIEWS, NODES)

                await plane.put(nodes("10.0.0.1", "10.0.0.2"))
                await client.until(lambda: len(known(client)[NODES]) == 2, "the new endpoint")
                await plane.delete(mesh.key("Service", "reviews"))
                await client.until(lambda: REVIEWS not in known(client), "the removal")

                kind = HOSTS.rpartition(".")[2]
                assert client.log()[1:] == [(kind, [NODES], []), (kind, [], [REVIEWS])]

    run(story)


def test_an_agent_that_comes_back_is_sent_what_changed_meanwhile():
    async def story() -> None:
        async with serving() as plane:
            await plane.put(service("reviews"), service("ratings", "10.96.0.2"))
            async with connected(plane.address, node=node()) as client:
                await client.subscribe(HOSTS, "*")
                await client.has(HOSTS, REVIEWS)
                held = dict(client.versions[HOSTS])
            await plane.put(service("reviews", "10.96.0.9"))
            async with connected(plane.address, node=node()) as client:
                await client.subscribe(HOSTS, "*", initial=held)
                await client.has(HOSTS, REVIEWS)

                assert known(client) == {REVIEWS: ("10.96.0.9",)}

    run(story)


def test_names_do_not_hold_up_what_envoy_asks_for():
    async def story() -> None:
        async with serving() as plane:
            await plane.put(service("reviews"))
            async with connected(plane.address, node=node(), silent=True) as client:
                await client.subscribe(HOSTS, "*")
                await client.has(HOSTS, REVIEWS)
                await client.subscribe(CLUSTER)
                await client.has(CLUSTER, f"outbound|9080||{REVIEWS}")

    run(story)
