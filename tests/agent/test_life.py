from plait.agent.life import LAST_WAIT, STEADY, Action, Event, Life, Phase, step

READY = Life(phase=Phase.READY, since=0, was_ready=True, drain=5)


def played(life: Life, *events: tuple[Event, float]) -> tuple[Life, list[Action]]:
    done: list[Action] = []
    for event, now in events:
        life, actions = step(life, event, now)
        done += actions
    return life, done


def test_it_is_announced_when_it_serves():
    life, done = played(Life(), (Event.TICK, 1), (Event.LIVE, 2), (Event.TICK, 3))

    assert (life.phase, done) == (Phase.READY, [Action.ANNOUNCE])


def test_an_envoy_that_never_served_is_not_started_again():
    life, done = played(Life(), (Event.EXITED, 1), (Event.TICK, 100))

    assert (life.phase, life.failed, done) == (Phase.ENDED, True, [Action.REPORT])


def test_a_crashed_envoy_comes_back_after_a_delay_that_doubles():
    life, done = played(READY, (Event.EXITED, 1), (Event.TICK, 1.4), (Event.TICK, 1.5))
    again, _ = played(life, (Event.EXITED, 2))

    assert done == [Action.REPORT, Action.START]
    assert (again.phase, again.until) == (Phase.WAITING, 3)


def test_a_crash_after_a_long_run_counts_as_the_first():
    worn = Life(phase=Phase.READY, since=0, was_ready=True, crashes=9)

    assert step(worn, Event.EXITED, STEADY)[0].crashes == 1


def test_the_end_is_drain_then_terminate_then_kill():
    life, done = played(
        READY, (Event.STOP, 10), (Event.TICK, 14), (Event.TICK, 15), (Event.TICK, 15 + LAST_WAIT)
    )

    assert (life.phase, done) == (Phase.STOPPING, [Action.DRAIN, Action.TERMINATE, Action.KILL])
    assert step(life, Event.EXITED, 30)[0].phase is Phase.ENDED


def test_draining_ends_early_when_no_connection_is_open():
    life, done = played(READY, (Event.STOP, 10), (Event.IDLE, 10.1))

    assert (life.phase, done) == (Phase.STOPPING, [Action.DRAIN, Action.TERMINATE])


def test_asking_again_and_again_ends_it_at_once():
    _, done = played(READY, (Event.STOP, 1), (Event.STOP, 1), (Event.STOP, 1))

    assert done == [Action.DRAIN, Action.TERMINATE, Action.KILL]


def test_while_it_waits_to_start_again_it_can_be_ended():
    waiting, _ = step(READY, Event.EXITED, 1)

    assert step(waiting, Event.STOP, 2) == (step(waiting, Event.STOP, 2)[0], ())
    assert step(waiting, Event.STOP, 2)[0].phase is Phase.ENDED


def test_a_patient_one_is_tried_again_though_it_never_served():
    life, done = played(Life(patient=True, delay=0.1), (Event.EXITED, 1), (Event.TICK, 1.1))
    again, _ = played(life, (Event.EXITED, 2))

    assert done == [Action.REPORT, Action.START]
    assert (life.phase, again.until) == (Phase.STARTING, 2.2)


def test_asked_to_quit_it_does_not_drain():
    life, done = played(READY, (Event.QUIT, 1))

    assert (life.phase, done) == (Phase.STOPPING, [Action.TERMINATE])
