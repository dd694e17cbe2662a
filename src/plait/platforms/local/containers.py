"""A container's life as a pure state machine: start, probes, crash and come back, end."""

from __future__ import annotations

from enum import Enum
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

STEADY = 60.0
"""Seconds after which a run counts as good, and the next crash as the first."""
LONGEST_DELAY = 60.0
"""Seconds: no wait before a restart is longer."""
RETRY = 1.0
"""Seconds before what could not be started is tried again."""
LAST_WAIT = 2.0
"""Seconds between one SIGKILL and the next."""
BACK_OFF = "CrashLoopBackOff"


class Phase(Enum):
    """Where in its life a container is."""

    WAITING = "waiting"  # for its turn, or for the time to start again
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class Policy(Enum):
    """When a container that ended is started again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class Probe(Enum):
    """What a probe asks for."""

    STARTUP = "Startup"
    READINESS = "Readiness"
    LIVENESS = "Liveness"


class Action(Enum):
    """What to do."""

    START = "start"
    TERMINATE = "terminate"  # ask it to end
    KILL = "kill"


class Exit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a run ended.

    Attributes:
        code: as a shell tells it: 128 and the signal's number after a signal.
        signal: 0: it ended by itself.
        message: what it said last.
        started, finished: seconds since the epoch.
    """

    code: int
    signal: int = 0
    reason: str = ""
    message: str = ""
    started: float = 0.0
    finished: float = 0.0


class Rules(Struct, frozen=True, kw_only=True):
    """What of a container's specification matters to its life.

    Attributes:
        has_startup, has_readiness: probes that it has.
        grace: seconds to end after a probe condemned it.
    """

    policy: Policy = Policy.ALWAYS
    has_startup: bool = False
    has_readiness: bool = False
    grace: float = 30.0


class Life(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of one container; times in seconds since the epoch.

    Attributes:
        since: when the phase began.
        begun: when the run began.
        until: when it must end; None: it need not.
        restarts: how often it was started again.
        crashes: ends in a row, none after a good run.
        started: its startup probe passed.
        ready: it is started and its readiness probe passed.
        is_last: it is not started again.
        exit: how the last run ended.
        reason, message: why it waits, stops, or is not ready.
    """

    phase: Phase = Phase.WAITING
    since: float = 0.0
    begun: float = 0.0
    until: float | None = 0.0
    restarts: int = 0
    crashes: int = 0
    started: bool = False
    ready: bool = False
    is_last: bool = False
    exit: Exit | None = None
    reason: str = ""
    message: str = ""


class Tick(Struct, frozen=True):
    """Only time went by."""


class Blocked(Struct, frozen=True, kw_only=True):
    """It cannot be started now."""

    reason: str
    message: str


class Exited(Struct, frozen=True):
    """It ended."""

    exit: Exit


class Passed(Struct, frozen=True):
    """A probe has passed as often as it must."""

    probe: Probe


class Failed(Struct, frozen=True):
    """A probe has failed as often as it may; `message` has its last answer."""

    probe: Probe
    message: str


class Stop(Struct, frozen=True):
    """It shall end within so many seconds."""

    grace: float


Event = Tick | Blocked | Exited | Passed | Failed | Stop
Step = tuple[Life, tuple[Action, ...]]


def step(life: Life, rules: Rules, event: Event, now: float) -> Step:
    """The next state, and what to do to get there."""
    match event:
        case Tick():
            return _due(life, rules, now)
        case Blocked(reason=reason, message=message):
            waiting = _turned(life, Phase.WAITING, now, RETRY)
            # it has not run: what is counted is as it was
            restarts = life.restarts - (life.exit is not None)
            return replace(waiting, restarts=restarts, reason=reason, message=message), ()
        case Exited(exit=exit):
            return _exited(life, rules, exit, now), ()
        case Passed(probe=probe):
            return _passed(life, rules, probe), ()
        case Failed(probe=probe, message=message):
            return _failed(life, rules, probe, message, now)
        case Stop(grace=grace):
            return _stopped(life, grace, now)
        case _ as never:
            assert_never(never)


def delay(crashes: int) -> float:
    """Seconds before the next start: the first comes at once, then they double from one."""
    return 0.0 if crashes <= 1 else min(2.0 ** min(crashes - 2, 16), LONGEST_DELAY)


def _due(life: Life, rules: Rules, now: float) -> Step:
    if life.until is None or now < life.until:
        return life, ()
    match life.phase:
        case Phase.WAITING:
            started = not rules.has_startup
            run = replace(
                _turned(life, Phase.RUNNING, now),
                begun=now,
                restarts=life.restarts + (life.exit is not None),
                started=started,
                ready=started and not rules.has_readiness,
            )
            return run, (Action.START,)
        case Phase.STOPPING:
            return replace(life, until=now + LAST_WAIT), (Action.KILL,)
        case Phase.RUNNING | Phase.ENDED:
            return life, ()


def _exited(life: Life, rules: Rules, exit: Exit, now: float) -> Life:
    is_good_run = life.phase is Phase.RUNNING and now - life.since >= STEADY
    crashes = 1 if is_good_run else life.crashes + 1
    again = {
        Policy.ALWAYS: True,
        Policy.ON_FAILURE: exit.code != 0,
        Policy.NEVER: False,
    }[rules.policy]
    if life.is_last or not again:
        return replace(_turned(life, Phase.ENDED, now), exit=exit, is_last=True)
    wait = delay(crashes)
    waiting = replace(_turned(life, Phase.WAITING, now, wait), exit=exit, crashes=crashes)
    if wait:
        said = f"{exit.message or 'it said nothing'}"
        message = f"starts again in {wait:g} s; it ended with exit code {exit.code}: {said}"
        waiting = replace(waiting, reason=BACK_OFF, message=message)
    return waiting


def _passed(life: Life, rules: Rules, probe: Probe) -> Life:
    if life.phase is not Phase.RUNNING or probe is Probe.LIVENESS:
        return life
    if probe is Probe.STARTUP:
        return replace(life, started=True, ready=not rules.has_readiness, message="")
    return replace(life, ready=life.started, message="")


def _failed(life: Life, rules: Rules, probe: Probe, message: str, now: float) -> Step:
    if life.phase is not Phase.RUNNING:
        return life, ()
    if probe is Probe.READINESS:
        return replace(life, ready=False, message=message), ()
    stopping = _turned(life, Phase.STOPPING, now, rules.grace)
    return replace(stopping, message=message), (Action.TERMINATE,)


def _stopped(life: Life, grace: float, now: float) -> Step:
    match life.phase:
        case Phase.WAITING:
            return replace(_turned(life, Phase.ENDED, now), is_last=True), ()
        case Phase.RUNNING if grace > 0:
            stopping = _turned(life, Phase.STOPPING, now, grace)
            return replace(stopping, is_last=True), (Action.TERMINATE,)
        case Phase.RUNNING | Phase.STOPPING:
            left = now + grace if life.until is None else min(life.until, now + grace)
            stopping = replace(life, phase=Phase.STOPPING, until=left, ready=False, is_last=True)
            return stopping, ()
        case Phase.ENDED:
            return life, ()


def _turned(life: Life, phase: Phase, now: float, seconds: float | None = None) -> Life:
    until = None if seconds is None else now + seconds
    return replace(
        life, phase=phase, since=now, until=until, started=False, ready=False, reason="", message=""
    )
