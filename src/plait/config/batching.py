"""When the store commits what is waiting: at once when idle, at a bounded rate when busy.

Leading edge: the first change after a quiet time goes out in the same turn of the loop.  While
changes keep coming, pushes start at least `interval` apart, so that a burst of any length costs
at most ``1 + ceil(its length / interval)`` pushes.  Endpoints have a lane of their own: a dead
address leaves the mesh without waiting for the turn of configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from msgspec import Struct

ENDPOINT_KINDS = frozenset({"EndpointSlice", "WorkloadEntry", "Pod"})


class Lane(Enum):
    """What waits together."""

    CONFIGURATION = "configuration"
    ENDPOINTS = "endpoints"


class Limits(Struct, frozen=True, kw_only=True):
    """How far apart the starts of two pushes of one lane are, in seconds.

    Attributes:
        least: however cheap a push is.
        most: however costly it is.
        factor: times the cost of the last push: 2 leaves half of the processor to others.
    """

    least: float = 0.010
    most: float = 0.200
    factor: float = 2.0


class Push(Struct, frozen=True, kw_only=True):
    """A commit that was made: when it started, and its cost in seconds until it was drained."""

    started: float
    cost: float


class Decision(Struct, frozen=True, kw_only=True):
    """What to commit now, and in how many seconds to ask again for the rest.

    Attributes:
        wait: 0.0 when something is taken.
    """

    take: frozenset[Lane] = frozenset()
    wait: float = 0.0


def lane(kinds: Iterable[str]) -> Lane:
    """The lane of a write of these kinds; mixed ones are configuration."""
    return Lane.ENDPOINTS if ENDPOINT_KINDS.issuperset(kinds) else Lane.CONFIGURATION


def interval(cost: float, limits: Limits) -> float:
    """Seconds from the start of a push that cost `cost` to the earliest start of the next."""
    return min(max(limits.least, limits.factor * cost), limits.most)


def decide(
    waiting: frozenset[Lane], last: Mapping[Lane, Push], now: float, limits: Limits
) -> Decision:
    """Which of the waiting lanes go now.

    When configuration goes, waiting endpoints go with it: one revision instead of two.
    """
    due = {one: _due(last.get(one), limits) for one in waiting}
    if not due:
        return Decision()
    ready = frozenset(one for one, moment in due.items() if moment <= now)
    if not ready:
        return Decision(wait=min(due.values()) - now)
    return Decision(take=waiting if Lane.CONFIGURATION in ready else ready)


def _due(last: Push | None, limits: Limits) -> float:
    return float("-inf") if last is None else last.started + interval(last.cost, limits)
