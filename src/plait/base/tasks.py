"""Long-lived tasks that come back when they fail."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from enum import Enum

import structlog
from msgspec import Struct

from plait.base.errors import PlaitError

_log = structlog.get_logger(__name__)


class State(Enum):
    """How a supervised task does."""

    STARTING = "starting"  # runs, and has not said that it works
    UP = "up"
    DOWN = "down"  # failed, and waits to be run again
    ENDED = "ended"  # returned


class Backoff(Struct, frozen=True, kw_only=True):
    """How long to wait before the next attempt.

    Attributes:
        first: seconds before the second attempt.
        factor: by which each wait is longer than the one before.
        limit: seconds; no wait is longer.
        jitter: share (0 to 1) by which a wait may be shorter, so that many do not come at once.
    """

    first: float = 0.2
    factor: float = 2.0
    limit: float = 30.0
    jitter: float = 0.3

    def delay(self, failures: int, luck: float) -> float:
        """Seconds to wait after the nth failure in a row (from 1), for `luck` between 0 and 1."""
        # Capped before it is raised to a power: 2.0 ** 1100 overflows after a night of failures.
        wait = min(self.limit, self.first * self.factor ** min(failures - 1, 64))
        return wait * (1 - self.jitter * luck)


DEFAULT_BACKOFF = Backoff()


class Health:
    """What a supervised task says about itself, and what others may ask.

    Attributes:
        name: of the task.
        state: now.
        error: why it is down, in one line; empty if it is not.
    """

    __slots__ = ("_lost_at", "_on_state", "error", "failures", "name", "state")

    def __init__(self, name: str, on_state: Callable[[Health], None] | None = None) -> None:
        self.name = name
        self.state = State.STARTING
        self.error = ""
        self.failures = 0
        self._lost_at: float | None = None
        self._on_state = on_state

    def up(self) -> None:
        """Say that the task works now; ends a row of failures.  Cheap to say again."""
        if self.state is State.UP:
            return
        self.failures, self.error = 0, ""
        if self._lost_at is not None:
            seconds = round(time.monotonic() - self._lost_at, 1)
            self._lost_at = None
            _log.info("task back", task=self.name, seconds=seconds)
        self._move(State.UP)

    def down(self, error: Exception) -> None:
        """Note a failure: logged when it is the first in a row, or a bug not seen before."""
        self.failures += 1
        text = str(error) if isinstance(error, PlaitError) else f"{type(error).__name__}: {error}"
        news = text != self.error
        self.error = text
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            news = True
            if isinstance(error, PlaitError):
                _log.warning("task lost", task=self.name, error=text)
        if news and not isinstance(error, PlaitError):
            _log.error("task failed", task=self.name, error=text, exc_info=error)
        self._move(State.DOWN)

    def start(self) -> None:
        """Note that the task runs again."""
        self._move(State.STARTING)

    def end(self) -> None:
        """Note that the task returned and is not run again."""
        self.error = ""
        self._move(State.ENDED)

    def _move(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            if self._on_state is not None:
                self._on_state(self)


async def supervise(
    run: Callable[[Health], Awaitable[None]],
    *,
    name: str,
    backoff: Backoff = DEFAULT_BACKOFF,
    on_state: Callable[[Health], None] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run a task, again after each failure, until it returns or is cancelled.

    Args:
        run: called anew for each attempt; it calls `up` on the health it gets once it works.
        name: for the log and for health.
        backoff: waits between attempts; they start over after `up`.
        on_state: called at each change of state, with the health.
        sleep: how to wait; tests give their own.

    A PlaitError is logged once, without traceback, and retried quietly; any other Exception is
    a bug: retried too, its traceback logged once for each text.  What comes back is logged once.
    """
    health = Health(name, on_state)
    while True:
        try:
            await run(health)
        except Exception as error:  # noqa: BLE001 - supervise is where a failure becomes a retry
            health.down(error)
        else:
            health.end()
            return
        await sleep(backoff.delay(health.failures, random.random()))  # noqa: S311 - no secret
        health.start()


def steady(run: Callable[[], Awaitable[None]]) -> Callable[[Health], Awaitable[None]]:
    """A task for `supervise` that works from its start, or fails."""

    async def start(health: Health) -> None:
        health.up()
        await run()

    return start
