"""What the agent takes from an application, and asks of Envoy, in the name of a Pod."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import cast

import aiohttp
import pytest
from aiohttp import web

from plait.agent import pages
from plait.agent.admin import Admin
from plait.agent.pages import Pages, fetched
from tests.support.api_server import until
from tests.support.plane import free_port


@pytest.mark.parametrize("compressed", [False, True])
def test_a_page_without_end_is_not_taken(compressed: bool):
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        if compressed:
            answer.enable_compression()
        await answer.prepare(request)
        for _ in itertools.count():
            await answer.write(bytes(1024 * 1024))
        return answer

    async def story() -> None:
        app = web.Application()
        app.add_routes([web.get("/metrics", endless)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            [address] = runner.addresses
            with pytest.raises(ValueError, match="more than"):
                await fetched("", f"http://127.0.0.1:{address[1]}/metrics")
        finally:
            await runner.cleanup()

    asyncio.run(story())


class Stuck:
    """A proxy whose Envoy takes questions and does not answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.over = threading.Event()
        self.admin = cast("Admin", self)

    def is_ready(self) -> bool:
        return True

    def is_live(self) -> bool:
        self.asked += 1
        return not self.over.wait(20)

    def own_metrics(self) -> str:
        return ""

    def quit(self) -> None:
        return None


def test_an_envoy_that_is_stuck_holds_up_nobody_elses(monkeypatch: pytest.MonkeyPatch):
    port = free_port()
    monkeypatch.setattr(pages, "AGENT_PORT", port)
    monkeypatch.setattr(pages, "HEALTH_PORT", free_port())

    async def ask(session: aiohttp.ClientSession) -> None:
        async with session.get(f"http://127.0.0.1:{port}/healthz/ready") as answer:
            assert answer.status == 503

    async def story() -> None:
        proxy, up = Stuck(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(Pages(proxy, "", "").run(up.set))
            await up.wait()
            async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as asking:
                try:
                    for _ in range(40):
                        asking.create_task(ask(session))
                    await until(lambda: proxy.asked, "a question")
                    async with asyncio.timeout(5):
                        await asyncio.to_thread(int)
                finally:
                    proxy.over.set()
            serving.cancel()

    asyncio.run(story())
