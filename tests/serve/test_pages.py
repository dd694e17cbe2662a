"""The pages beside the objects, over a real store and engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from plait.base.clock import WallClock
from plait.config import catalog, codec
from plait.config.kinds.observed import Rejection
from plait.config.meta import Key
from plait.config.ports import Change
from plait.config.record import Write
from plait.config.store import Store
from plait.serve.ads import Ads
from plait.serve.named import UnknownProxyError
from plait.serve.pages import MeshPages
from plait.xds import protos
from plait.xds.resource import LISTENER, ROUTES
from tests.support import istio, workloads
from tests.support.api_server import until
from tests.support.served import serving
from tests.support.stores import config_map
from tests.support.xds_client import connected, node

UNRELATED = {"metadata": {"name": "c", "namespace": "default"}}
REVIEWS = catalog.KINDS["VirtualService"].key("default", "reviews")


def change(document: dict[str, Any]) -> Write:
    found = codec.decode(document)
    assert isinstance(found, Change)
    return Write(key=found.key, change=found)


def played(story: Callable[[Store, MeshPages], Awaitable[None]]) -> None:
    async def main() -> None:
        store = await Store.open(None, WallClock())
        running = asyncio.ensure_future(store.run())
        try:
            await story(store, MeshPages(store, Ads(store)))
        finally:
            running.cancel()
            await store.close()

    asyncio.run(main())


def words(pages: MeshPages, key: Key) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.message) for c in pages.conditions(key)}


def test_conditions_name_what_is_missing_and_forget_it_when_it_comes():
    async def story(store: Store, pages: MeshPages) -> None:
        entry = istio.entry("reviews", [("10.0.0.1", "v1")])
        await store.commit([change(entry)])
        await store.commit(
            [change(istio.virtual_service("reviews", istio.weights("reviews", v1=100)))]
        )
        before = words(pages, REVIEWS)["Resolved"]
        await store.commit([change(istio.rule("reviews", "v1"))])

        assert before[0] == "False"
        assert "PLT2004" in before[1]
        assert words(pages, REVIEWS)["Resolved"][0] == "True"

    played(story)


def test_a_rejection_shows_envoys_words_until_it_goes():
    async def story(store: Store, pages: MeshPages) -> None:
        await store.commit([change(istio.virtual_service("reviews", {"route": [istio.to("x")]}))])
        refused = Rejection(
            digest="d", name="host", proxy="p", error="bad header", objects=(str(REVIEWS),)
        )
        await store.observe([("Rejection", "d", refused)])
        with_it = words(pages, REVIEWS)
        troubled = pages.status()["objects"][0]
        await store.observe([("Rejection", "d", None)])

        assert "bad header" in with_it["Rejected"][1]
        assert troubled["rejections"] == [{"part": "host", "proxy": "p", "error": "bad header"}]
        assert "Rejected" not in words(pages, REVIEWS)

    played(story)


def test_followers_are_told_of_objects_whose_standing_changed():
    async def story(store: Store, pages: MeshPages) -> None:
        await store.commit([change(istio.entry("reviews", [("10.0.0.1", "v1")]))])
        route = istio.virtual_service("reviews", istio.weights("reviews", v1=100))
        await store.commit([change(route)])
        told: list[Key] = []
        stop = pages.follow_conditions(told.append)
        await asyncio.sleep(0.05)
        told.clear()
        await store.commit([change(istio.rule("reviews", "v1"))])
        stop()

        assert REVIEWS in told

    played(story)


def test_who_begins_to_follow_is_told_of_changes_only():
    async def story(store: Store, pages: MeshPages) -> None:
        await store.commit([change(istio.entry("reviews", [("10.0.0.1", "v1")]))])
        told: list[Key] = []
        stop = pages.follow_conditions(told.append)
        await store.commit([change({"apiVersion": "v1", "kind": "ConfigMap", **UNRELATED})])
        before = list(told)
        route = istio.virtual_service("reviews", istio.weights("reviews", v1=100))
        await store.commit([change(route)])
        await store.commit([change(istio.rule("reviews", "v1"))])
        stop()

        assert before == []
        assert REVIEWS in told

    played(story)


def test_without_proxies_everything_is_delivered_and_says_so():
    async def story(store: Store, pages: MeshPages) -> None:
        await store.commit([change(istio.virtual_service("reviews", {"route": [istio.to("x")]}))])

        page = await pages.delivered(store.revision)

        assert (page["proxies"], page["rejections"]) == (0, [])
        assert words(pages, REVIEWS)["Delivered"] == ("Unknown", "no proxy is connected")

    played(story)


@pytest.mark.parametrize("what", ["clusters", "all", "nonsense"])
def test_the_configuration_of_nobody_is_nothing(what: str):
    async def story(store: Store, pages: MeshPages) -> None:
        del store
        with pytest.raises(UnknownProxyError, match=r'"nobody" is not connected'):
            pages.config("nobody", what)
        with pytest.raises(UnknownProxyError, match=r'"nobody" is not connected'):
            pages.why_resource("route", "80", "nobody")
        assert pages.why_resource("route", "80", "") is None

    played(story)


def test_a_policy_names_the_proxy_that_cannot_be_strict_while_it_is_connected():
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "all", "namespace": "demo"},
        "spec": {"mtls": {"mode": "STRICT"}},
    }

    async def story() -> None:
        async with serving() as plane:
            pages = MeshPages(plane.store, plane.ads)
            await plane.apply(policy)
            strict = catalog.KINDS["PeerAuthentication"].key("demo", "all")
            before = words(pages, strict)["Resolved"]
            async with connected(plane.address, node=node()) as client:
                await client.subscribe(LISTENER)
                await client.has(LISTENER, "virtualInbound")
                status, message = words(pages, strict)["Resolved"]
                (troubled,) = pages.status()["objects"]

        assert before[0] == "True"
        assert (status, message.partition(" ")[0]) == ("True", "PLT3008")
        assert [one["code"] for one in troubled["findings"]] == ["PLT3008"]

    asyncio.run(story())


def test_followers_are_told_of_objects_that_were_only_acknowledged():
    async def story() -> None:
        async with serving() as plane, connected(plane.address, node=node()) as client:
            pages = MeshPages(plane.store, plane.ads)
            await plane.apply(istio.entry("reviews", [("10.0.0.1", "v1")]))
            await client.subscribe(ROUTES, "9080")
            await client.has(ROUTES, "9080")
            route = istio.virtual_service("reviews", {"route": [istio.to("reviews")]})
            client.silent = True
            await plane.apply(route)
            await client.until(lambda: len(client.responses) == 2, "the route")
            assert words(pages, REVIEWS)["Delivered"][0] == "False"
            delivered = asyncio.Event()

            def changed(key: Key) -> None:
                if key == REVIEWS and words(pages, key)["Delivered"][0] == "True":
                    delivered.set()

            stop = pages.follow_conditions(changed)
            request = protos.DeltaDiscoveryRequest(response_nonce=client.responses[-1].nonce)
            await client.request(request, ROUTES)
            async with asyncio.timeout(10):
                await delivered.wait()
            stop()

    asyncio.run(story())


def test_what_is_acknowledged_is_told_in_the_order_in_which_it_was_written():
    async def story() -> None:
        async with serving() as plane, connected(plane.address, node=node()) as client:
            pages = MeshPages(plane.store, plane.ads)
            await plane.apply(istio.entry("reviews", [("10.0.0.1", "v1")]))
            await client.subscribe(ROUTES, "9080")
            await client.has(ROUTES, "9080")
            client.silent = True
            route = istio.virtual_service("reviews", {"route": [istio.to("reviews")]})
            await plane.apply(istio.entry("ratings", [("10.0.0.2", "v1")]), route)
            await client.until(lambda: len(client.responses) == 2, "the table")
            told: list[Key] = []
            stop = pages.follow_conditions(told.append)
            request = protos.DeltaDiscoveryRequest(response_nonce=client.responses[-1].nonce)
            await client.request(request, ROUTES)
            await until(lambda: len(told) >= 2, "what is acknowledged")
            stop()

            assert told == [catalog.KINDS["ServiceEntry"].key("default", "ratings"), REVIEWS]

    asyncio.run(story())


def test_status_names_workloads_that_are_wrong_and_not_what_is_made_of_them(tmp_path: Path):
    """Also after a restart, when the Pods' documents are read again."""
    extra = {"imagePullPolice": "Always", "resources": {"limits": {"cpu": "1"}}}
    wrong = workloads.deployment(container=extra)
    data = {**config_map("settings"), "binary": {}}

    async def troubled(land: workloads.Land) -> list[tuple[str, list[str]]]:
        await land.until(lambda: land.store.records("Deployment"))
        await land.rolled_out("web")
        page = MeshPages(land.store, Ads(land.store)).status()
        return [
            (one["object"], [finding["path"] for finding in one["findings"]])
            for one in page["objects"]
        ]

    async def story() -> None:
        async with workloads.land(tmp_path) as land:
            await land.put(wrong)
            await land.put(data)
            first = await troubled(land)
        async with workloads.land(tmp_path) as land:
            again = await troubled(land)
            made = land.names("ReplicaSet") + land.names("Pod")

        assert first == [
            ("ConfigMap demo/settings", ["binary"]),
            ("Deployment demo/web", [f"spec.template.spec.containers[0].{name}" for name in extra]),
        ]
        assert again == first
        assert len(made) == 2

    asyncio.run(story())
