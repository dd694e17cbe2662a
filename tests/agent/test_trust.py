"""Whom to trust comes by the relayed stream, and is acknowledged when the proxy has taken it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from plait.agent.relay import Relay
from plait.config.kinds.observed import TrustBundle
from plait.serve.session import TypeState
from plait.xds import keys
from plait.xds.resource import CLUSTER, SECRET
from tests.support.served import Plane, serving
from tests.support.xds_client import Client, connected, node


class Trusting:
    """What a proxy makes of whom it is to trust; its answer comes when the test gives it."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.answer = ""
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def take(self, body: bytes) -> None:
        self.taken.append(keys.trusted([body]).decode())

    async def outcome(self) -> str:
        await self.may_answer.wait()
        return self.answer


class Agent:
    def __init__(self, directory: Path, upstream: str) -> None:
        self.trust = Trusting()
        self.socket, self.cache = directory / "agent.sock", directory / "cache"
        self.relay = Relay(
            self.socket, self.cache, upstream, on_hosts=lambda _: None, trust=self.trust
        )

    @asynccontextmanager
    async def proxy(self) -> AsyncIterator[Client]:
        async with connected(f"unix:{self.socket}", node=node(PLAIT_SDS="true")) as client:
            await client.subscribe(CLUSTER)
            yield client


@asynccontextmanager
async def running(directory: Path, upstream: str) -> AsyncIterator[Agent]:
    agent = Agent(directory, upstream)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.relay.run())
        await until(agent.socket.exists)
        try:
            yield agent
        finally:
            task.cancel()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.01)


async def trusted(plane: Plane, *roots: str) -> None:
    bundle = TrustBundle(trust_domain="cluster.local", roots=roots)
    await plane.store.observe([("TrustBundle", "mesh", bundle)])


def is_synced(plane: Plane) -> bool:
    """Whether the proxy has acknowledged its secrets."""
    return any(one.synced for one in secrets(plane))


def secrets(plane: Plane) -> list[TypeState]:
    """How far the proxy is with its secrets; empty: it did not ask yet."""
    return [one for proxy in plane.ads.proxies() for one in proxy.types if one.type == "Secret"]


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def test_whom_to_trust_is_asked_for_by_the_agent_and_never_told_to_the_proxy_itself(
    tmp_path: Path,
):
    async def story() -> None:
        async with serving() as plane, running(tmp_path, plane.address) as agent:
            await trusted(plane, "one")
            async with agent.proxy() as client:
                await until(lambda: agent.trust.taken == ["one"])
                await plane.until(lambda: is_synced(plane), "it is acknowledged")
                await trusted(plane, "one", "two")
                await until(lambda: agent.trust.taken == ["one", "onetwo"])

                assert SECRET not in client.messages

    run(story)


def test_it_is_acknowledged_when_the_proxy_has_taken_it_and_not_before(tmp_path: Path):
    async def story() -> None:
        async with serving() as plane, running(tmp_path, plane.address) as agent:
            await trusted(plane, "one")
            async with agent.proxy():
                await plane.until(lambda: is_synced(plane), "the first is acknowledged")
                agent.trust.may_answer.clear()
                await trusted(plane, "two")
                await until(lambda: len(agent.trust.taken) == 2)
                revision = plane.store.revision
                assert not is_synced(plane)
                agent.trust.may_answer.set()
                await plane.until(lambda: is_synced(plane), "the second is acknowledged")

                assert plane.ads.late(revision) == ()

    run(story)


def test_what_the_proxy_says_against_it_reaches_the_control_plane(tmp_path: Path):
    async def story() -> None:
        async with serving() as plane, running(tmp_path, plane.address) as agent:
            agent.trust.answer = "no certificate"
            await trusted(plane, "damaged")
            async with agent.proxy():
                await plane.until(
                    lambda: any(one.error == "no certificate" for one in secrets(plane)),
                    "the refusal",
                )
                agent.trust.answer = ""
                await trusted(plane, "good")
                await plane.until(lambda: is_synced(plane), "the next is acknowledged")

    run(story)


def test_an_agent_that_begins_while_the_control_plane_is_away_knows_it_from_its_cache(
    tmp_path: Path,
):
    async def story() -> None:
        address = f"unix:{tmp_path}/plane.sock"
        async with serving(address) as plane, running(tmp_path, address) as agent:
            await trusted(plane, "one")
            async with agent.proxy():
                await plane.until(lambda: is_synced(plane), "it is acknowledged")
        assert agent.cache.stat().st_mode & 0o777 == 0o600
        async with running(tmp_path, address) as later:
            assert later.trust.taken == ["one"]
        async with serving(address) as plane, running(tmp_path, address) as last:
            await trusted(plane, "one")
            async with last.proxy():
                await plane.until(lambda: is_synced(plane), "nothing is lacking")

                assert last.trust.taken == ["one"]

    run(story)


def test_a_mesh_without_an_authority_takes_nothing_from_whom_it_trusted(tmp_path: Path):
    async def story() -> None:
        address = f"unix:{tmp_path}/plane.sock"
        async with serving(address) as plane, running(tmp_path, address) as agent:
            await trusted(plane, "one")
            async with agent.proxy():
                await plane.until(lambda: is_synced(plane), "it is acknowledged")
        async with serving(address) as plane, running(tmp_path, address) as agent:
            async with agent.proxy():
                await plane.until(lambda: is_synced(plane), "all is said")
            assert agent.trust.taken == ["one"]
        async with running(tmp_path, address) as later:
            assert later.trust.taken == ["one"]

    run(story)


def test_a_secret_that_the_proxy_asks_for_shares_the_type_with_the_agents(tmp_path: Path):
    async def story() -> None:
        async with serving() as plane, running(tmp_path, plane.address) as agent:
            await trusted(plane, "one")
            async with agent.proxy() as client:
                await until(lambda: agent.trust.taken == ["one"])
                await client.subscribe(SECRET, "kubernetes://none")
                await client.until(lambda: client.messages[SECRET], "an answer about it")
                await trusted(plane, "two")
                await until(lambda: agent.trust.taken == ["one", "two"])
                await plane.until(lambda: is_synced(plane), "all is acknowledged")

                [response] = [r for r in client.responses if r.type_url == SECRET]
                assert list(response.removed_resources) == ["kubernetes://none"]
                assert list(response.resources) == []

    run(story)
