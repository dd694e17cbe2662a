"""Streams of gRPC that have two sides, and those that the state machine of `xds.stream` answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc

from plait.xds.stream import Action, Send, Stream
from plait.xds.wire import read_delta, read_state


async def until_one_ends(*parts: Coroutine[Any, Any, None], name: str) -> None:
    """Run all until one ends, and end the others; `name` is that of their tasks."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part, name=name) for part in parts]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()


class Answering:
    """Says to a proxy what a state machine wants it to be told."""

    def __init__(self, context: Any, stream: Stream, *, delta: bool) -> None:
        self._context = context
        self._stream = stream
        self._read = read_delta if delta else read_state
        self._turn = asyncio.Lock()  # gRPC takes one message at a time
        self._now = asyncio.get_running_loop().time

    async def listen(self, heard: Callable[[list[Action]], None] = lambda _: None) -> None:
        """Answer the proxy until it says no more; `heard` is told first what a request comes to.

        Raises:
            Malformed: it says what cannot be understood.
        """
        is_first = True
        while (data := await self._context.read()) is not grpc.aio.EOF:
            actions = self._stream.on_request(self._read(data, first=is_first), self._now())
            is_first = False
            heard(actions)
            await self._send(actions)

    async def step(self, look: Callable[[float], list[Action]]) -> None:
        """Do what one of the state machine's looks, at the clock or at its topics, comes to."""
        await self._send(look(self._now()))

    async def _send(self, actions: list[Action]) -> None:
        async with self._turn:
            for action in actions:
                if isinstance(action, Send):
                    await self._context.write(action.data)
