"""What the pure steps of controllers decide to do."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from plait.config.kinds.pod import PodStatus
from plait.config.kinds.workloads import DeploymentStatus, ReplicaSetStatus
from plait.config.meta import Key, Object

Status = DeploymentStatus | ReplicaSetStatus | PodStatus


class Put(Struct, frozen=True, kw_only=True):
    """Make an object, or replace it by this one; its status stays as it is."""

    object: Object[Any]


class Drop(Struct, frozen=True, kw_only=True):
    """Take away an object that a controller made."""

    key: Key


class Retire(Struct, frozen=True, kw_only=True):
    """Let a Pod end with the time that it needs, then take it away."""

    key: Key


class Report(Struct, frozen=True, kw_only=True):
    """Replace the status of an object."""

    key: Key
    status: Status


Action = Put | Drop | Retire | Report


class Decision(Struct, frozen=True, kw_only=True):
    """What to do now.

    Attributes:
        actions: done together or not at all.
        again: seconds since the epoch when time alone changes the decision; None: never.
    """

    actions: tuple[Action, ...] = ()
    again: float | None = None


def earliest(*moments: float | None) -> float | None:
    """The first of several moments; None: there is none."""
    return min((moment for moment in moments if moment is not None), default=None)
