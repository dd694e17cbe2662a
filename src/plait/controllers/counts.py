"""Which Pods are there, ready, and ready for long enough."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from plait.config.kinds.pod import Pod, PodStatus
from plait.config.meta import Object
from plait.controllers.actions import earliest

ENDED = ("Succeeded", "Failed")
"""Phases of Pods that are over."""


class Counts(Struct, frozen=True, kw_only=True):
    """Numbers of Pods.

    Attributes:
        total: neither ended nor being deleted.
        available: ready for as long as is asked for.
        again: when the next one becomes available by itself; None: none does.
    """

    total: int = 0
    ready: int = 0
    available: int = 0
    terminating: int = 0
    again: float | None = None


def count(pods: Iterable[Object[Pod]], min_ready: float, now: float) -> Counts:
    """Count Pods; `min_ready` is in seconds."""
    total = ready = available = terminating = 0
    again: float | None = None
    for one in pods:
        terminating += one.deleted is not None
        if not is_active(one):
            continue
        total += 1
        since = ready_since(one)
        if since is None:
            continue
        ready += 1
        if since + min_ready <= now or not min_ready:
            available += 1
        else:
            again = earliest(again, since + min_ready)
    return Counts(
        total=total, ready=ready, available=available, terminating=terminating, again=again
    )


def is_active(found: Object[Pod]) -> bool:
    """Whether a Pod counts as one of those there should be."""
    return found.deleted is None and state(found).phase not in ENDED


def ready_since(found: Object[Pod]) -> float | None:
    """Since when a Pod is ready; None: it is not."""
    for one in state(found).conditions:
        if one.type == "Ready" and one.status == "True":
            return one.last_transition_time or 0.0
    return None


def state(found: Object[Pod]) -> PodStatus:
    """What is known of how a Pod does."""
    return found.spec.status or PodStatus()
