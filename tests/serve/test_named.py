"""What users call a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from plait.serve import named
from plait.xds.resource import CLUSTER
from tests.support.served import serving
from tests.support.xds_client import connected, node

REVIEWS = ("reviews-v1-5f6d7-abcde", "demo", "10.0.0.1")
AGAIN = ("reviews-v1-5f6d7-fghij", "demo", "10.0.0.2")
EDGE = ("edge", "one", "10.0.0.3")
OTHER = ("edge", "two", "10.0.0.4")
IDS = {
    one: f"sidecar~{one[2]}~{one[0]}.{one[1]}~{one[1]}.svc.cluster.local"
    for one in (REVIEWS, AGAIN, EDGE, OTHER)
}


def pod(name: str, namespace: str, address: str) -> str:
    workload, _, hash_ = name.rpartition("-")[0].rpartition("-")
    return f"""
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{pod-template-hash: {hash_}}}
  ownerReferences:
  - {{apiVersion: apps/v1, kind: ReplicaSet, name: {workload}-{hash_}, uid: u, controller: true}}
spec: {{containers: [{{name: a, image: a}}]}}
status: {{podIP: {address}}}
"""


def meant(*said: str) -> Sequence[str]:
    """The id of the proxy that each word means, or why it means none."""

    async def main() -> list[str]:
        async with serving() as plane, AsyncExitStack() as stack:
            await plane.put(pod(*REVIEWS), pod(*AGAIN))
            for identity in IDS.values():
                client = await stack.enter_async_context(
                    connected(plane.address, node=node(identity))
                )
                await client.subscribe(CLUSTER)
            await plane.until(
                lambda: sum(one.node is not None for one in plane.ads.sessions()) == len(IDS),
                "all proxies",
            )
            return [answer(plane.store, plane.ads.sessions(), word) for word in said]

    return asyncio.run(main())


def answer(store: object, sessions: object, said: str) -> str:
    try:
        found = named.proxy(store, sessions, said)  # type: ignore[arg-type]
    except named.UnknownProxyError as error:
        return str(error)
    return found.node.id if found.node else ""


def test_a_proxy_is_meant_by_its_id_its_pod_or_its_workload():
    words = (
        IDS[REVIEWS],
        REVIEWS[0],
        f"{REVIEWS[0]}.demo",
        f"demo/{REVIEWS[0]}",
        f"pod/{REVIEWS[0]}",
        "reviews-v1",
        "reviews-v1.demo",
        "demo/reviews-v1",
        "deployment/reviews-v1",
    )

    assert meant(*words) == [IDS[REVIEWS]] * len(words)


def test_one_that_is_not_there_or_not_clear_is_named():
    assert meant("edge.one", "edge", "reviews", "other/reviews-v1", "") == [
        IDS[EDGE],
        'several proxies are called "edge"; say edge.one or edge.two',
        'proxy "reviews" is not connected',
        'proxy "other/reviews-v1" is not connected',
        'proxy "" is not connected',
    ]


@pytest.mark.parametrize(
    ("name", "namespace", "found"),
    [
        ("web-1.demo", "", "demo/web-1"),
        ("db.one.demo", "", "demo/db.one"),  # a Pod's name may have dots in it
        ("db.one.demo", "demo", "demo/db.one"),
        ("web-1", "", "demo/web-1"),
        ("web-1", "other", "other/web-1"),
    ],
)
def test_the_pod_of_a_proxy_is_told_by_its_id(name: str, namespace: str, found: str):
    node_id = f"sidecar~10.0.0.1~{name}~demo.svc.cluster.local"

    assert named.pod(node_id, namespace).path == found
