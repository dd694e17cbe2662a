"""``--wait`` and ``status`` when proxies are slow, refuse, come or go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from plait.xds.resource import CLUSTER
from tests.support import istio
from tests.support.envoy import eventually
from tests.support.plane import Plane
from tests.support.xds_client import Client, connected, node

ID = "sidecar~10.0.0.7~web-1.default~default.svc.cluster.local"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    with Plane(tmp_path) as running:
        running.apply(istio.entry("reviews", [("127.0.30.1", "v1")]), wait=False)
        yield running


@asynccontextmanager
async def proxy(plane: Plane) -> AsyncIterator[Client]:
    """A client that has every cluster."""
    async with connected(plane.xds, node=node(ID)) as client:
        await client.subscribe(CLUSTER)
        await client.until(lambda: client.versions.get(CLUSTER), "clusters come")
        yield client


async def apply(plane: Plane, found: dict[str, Any], *flags: str, ok: bool = True) -> str:
    """``plait apply``, beside which the clients go on."""
    text = json.dumps(found)
    return await asyncio.to_thread(plane.run, "apply", "-f", "-", *flags, stdin=text, ok=ok)


async def said(plane: Plane, *command: str, until: str) -> str:
    """What a command says once `until` is part of it."""

    def asked() -> str:
        text = plane.run(*command)
        return text if until in text else ""

    return str(await asyncio.to_thread(eventually, asked, 15, until))


def ratings() -> dict[str, Any]:
    return istio.entry("ratings", [("127.0.30.2", "v1")])


def test_a_proxy_that_does_not_answer_is_named_and_shown_as_behind(plane: Plane):
    async def main():
        async with proxy(plane) as client:
            await said(plane, "status", until="SYNCED")
            client.silent = True
            late = await apply(plane, ratings(), "--wait=1", ok=False)
            shown = await said(plane, "status", until="BEHIND")
        return late, shown

    late, shown = asyncio.run(main())

    assert "serviceentry/ratings created\n" in late
    assert "error: not in force everywhere after 1 s: 0 of 1 proxies acknowledged" in late
    assert "not yet: web-1.default (Cluster: outbound|9080||ratings." in late
    assert late.endswith("see: plait status --watch\n")
    assert "web-1.default   sidecar   BEHIND" in shown
    assert "Cluster: outbound|9080||ratings.default.svc.cluster.local" in shown


def test_a_proxy_that_leaves_is_not_waited_for(plane: Plane):
    async def main():
        async with asyncio.TaskGroup() as group, proxy(plane) as client:
            client.silent = True
            waiting = group.create_task(apply(plane, ratings(), "--wait"))
            await client.until(lambda: "ratings" in str(client.versions[CLUSTER]))
        return waiting.result()

    assert asyncio.run(main()).endswith("no proxy is connected: it takes effect when one is\n")


def test_what_a_proxy_refuses_fails_the_wait_in_its_own_words(plane: Plane):
    async def main():
        async with proxy(plane) as client:
            client.judge = lambda response: (
                "no such cluster can be" if "ratings" in str(response.resources) else None
            )
            refused = await apply(plane, ratings(), "--wait", ok=False)
            shown = await said(plane, "status", until="PLT9002")
            described = await asyncio.to_thread(plane.run, "describe", "se/ratings")
            failing = await asyncio.to_thread(plane.run, "status", "--exit-code", ok=False)
            other = await apply(plane, istio.entry("more", [("127.0.30.3", "v1")]), "--wait")
        return refused, shown, described, failing, other

    refused, shown, described, failing, other = asyncio.run(main())

    assert "error: Envoy refused outbound|9080||ratings.default.svc.cluster.local: " in refused
    assert "no such cluster can be" in refused
    assert "What was in force before stays" in refused
    assert "error ServiceEntry default/ratings (api): PLT9002 Envoy refused" in shown
    assert "Envoy refused outbound|9080||ratings" in described
    assert failing.startswith("PROXY")
    assert other.endswith("in force: 1 of 1 proxies acknowledged\n")


def test_delete_waits_as_well(plane: Plane):
    async def main():
        async with proxy(plane) as client:
            gone = await asyncio.to_thread(plane.run, "delete", "se/reviews", "--wait")
            held = client.versions[CLUSTER]
        return gone, held

    gone, held = asyncio.run(main())

    assert gone.endswith("in force: 1 of 1 proxies acknowledged\n")
    assert "reviews" not in str(held)
