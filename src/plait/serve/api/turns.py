"""Long work in turns: the loop goes on serving while a list of ten thousand is made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

TURN = 0.005
"""Seconds of work between two turns of the loop."""


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """The items; what is done to make and to use each of them counts as work."""
    end = time.perf_counter() + TURN
    for item in items:
        yield item
        if time.perf_counter() >= end:
            await asyncio.sleep(0)
            end = time.perf_counter() + TURN


async def encoded(values: Iterable[Any]) -> list[msgspec.Raw]:
    """Each value as JSON, to be put into a larger one as it is."""
    return [msgspec.Raw(msgspec.json.encode(value)) async for value in in_turns(values)]
