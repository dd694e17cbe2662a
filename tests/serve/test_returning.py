"""Clients that come back to a control plane that has started again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from plait.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES
from tests.support import istio
from tests.support.served import Plane, serving
from tests.support.xds_client import Client, connected, node

HOSTS = ("reviews", "ratings", "details")
CLUSTERS = [f"outbound|9080||{host}.default.svc.cluster.local" for host in HOSTS]
REFUSED, NEW = "/refused", "/new"


def rewriting(host: str, path: str) -> dict[str, Any]:
    rule = {"rewrite": {"uri": path}, "route": [istio.to(host)]}
    return istio.virtual_service(host, rule)


async def everything(client: Client, held: dict[str, dict[str, str]]) -> None:
    """Ask for what an Envoy asks for, with the versions that it holds."""
    await client.subscribe(CLUSTER, initial=held.get(CLUSTER))
    if not held:
        await client.has(CLUSTER, *CLUSTERS)
    await client.subscribe(ENDPOINTS, *CLUSTERS, initial=held.get(ENDPOINTS))
    await client.subscribe(LISTENER, initial=held.get(LISTENER))
    await client.subscribe(ROUTES, "9080", initial=held.get(ROUTES))


async def settled(plane: Plane, revision: int) -> None:
    """Wait until the proxy has acknowledged the revision in all types."""

    def is_settled() -> bool:
        states = plane.ads.proxies()
        return any(len(s.types) == 4 and s.synced and s.delivered == revision for s in states)

    await plane.until(is_settled, f"revision {revision}")


def test_what_a_client_held_before_a_restart_stays_in_place_of_what_it_refuses(tmp_path: Path):
    async def first() -> dict[str, dict[str, str]]:
        async with serving(home=tmp_path) as plane:
            await plane.apply(*(istio.entry(host, [("10.0.0.1", "v1")]) for host in HOSTS))
            revision = await plane.apply(*(rewriting(host, f"/old-{host}") for host in HOSTS))
            async with connected(plane.address, node=node()) as client:
                await everything(client, {})
                await settled(plane, revision)
                return client.versions

    async def second(held: dict[str, dict[str, str]]) -> tuple[list[Any], bytes]:
        async with (
            serving(home=tmp_path) as plane,
            connected(plane.address, node=node()) as client,
        ):
            client.judge = lambda r: "no" if REFUSED in str(r.resources) else None
            await everything(client, held)
            await settled(plane, plane.store.revision)
            before = list(client.responses)
            await plane.apply(rewriting("reviews", REFUSED), rewriting("ratings", NEW))
            await client.until(lambda: client.resources.get(ROUTES), "what can be taken")
            await client.until(lambda: NEW.encode() in client.resources[ROUTES]["9080"], "the rest")
            return before, client.resources[ROUTES]["9080"]

    held = asyncio.run(first())
    before, table = asyncio.run(second(held))

    assert before == []
    assert b"/old-reviews" in table
    assert b"/old-details" in table
    assert REFUSED.encode() not in table
