"""Envoy's life as a pure state machine: start, ready, crash and come back, drain, stop."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

STEADY = 60.0
"""Seconds after which a run counts as good, and the next crash as the first."""
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before a crashed Envoy is started again: doubled each time, up to the longest."""
LAST_WAIT = 10.0
"""Seconds between asking Envoy to stop and ending it."""


class Phase(Enum):
    """Where in its life an Envoy is."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"  # for the time to start again
    DRAINING = "draining"
    STOPPING = "stopping"
    ENDED = "ended"


class Event(Enum):
    """What happened."""

    LIVE = "live"  # it serves
    EXITED = "exited"
    STOP = "stop"  # somebody asks for the end
    QUIT = "quit"  # somebody asks for the end at once
    IDLE = "idle"  # no connection is open any more
    TICK = "tick"  # only time went by


class Action(Enum):
    """What to do."""

    START = "start"
    ANNOUNCE = "announce"  # say that it serves
    REPORT = "report"  # say that it crashed
    DRAIN = "drain"  # finish what is open, take nothing new
    TERMINATE = "terminate"
    KILL = "kill"


class Life(Struct, frozen=True, kw_only=True):
    """The state of one Envoy.

    Attributes:
        since: when the phase began; `until`: when it must end, None: it need not.
        crashes: in a row.
        was_ready: it served once; one that never did is not started again, because the same
            bootstrap would fail in the same way.
        patient: it is started again all the same: what it needs may come.
        delay: seconds before it is started again after the first crash in a row.
        drain: seconds that open connections are given at the end.
        failed: it ended by itself.
    """

    phase: Phase = Phase.STARTING
    since: float = 0.0
    until: float | None = None
    crashes: int = 0
    was_ready: bool = False
    patient: bool = False
    delay: float = FIRST_DELAY
    drain: float = 5.0
    failed: bool = False


def step(life: Life, event: Event, now: float) -> tuple[Life, tuple[Action, ...]]:
    """The next state, and what to do to get there."""
    match event:
        case Event.EXITED:
            return _exited(life, now)
        case Event.STOP | Event.QUIT:
            return _stopped(life, now, at_once=event is Event.QUIT)
        case Event.LIVE if life.phase is Phase.STARTING:
            ready = _turned(life, Phase.READY, now)
            return replace(ready, was_ready=True), (Action.ANNOUNCE,)
        case Event.IDLE if life.phase is Phase.DRAINING:
            return _turned(life, Phase.STOPPING, now, LAST_WAIT), (Action.TERMINATE,)
        case _ if life.until is not None and now >= life.until:
            return _due(life, now)
        case _:
            return life, ()


def _exited(life: Life, now: float) -> tuple[Life, tuple[Action, ...]]:
    if life.phase in (Phase.DRAINING, Phase.STOPPING):
        return _turned(life, Phase.ENDED, now), ()
    if not (life.was_ready or life.patient):
        return replace(_turned(life, Phase.ENDED, now), failed=True), (Action.REPORT,)
    steady = life.phase is Phase.READY and now - life.since >= STEADY
    crashes = 1 if steady else life.crashes + 1
    delay = min(life.delay * 2 ** min(crashes - 1, 32), LONGEST_DELAY)
    return replace(_turned(life, Phase.WAITING, now, delay), crashes=crashes), (Action.REPORT,)


def _stopped(life: Life, now: float, *, at_once: bool) -> tuple[Life, tuple[Action, ...]]:
    match life.phase:
        case Phase.READY if not at_once:
            return _turned(life, Phase.DRAINING, now, life.drain), (Action.DRAIN,)
        case Phase.STARTING | Phase.READY | Phase.DRAINING:
            return _turned(life, Phase.STOPPING, now, LAST_WAIT), (Action.TERMINATE,)
        case Phase.STOPPING:
            return life, (Action.KILL,)
        case Phase.WAITING | Phase.ENDED:
            return _turned(life, Phase.ENDED, now), ()


def _due(life: Life, now: float) -> tuple[Life, tuple[Action, ...]]:
    match life.phase:
        case Phase.WAITING:
            return _turned(life, Phase.STARTING, now), (Action.START,)
        case Phase.DRAINING:
            return _turned(life, Phase.STOPPING, now, LAST_WAIT), (Action.TERMINATE,)
        case _:
            return _turned(life, life.phase, now, LAST_WAIT), (Action.KILL,)


def _turned(life: Life, phase: Phase, now: float, seconds: float | None = None) -> Life:
    until = None if seconds is None else now + seconds
    return replace(life, phase=phase, since=now, until=until)
