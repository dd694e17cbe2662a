import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from plait.base.errors import AddressInUseError
from plait.serve.ads import Ads
from plait.xds import protos
from plait.xds.resource import CLUSTER, ENDPOINTS, LISTENER, PREFIX, ROUTES
from tests.support import mesh
from tests.support.served import serving
from tests.support.xds_client import Client, connected, node

REVIEWS = "outbound|9080||reviews.demo.svc.cluster.local"
RATINGS = "outbound|9080||ratings.demo.svc.cluster.local"


def service(name: str, ip: str = "10.96.0.1") -> str:
    return mesh.service(name, "http:9080", ip=ip)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await story()

    asyncio.run(bounded())


async def everything(client: Client, *hosts: str) -> None:
    """Ask for what an Envoy asks for."""
    await client.subscribe(CLUSTER)
    await client.has(CLUSTER, *hosts)
    await client.subscribe(ENDPOINTS, *hosts)
    await client.until(lambda: client.messages[ENDPOINTS], "endpoints")
    await client.subscribe(LISTENER)
    await client.has(LISTENER, "virtualOutbound")
    await client.subscribe(ROUTES, "9080")
    await client.has(ROUTES, "9080")


@pytest.mark.parametrize("delta", [True, False])
def test_a_small_client_gets_clusters_endpoints_listeners_and_routes(delta: bool):
    async def story() -> None:
        async with serving() as plane:
            revision = await plane.put(service("reviews"))
            async with connected(plane.address, delta=delta, node=node()) as client:
                await everything(client, REVIEWS)
                await plane.until(lambda: plane.ads.delivered() == revision, "delivery")

    run(story)


def test_a_change_reaches_every_client_and_is_told_as_delivered():
    async def story() -> None:
        async with serving() as plane:
            await plane.put(service("reviews"))
            async with (
                connected(plane.address, node=node("sidecar~10.0.0.1~a.demo~x")) as first,
                connected(plane.address, node=node("sidecar~10.0.0.2~b.demo~x")) as second,
            ):
                for client in (first, second):
                    await everything(client, REVIEWS)
                revision = await plane.put(service("ratings", "10.96.0.2"))
                for client in (first, second):
                    await client.has(CLUSTER, RATINGS)
                    await client.subscribe(ENDPOINTS, RATINGS)
                await plane.until(lambda: plane.ads.delivered() == revision, "delivery")

    run(story)


def test_a_client_is_told_from_its_node():
    async def story() -> None:
        async with serving() as plane:
            who = node(
                "sidecar~10.0.0.9~web-1.shop~shop.svc.cluster.local",
                labels={"app": "web"},
                INSTANCE_IPS="10.0.0.9,fd00::9",
            )
            who.user_agent_build_version.version.major_number = 1
            who.user_agent_build_version.version.minor_number = 40
            async with connected(plane.address, node=who) as client:
                await client.subscribe(CLUSTER)
                await client.until(lambda: client.responses)
                [proxy] = plane.ads.proxies()
            await plane.until(lambda: not plane.ads.proxies(), "leaving")

        assert (proxy.role, proxy.namespace, proxy.address) == ("sidecar", "shop", "10.0.0.9")
        assert (proxy.labels, proxy.version) == ({"app": "web"}, "1.40.0")

    run(story)


def test_a_refusal_is_shown_with_its_words_and_others_go_on():
    async def story() -> None:
        async with serving() as plane:
            await plane.put(service("reviews"))
            async with (
                connected(plane.address, node=node("sidecar~10.0.0.1~a.demo~x")) as bad,
                connected(plane.address, node=node("sidecar~10.0.0.2~b.demo~x")) as good,
            ):
                await everything(good, REVIEWS)
                bad.judge = lambda response: "not today" if response.resources else None
                await bad.subscribe(CLUSTER)
                await plane.until(
                    lambda: any(t.error for p in plane.ads.proxies() for t in p.types), "refusal"
                )
                first, second = plane.ads.proxies()
                assert [(t.error, t.synced) for t in first.types] == [("not today", False)]
                assert REVIEWS in first.types[0].refused
                assert second.synced
                await plane.put(service("ratings", "10.96.0.2"))
                await good.has(CLUSTER, RATINGS)

    run(story)


def test_a_client_that_does_not_read_gets_the_newest_when_it_does():
    async def story() -> None:
        async with serving() as plane:
            await plane.put(service("reviews"))
            async with connected(plane.address, node=node(), silent=True) as client:
                await client.subscribe(CLUSTER)
                await client.has(CLUSTER, REVIEWS)
                for number in range(20):
                    await plane.put(service(f"more-{number}", f"10.97.0.{number}"))
                client.silent = False
                ack = protos.DeltaDiscoveryRequest(response_nonce=client.responses[-1].nonce)
                await client.request(ack, CLUSTER)
                await client.has(CLUSTER, "outbound|9080||more-19.demo.svc.cluster.local")

                assert client.messages[CLUSTER] == 2

    run(story)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xff\xff", "not a DeltaDiscoveryRequest"),
        (
            protos.DeltaDiscoveryRequest(type_url=f"{PREFIX}no.such.Type").SerializeToString(),
            'unknown resource type "type.googleapis.com/no.such.Type"',
        ),
        (protos.DeltaDiscoveryRequest().SerializeToString(), 'unknown resource type ""'),
    ],
)
def test_a_request_that_cannot_be_understood_ends_that_stream_only(data: bytes, words: str):
    async def story() -> None:
        async with serving() as plane, connected(plane.address, node=node()) as other:
            await other.subscribe(CLUSTER)
            await other.until(lambda: other.responses)
            async with grpc.aio.insecure_channel(plane.address) as channel:
                path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
                call: Any = channel.stream_stream(f"{path}DeltaAggregatedResources")()
                await call.write(data)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call.read()
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                assert words in caught.value.details()
            await plane.put(service("reviews"))
            await other.has(CLUSTER, REVIEWS)

    run(story)


def test_a_bug_that_a_look_at_the_clock_meets_ends_that_stream_only():
    async def story() -> None:
        async with serving() as plane:
            await plane.put(service("reviews"))
            async with connected(plane.address, node=node()) as good:
                await everything(good, REVIEWS)
                [first] = plane.ads.sessions()
                async with connected(plane.address, node=node()) as bad:
                    await everything(bad, REVIEWS)
                    [session] = set(plane.ads.sessions()) - {first}
                    stream = session.stream
                    assert stream is not None
                    await plane.until(lambda: stream.acknowledged is None, "all in sync")
                    stream.deadline = "broken"  # type: ignore[assignment]
                    await plane.until(lambda: plane.ads.sessions() == (first,), "its end")
                await plane.put(service("ratings", "10.96.0.2"))
                await good.has(CLUSTER, RATINGS)

    run(story)


def test_a_bug_of_who_follows_the_proxies_ends_nothing():
    async def story() -> None:
        async with serving() as plane:
            failed, told = asyncio.Event(), asyncio.Event()

            def follower() -> None:
                if failed.is_set():
                    told.set()
                else:
                    failed.set()
                    raise KeyError("our bug")

            plane.ads.follow(follower)
            async with connected(plane.address, node=node()) as client:
                await client.subscribe(CLUSTER)
                await failed.wait()
                await plane.put(service("reviews"))
                await client.has(CLUSTER, REVIEWS)
                await told.wait()

    run(story)


def test_a_unix_socket_that_nobody_listens_at_is_replaced(tmp_path: Path):
    path = tmp_path / "xds.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    async def story() -> None:
        async with (
            serving(f"unix:{path}") as plane,
            connected(plane.address, node=node()) as client,
        ):
            await client.subscribe(CLUSTER)
            await client.until(lambda: client.responses)

    run(story)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_an_address_that_is_taken_is_named(kind: str, tmp_path: Path):
    async def story() -> None:
        address = "127.0.0.1:0" if kind == "tcp" else f"unix:{tmp_path}/xds.sock"
        async with serving(address) as plane:
            taken = plane.address
            other = Ads(plane.store)
            with pytest.raises(AddressInUseError, match=taken.rpartition(":")[2]):
                await other.serve([taken])

    run(story)


def test_a_refused_part_is_held_back_for_a_proxy_that_starts_later():
    async def story() -> None:
        async with serving() as plane:
            await plane.put(service("reviews"), service("ratings", "10.96.0.2"))
            who = node("sidecar~10.0.0.1~a.demo~x")
            async with connected(plane.address, node=who) as client:
                text = f"Error adding/updating cluster(s) {RATINGS}: bad"
                client.judge = lambda r: (
                    text if any(one.name == RATINGS for one in r.resources) else None
                )
                await client.subscribe(CLUSTER)
                await plane.until(lambda: RATINGS in client_removed(client), "removal")
            async with connected(plane.address, node=node("sidecar~10.0.0.2~b.demo~x")) as late:
                await late.subscribe(CLUSTER)
                await late.has(CLUSTER, REVIEWS)
                assert RATINGS not in late.versions[CLUSTER]

    run(story)


def client_removed(client: Client) -> set[str]:
    return {name for _, _, removed in client.log() for name in removed}
