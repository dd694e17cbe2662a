"""The relay between a proxy and its control plane, with a real one in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from plait.agent.relay import Relay
from plait.xds import protos
from plait.xds.resource import CLUSTER, ENDPOINTS, HOSTS, LISTENER, PREFIX, ROUTES
from tests.support import mesh, relay
from tests.support.served import Plane, serving
from tests.support.xds_client import Client, connected, node

REVIEWS = "outbound|9080||reviews.demo.svc.cluster.local"
RATINGS = "outbound|9080||ratings.demo.svc.cluster.local"
Held = Mapping[str, Mapping[str, str]]


class Agent:
    """A relay that runs, and what it says of names."""

    def __init__(self, directory: Path, upstream: str) -> None:
        self.tables: list[Mapping[str, tuple[str, ...]]] = []
        self.socket = directory / "agent.sock"
        self.cache = directory / "cache"
        self.relay = Relay(self.socket, self.cache, upstream, on_hosts=self.tables.append)

    @asynccontextmanager
    async def proxy(self, held: Held | None = None) -> AsyncIterator[Client]:
        """A proxy's stream, begun in Envoy's way by one that holds these versions."""
        async with connected(f"unix:{self.socket}", node=node()) as client:
            held = held or {}
            await client.subscribe(CLUSTER, initial=held.get(CLUSTER))
            if held:
                for type_url, names in held.items():
                    if type_url != CLUSTER:
                        wanted = () if type_url == LISTENER else tuple(names)
                        await client.subscribe(type_url, *wanted, initial=names)
            yield client


@asynccontextmanager
async def running(directory: Path, upstream: str | None = None) -> AsyncIterator[Agent]:
    agent = Agent(directory, upstream or f"unix:{directory}/plane.sock")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.relay.run())
        await until(agent.socket.exists, "the agent's socket")
        try:
            yield agent
        finally:
            task.cancel()


@asynccontextmanager
async def plane_at(directory: Path, *names: str) -> AsyncIterator[Plane]:
    """A control plane that always has the same address."""
    async with serving(f"unix:{directory}/plane.sock") as plane:
        for number, name in enumerate(names or ("reviews",), 1):
            await plane.put(service(name, f"10.96.0.{number}"))
        yield plane


@asynccontextmanager
async def both(
    directory: Path, *names: str
) -> AsyncIterator[tuple[Plane, Agent, Callable[[], Awaitable[None]]]]:
    """A control plane, an agent that finds it, and the way to end the control plane."""
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(plane_at(directory, *names))
        async with running(directory) as agent:
            yield plane, agent, stack.aclose


def service(name: str, ip: str) -> str:
    return mesh.service(name, "http:9080", ip=ip)


async def until(holds: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110 - what is looked at has no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within 10 s: {what}") from None


async def everything(client: Client, *hosts: str) -> None:
    """Ask for what a starting Envoy asks for, and wait for it."""
    await client.has(CLUSTER, *hosts)
    await client.subscribe(ENDPOINTS, *hosts)
    await client.has(ENDPOINTS, *hosts)
    await client.subscribe(LISTENER)
    await client.has(LISTENER, "virtualOutbound")
    await client.subscribe(ROUTES, "9080")
    await client.has(ROUTES, "9080")


async def ended(client: Client) -> None:
    async with asyncio.timeout(10):
        await client.ended.wait()


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(40):
            await story()

    asyncio.run(bounded())


async def filled(directory: Path, *hosts: str) -> Held:
    """Let a proxy take everything through an agent, and end all; what the proxy holds."""
    names = [host.split("||")[1].split(".")[0] for host in hosts]
    async with (
        plane_at(directory, *names) as plane,
        running(directory) as agent,
        agent.proxy() as client,
    ):
        await everything(client, *hosts)
        await plane.until(lambda: synced(plane), "sync")
        return client.versions


def synced(plane: Plane) -> bool:
    found = plane.ads.proxies()
    return bool(found) and all(one.synced for one in found)


def table(agent: Agent) -> Mapping[str, tuple[str, ...]]:
    """What names mean, as last told."""
    return agent.tables[-1] if agent.tables else {}


def refused(plane: Plane) -> bool:
    return any(one.error for proxy in plane.ads.proxies() for one in proxy.types)


def test_a_proxy_is_told_what_the_control_plane_says(tmp_path: Path):
    async def story() -> None:
        async with plane_at(tmp_path) as plane, running(tmp_path) as agent:
            async with agent.proxy() as client:
                await everything(client, REVIEWS)
                await plane.put(service("ratings", "10.96.0.9"))
                await client.has(CLUSTER, RATINGS)

                [proxy] = plane.ads.proxies()
                assert agent.relay.state == "relaying"
                assert (proxy.id, proxy.address) == (node().id, "10.0.0.1")
            await plane.until(lambda: not plane.ads.proxies(), "the proxy's leaving")
            await until(lambda: agent.relay.state == "waiting", "the stream's end")

    run(story)


def test_a_fresh_proxy_is_served_what_the_last_accepted_while_the_control_plane_is_away(
    tmp_path: Path,
):
    async def story() -> None:
        async with both(tmp_path, "reviews", "ratings") as (plane, agent, stop):
            async with agent.proxy() as first:
                await everything(first, REVIEWS, RATINGS)
                await plane.until(lambda: synced(plane), "sync")
            await stop()
            async with agent.proxy() as fresh:
                await everything(fresh, REVIEWS, RATINGS)

                assert agent.relay.state == "local"
                assert fresh.resources == first.resources
                assert fresh.versions == first.versions

    run(story)


def test_streams_end_when_the_control_plane_goes_and_comes_and_nothing_is_sent_again(
    tmp_path: Path,
):
    async def story() -> None:
        async with both(tmp_path) as (plane, agent, stop):
            async with agent.proxy() as first:
                await everything(first, REVIEWS)
                await plane.until(lambda: synced(plane), "sync")
                await stop()
                await ended(first)
            held = first.versions
            async with agent.proxy(held) as second:
                await until(lambda: agent.relay.state == "local", "service from the cache")
                async with plane_at(tmp_path) as back:
                    await ended(second)
                    async with agent.proxy(held) as third:
                        await back.until(lambda: synced(back), "sync")
                        assert (second.log(), third.log()) == ([], [])
                        assert agent.relay.state == "relaying"

                        await back.put(service("ratings", "10.96.0.9"))
                        await third.has(CLUSTER, RATINGS)

    run(story)


def test_what_a_proxy_refused_is_never_served(tmp_path: Path):
    async def story() -> None:
        async with both(tmp_path) as (plane, agent, stop):
            async with agent.proxy() as client:
                await everything(client, REVIEWS)
                client.judge = lambda r: "no" if r.type_url == CLUSTER else None
                await plane.put(service("ratings", "10.96.0.9"))
                await plane.until(lambda: refused(plane), "a refusal")
            await stop()
            async with agent.proxy() as fresh:
                await everything(fresh, REVIEWS)

                assert RATINGS not in fresh.versions[CLUSTER]

    run(story)


def test_what_was_removed_is_not_served_again(tmp_path: Path):
    async def story() -> None:
        async with both(tmp_path, "reviews", "ratings") as (plane, agent, stop):
            async with agent.proxy() as client:
                await everything(client, REVIEWS, RATINGS)
                [key] = [c.key for c in mesh.changes(service("ratings", "10.96.0.2"))]
                await plane.delete(key)
                await client.until(lambda: RATINGS not in client.versions[CLUSTER], "removal")
                await plane.until(lambda: synced(plane), "sync")
            await stop()
            async with agent.proxy() as fresh:
                await everything(fresh, REVIEWS)

                assert RATINGS not in fresh.versions[CLUSTER]

    run(story)


def test_a_fresh_proxy_takes_over_from_one_that_held_more(tmp_path: Path):
    async def story() -> None:
        await filled(tmp_path, REVIEWS, RATINGS)
        async with both(tmp_path) as (plane, agent, stop):
            async with agent.proxy() as client:
                await everything(client, REVIEWS)
                await plane.until(lambda: synced(plane), "sync")
            await stop()
            async with agent.proxy() as fresh:
                await everything(fresh, REVIEWS)

                assert fresh.versions[CLUSTER] == client.versions[CLUSTER]

    run(story)


def test_a_new_agent_serves_what_an_old_one_kept(tmp_path: Path):
    async def story() -> None:
        held = await filled(tmp_path, REVIEWS)
        async with running(tmp_path) as agent, agent.proxy() as fresh:
            await everything(fresh, REVIEWS)

            assert agent.relay.state == "local"
            assert fresh.versions == held

    run(story)


@pytest.mark.parametrize("content", [None, b"damaged", b""])
def test_an_agent_without_a_cache_loses_nothing_of_a_proxy_that_runs(
    tmp_path: Path, content: bytes | None
):
    async def story() -> None:
        held = await filled(tmp_path, REVIEWS)
        cache = tmp_path / "cache"
        cache.unlink()
        if content is not None:
            cache.write_bytes(content)
        async with running(tmp_path) as agent:
            async with AsyncExitStack() as stack:
                async with agent.proxy(held) as client:
                    plane = await stack.enter_async_context(plane_at(tmp_path))
                    await ended(client)
                assert client.log() == []
                async with agent.proxy(held) as back:
                    await plane.until(lambda: synced(plane), "sync")
                    await until(lambda: back.versions == held, "what it holds")
            async with agent.proxy() as fresh:
                await everything(fresh, REVIEWS)
                assert fresh.versions == held

    run(story)


def test_a_change_that_is_missed_by_the_cache_does_not_come_back_to_a_proxy_that_runs(
    tmp_path: Path,
):
    async def story() -> None:
        held = await filled(tmp_path, REVIEWS)
        newer = {**held, CLUSTER: {**held[CLUSTER], REVIEWS: "newer"}}
        async with running(tmp_path) as agent, agent.proxy(newer) as client:
            await client.subscribe(ROUTES, "unknown")
            await client.subscribe(ENDPOINTS, RATINGS)
            await until(lambda: agent.relay.state == "local", "service from the cache")

            assert client.log() == []

    run(story)


def test_the_control_planes_reason_for_ending_a_stream_is_passed_on(tmp_path: Path):
    async def story() -> None:
        async with both(tmp_path) as (_, agent, _), agent.proxy() as client:
            await client.has(CLUSTER, REVIEWS)
            request: Any = protos.DeltaDiscoveryRequest()
            await client.request(request, f"{PREFIX}no.such.Type")
            await ended(client)

            assert client.error is not None
            assert client.error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "no.such.Type" in str(client.error.details())

    run(story)


def test_names_of_the_mesh_are_told_at_each_change_and_by_a_new_agent_from_its_cache(
    tmp_path: Path,
):
    reviews, ratings = (f"{name}.demo.svc.cluster.local" for name in ("reviews", "ratings"))

    async def story() -> None:
        async with both(tmp_path) as (plane, agent, stop):
            async with agent.proxy() as client:
                await everything(client, REVIEWS)
                await until(lambda: table(agent) == {reviews: ("10.96.0.1",)}, "a first table")
                await plane.put(service("ratings", "10.96.0.9"))
                await until(lambda: table(agent).get(ratings) == ("10.96.0.9",), "another name")
                [key] = [c.key for c in mesh.changes(service("reviews", "10.96.0.1"))]
                await plane.delete(key)
                await until(lambda: table(agent) == {ratings: ("10.96.0.9",)}, "a name less")
                await plane.until(lambda: synced(plane), "sync")

                assert HOSTS not in client.messages
            await stop()
        async with running(tmp_path) as new:
            assert new.tables == [{ratings: ("10.96.0.9",)}]
            async with AsyncExitStack() as stack:
                async with new.proxy() as client:
                    await stack.enter_async_context(plane_at(tmp_path, "other", "ratings"))
                    await ended(client)
                async with new.proxy() as client:
                    await client.has(CLUSTER, RATINGS)
                    expected = {"other.demo.svc.cluster.local", ratings}
                    await until(lambda: set(table(new)) == expected, "what changed meanwhile")

    run(story)


def test_an_agent_that_learned_nothing_tells_and_leaves_nothing(tmp_path: Path):
    async def story() -> None:
        async with running(tmp_path) as agent:
            assert agent.tables == []
            assert agent.socket.stat().st_mode & 0o666 == 0o666  # for Envoy's own user

    run(story)
    assert list(tmp_path.iterdir()) == []


def test_many_relays_of_an_agent_share_one_connection(tmp_path: Path):
    async def story() -> None:
        async with serving() as plane, AsyncExitStack() as stack:
            await plane.put(service("reviews", "10.96.0.1"))
            wire = stack.enter_context(relay.Relay(plane.address))
            for number in range(10):
                directory = tmp_path / str(number)
                directory.mkdir()
                agent = await stack.enter_async_context(running(directory, wire.address))
                client = await stack.enter_async_context(agent.proxy())
                await client.has(CLUSTER, REVIEWS)

            assert wire.connections == 1
            assert len(plane.ads.proxies()) == 10

    run(story)


def test_a_proxy_that_does_not_read_holds_up_no_other_and_gets_the_newest_when_it_does(
    tmp_path: Path,
):
    async def story() -> None:
        async with (
            both(tmp_path) as (plane, agent, _),
            connected(f"unix:{agent.socket}", node=node(), silent=True) as slow,
            agent.proxy() as quick,
        ):
            await slow.subscribe(CLUSTER)
            await slow.has(CLUSTER, REVIEWS)
            for number in range(20):
                await plane.put(service(f"more-{number}", f"10.97.0.{number}"))
            last = "outbound|9080||more-19.demo.svc.cluster.local"
            await quick.has(CLUSTER, last)
            slow.silent = False
            ack = protos.DeltaDiscoveryRequest(response_nonce=slow.responses[-1].nonce)
            await slow.request(ack, CLUSTER)
            await slow.has(CLUSTER, last)

            assert slow.messages[CLUSTER] == 2

    run(story)
