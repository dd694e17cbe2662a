"""What callers ask the store for, waiting for its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from typing import Any

from plait.config import batching
from plait.config.record import Record, Write

Row = tuple[str, Hashable, Any]


class Job:
    """What one caller asks for, done whole or not at all.

    Attributes:
        user: durable before it is acknowledged, and checked against what is in force.
        persist: `rows` are kept over a restart.
        outcome: for each write the record in force afterwards.
    """

    def __init__(
        self,
        writes: Sequence[Write] = (),
        rows: Sequence[Row] = (),
        *,
        user: bool = False,
        persist: bool = False,
    ) -> None:
        self.writes = writes
        self.rows = rows
        self.user = user
        self.persist = persist
        self.outcome: tuple[Record | None, ...] = ()
        loop = asyncio.get_running_loop()
        self._done: asyncio.Future[tuple[Record | None, ...]] = loop.create_future()
        kinds = [write.key.kind for write in writes] + [table for table, _, _ in rows]
        self.lane = batching.lane(kinds)

    @property
    def failed(self) -> bool:
        """Whether it failed, or nobody waits for it any more."""
        return self._done.done()

    def fail(self, error: Exception) -> None:
        """Let the caller have an error, unless it has an answer."""
        if not self._done.done():
            self._done.set_exception(error)

    def succeed(self) -> None:
        """Let the caller have the outcome, unless it has an answer."""
        if not self._done.done():
            self._done.set_result(self.outcome)

    async def done(self) -> tuple[Record | None, ...]:
        """Wait for the outcome."""
        return await self._done


class Jobs:
    """Jobs by lane, and when the next of them go."""

    def __init__(self, limits: batching.Limits) -> None:
        self._limits = limits
        self._waiting: dict[batching.Lane, list[Job]] = {}
        self._last: dict[batching.Lane, batching.Push] = {}
        self._wake = asyncio.Event()

    def add(self, job: Job) -> None:
        """Queue a job.  Each caller waits for its own, so callers bound the queue."""
        self._waiting.setdefault(job.lane, []).append(job)
        self._wake.set()

    def wake(self) -> None:
        """Let `sleep` return: there is something to do."""
        self._wake.set()

    async def sleep(self) -> None:
        """Wait until there is something to do, or a lane that waits may go."""
        decision = self._decide()
        if decision.take:
            return
        try:
            async with asyncio.timeout(decision.wait if self._waiting else None):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def take(self) -> list[Job]:
        """The jobs that go now, in the order they were asked for within a lane."""
        lanes = self._decide().take
        return [job for lane in sorted(lanes, key=_first) for job in self._waiting.pop(lane, ())]

    def pushed(self, jobs: Sequence[Job], started: float, cost: float) -> None:
        """Remember a commit of `jobs`: when it started by the loop's time, and its cost."""
        push = batching.Push(started=started, cost=cost)
        for job in jobs:
            self._last[job.lane] = push

    def _decide(self) -> batching.Decision:
        now = asyncio.get_running_loop().time()
        return batching.decide(frozenset(self._waiting), self._last, now, self._limits)


def _first(lane: batching.Lane) -> bool:
    return lane is batching.Lane.ENDPOINTS
