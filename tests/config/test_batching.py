from math import ceil

import pytest

from plait.base.clock import ManualClock
from plait.config.batching import Lane, Limits, Push, decide, interval, lane

BOTH = frozenset(Lane)
CONFIGURATION = frozenset({Lane.CONFIGURATION})
ENDPOINTS = frozenset({Lane.ENDPOINTS})


def pushes(changes: list[float], cost: float, limits: Limits) -> list[tuple[float, float]]:
    """Play changes at these moments against a clock; pushes as (start, newest change in it)."""
    clock = ManualClock(0.0)
    last: dict[Lane, Push] = {}
    made: list[tuple[float, float]] = []
    coming = list(changes)
    waiting: list[float] = []
    while coming or waiting:
        while coming and coming[0] <= clock.now():
            waiting.append(coming.pop(0))
        now = clock.now()
        decision = decide(CONFIGURATION if waiting else frozenset(), last, now, limits)
        if decision.take:
            made.append((now, waiting[-1]))
            waiting.clear()
            last[Lane.CONFIGURATION] = Push(started=now, cost=cost)
            clock.advance(cost)
        elif waiting:
            arrival = coming[0] - now if coming else decision.wait
            clock.advance(max(min(decision.wait, arrival), 1e-9))
        else:
            clock.advance(coming[0] - now)
    return made


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.02, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("cost", [0.0, 0.001, 0.02, 0.5])
def test_a_hundred_changes_give_few_pushes_and_the_last_state_arrives(seconds: float, cost: float):
    limits = Limits()
    changes = [seconds * number / 99 for number in range(100)]

    made = pushes(changes, cost, limits)

    assert len(made) <= 1 + ceil(seconds / interval(cost, limits) + 1e-6)
    assert made[-1][1] == changes[-1]


def test_a_change_after_a_quiet_time_goes_at_once():
    last = {Lane.CONFIGURATION: Push(started=0.0, cost=5.0)}

    assert decide(CONFIGURATION, {}, 0.0, Limits()).take == CONFIGURATION
    assert decide(CONFIGURATION, last, 0.2, Limits()).take == CONFIGURATION


@pytest.mark.parametrize(
    ("cost", "expected"), [(0.0, 0.010), (0.004, 0.010), (0.02, 0.04), (0.09, 0.18), (3.0, 0.2)]
)
def test_pushes_are_twice_their_cost_apart_within_bounds(cost: float, expected: float):
    assert interval(cost, Limits()) == pytest.approx(expected)


def test_a_change_right_after_a_push_waits_for_the_rest_of_the_interval():
    last = {Lane.CONFIGURATION: Push(started=1.0, cost=0.02)}

    decision = decide(CONFIGURATION, last, 1.03, Limits())

    assert decision.take == frozenset()
    assert decision.wait == pytest.approx(0.01)


def test_endpoints_do_not_wait_behind_configuration():
    last = {Lane.CONFIGURATION: Push(started=1.0, cost=0.1)}

    assert decide(BOTH, last, 1.01, Limits()).take == ENDPOINTS
    assert decide(BOTH, last, 1.2, Limits()).take == BOTH


def test_nothing_waiting_is_nothing_to_do():
    assert decide(frozenset(), {}, 0.0, Limits()).take == frozenset()


def test_a_write_of_endpoints_alone_is_in_the_lane_of_endpoints():
    assert lane(["EndpointSlice", "Pod", "WorkloadEntry"]) is Lane.ENDPOINTS
    assert lane(["EndpointSlice", "Service"]) is Lane.CONFIGURATION
