"""A container's life, by tables of what happens and when."""

import pytest

from plait.platforms.local.containers import (
    BACK_OFF,
    STEADY,
    Action,
    Blocked,
    Event,
    Exit,
    Exited,
    Failed,
    Life,
    Passed,
    Phase,
    Policy,
    Probe,
    Rules,
    Stop,
    Tick,
    delay,
    step,
)

PLAIN = Rules()
PROBED = Rules(has_startup=True, has_readiness=True, grace=5)


def crash(code: int = 1) -> Exited:
    return Exited(Exit(code=code, message="no such file"))


def played(rules: Rules, *events: tuple[Event, float]) -> tuple[Life, list[Action]]:
    life = Life()
    done: list[Action] = []
    for event, now in events:
        life, actions = step(life, rules, event, now)
        done += actions
    return life, done


def test_a_container_starts_at_once_and_is_ready_without_probes():
    life, done = played(PLAIN, (Tick(), 1), (Tick(), 2))

    assert (life.phase, life.started, life.ready, done) == (
        Phase.RUNNING,
        True,
        True,
        [Action.START],
    )


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((), (False, False)),
        ((Passed(Probe.READINESS),), (False, False)),
        ((Passed(Probe.STARTUP),), (True, False)),
        ((Passed(Probe.STARTUP), Passed(Probe.READINESS)), (True, True)),
        (
            (Passed(Probe.STARTUP), Passed(Probe.READINESS), Failed(Probe.READINESS, "no")),
            (True, False),
        ),
    ],
)
def test_probes_tell_whether_it_is_started_and_ready(events, expected):
    life, done = played(PROBED, (Tick(), 1), *((event, 2) for event in events))

    assert ((life.started, life.ready), done) == (expected, [Action.START])


@pytest.mark.parametrize("probe", [Probe.STARTUP, Probe.LIVENESS])
def test_a_container_that_a_probe_condemns_is_started_again(probe):
    life, done = played(PROBED, (Tick(), 1), (Failed(probe, "no"), 2))

    assert (life.phase, life.message, life.until) == (Phase.STOPPING, "no", 7)
    life, more = step(life, PROBED, Tick(), 7)
    assert [*done, *more] == [Action.START, Action.TERMINATE, Action.KILL]
    life, _ = step(life, PROBED, crash(137), 8)
    life, more = step(life, PROBED, Tick(), 8)
    assert (life.phase, life.restarts, more) == (Phase.RUNNING, 1, (Action.START,))


def test_waits_before_restarts_double_up_to_a_minute():
    assert [delay(n) for n in (1, 2, 3, 4, 8, 9, 1000)] == [0, 1, 2, 4, 60, 60, 60]


def test_a_crash_loop_says_why():
    life, done = played(PLAIN, (Tick(), 1), (crash(), 2), (Tick(), 2), (crash(3), 3), (Tick(), 3.5))

    assert (life.phase, life.until, life.restarts, life.reason) == (Phase.WAITING, 4, 1, BACK_OFF)
    assert life.message == "starts again in 1 s; it ended with exit code 3: no such file"
    assert done == [Action.START, Action.START]


def test_after_a_good_run_a_crash_counts_as_the_first():
    life, _ = played(PLAIN, (Tick(), 1), (crash(), 2), (Tick(), 2), (crash(), 2 + STEADY))

    assert (life.crashes, life.until) == (1, 2 + STEADY)


@pytest.mark.parametrize(
    ("policy", "code", "expected"),
    [
        (Policy.ALWAYS, 0, Phase.WAITING),
        (Policy.ON_FAILURE, 0, Phase.ENDED),
        (Policy.ON_FAILURE, 1, Phase.WAITING),
        (Policy.NEVER, 1, Phase.ENDED),
    ],
)
def test_the_policy_tells_who_comes_back(policy, code, expected):
    life, _ = played(Rules(policy=policy), (Tick(), 1), (crash(code), 2))

    assert life.phase is expected


def test_what_cannot_be_started_is_tried_again():
    life, done = played(PLAIN, (Tick(), 1), (Blocked(reason="ImageNotMapped", message="m"), 1))

    assert (life.phase, life.reason, life.until, life.restarts) == (
        Phase.WAITING,
        "ImageNotMapped",
        2,
        0,
    )
    life, more = step(life, PLAIN, Tick(), 2)
    assert (life.reason, [*done, *more]) == ("", [Action.START, Action.START])


def test_a_stopped_container_is_asked_then_killed_and_stays_away():
    life, done = played(PLAIN, (Tick(), 1), (Stop(5), 2), (Tick(), 6), (Tick(), 7), (crash(), 8))

    assert (life.phase, done) == (Phase.ENDED, [Action.START, Action.TERMINATE, Action.KILL])


def test_without_grace_it_is_killed():
    life, done = played(PLAIN, (Tick(), 1), (Stop(0), 2), (Tick(), 2))

    assert (life.ready, done) == (False, [Action.START, Action.KILL])


def test_a_second_stop_can_only_shorten_the_wait():
    life, _ = played(PLAIN, (Tick(), 1), (Stop(5), 2), (Stop(9), 3))
    shorter, _ = step(life, PLAIN, Stop(1), 3)

    assert (life.until, shorter.until) == (7, 4)


def test_who_waits_ends_at_once():
    life, done = played(PLAIN, (Tick(), 1), (crash(), 1), (Stop(5), 1), (Tick(), 99))

    assert (life.phase, done) == (Phase.ENDED, [Action.START])
