"""Supervised tasks: retries, backoff, health and what is logged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from plait.base.errors import SourceUnavailableError
from plait.base.tasks import Backoff, Health, State, supervise

STEADY = Backoff(first=1.0, factor=2.0, limit=5.0, jitter=0.0)


def script(*steps: Exception | str) -> Callable[[Health], Awaitable[None]]:
    """A task whose nth attempt takes the nth step: raises it, or is up and then raises it."""
    left = list(steps)

    async def run(health: Health) -> None:
        if not left:
            return
        step = left.pop(0)
        if step == "up":
            health.up()
            step = left.pop(0)
        assert isinstance(step, Exception)
        raise step

    return run


def supervised(*steps: Exception | str) -> tuple[list[float], list[State], list[dict[str, object]]]:
    """The waits, the states and the log lines of a task that follows the steps and ends."""
    waits: list[float] = []
    states: list[State] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def main() -> None:
        await supervise(
            script(*steps),
            name="source:x",
            backoff=STEADY,
            on_state=lambda health: states.append(health.state),
            sleep=sleep,
        )

    with capture_logs() as lines:
        asyncio.run(main())
    return waits, states, [dict(line) for line in lines]


def gone() -> SourceUnavailableError:
    return SourceUnavailableError("cannot reach x")


def test_a_task_that_returns_is_not_run_again():
    waits, states, lines = supervised()

    assert (waits, states, lines) == ([], [State.ENDED], [])


def test_waits_grow_to_a_limit():
    waits, _, _ = supervised(*[gone() for _ in range(5)])

    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_waits_start_over_once_the_task_worked():
    waits, _, _ = supervised(gone(), gone(), "up", gone())

    assert waits == [1.0, 2.0, 1.0]


def test_a_thousand_failures_do_not_overflow():
    assert STEADY.delay(5000, 0.0) == 5.0


def test_jitter_only_shortens_a_wait():
    backoff = Backoff(first=10.0, jitter=0.5)

    assert [backoff.delay(1, luck) for luck in (0.0, 1.0)] == [10.0, 5.0]


def test_the_environments_failure_is_logged_once_when_it_goes_and_once_when_it_returns():
    _, _, lines = supervised("up", gone(), gone(), gone(), "up", gone())

    assert [line["event"] for line in lines] == ["task lost", "task back", "task lost"]
    assert lines[0]["error"] == "cannot reach x"
    assert "exc_info" not in lines[0]


def test_a_bug_is_logged_with_its_traceback_once_and_retried():
    _, _, lines = supervised(KeyError("v2"), KeyError("v2"), KeyError("v3"))

    assert [line["event"] for line in lines] == ["task failed", "task failed"]
    assert isinstance(lines[0]["exc_info"], KeyError)


def test_health_follows_the_task():
    _, states, _ = supervised("up", gone())

    assert states == [State.UP, State.DOWN, State.STARTING, State.ENDED]


def test_health_knows_why_it_is_down():
    health = Health("x")

    health.down(gone())
    assert (health.state, health.error) == (State.DOWN, "cannot reach x")
    health.up()
    assert (health.state, health.error) == (State.UP, "")


def test_cancellation_passes():
    states: list[State] = []

    async def main() -> None:
        async def until_cancelled(health: Health) -> None:
            health.up()
            raise asyncio.CancelledError

        await supervise(until_cancelled, name="x", on_state=lambda h: states.append(h.state))

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert states == [State.UP]
