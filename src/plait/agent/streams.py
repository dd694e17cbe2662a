"""Streams of gRPC that have two sides."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def until_one_ends(*parts: Coroutine[Any, Any, None], name: str) -> None:
    """Run all until one ends, and end the others; `name` is that of their tasks."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part, name=name) for part in parts]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
