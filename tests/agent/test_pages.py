"""What the agent takes from an application."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from aiohttp import web

from plait.agent.pages import fetched


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
