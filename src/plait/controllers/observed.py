"""What a platform observes, merged into what was known: since when each condition holds."""

from __future__ import annotations

from msgspec import structs

from plait.config.kinds.pod import PodCondition, PodStatus
from plait.controllers.actions import Decision, Report
from plait.controllers.podfiles import Errand


def merged(before: PodStatus | None, seen: PodStatus, now: float) -> PodStatus:
    """The state of a Pod; a condition that holds as before does so since then."""
    old = {one.type: one for one in (before.conditions if before else ())}
    return structs.replace(
        seen, conditions=tuple(_dated(one, old.get(one.type), now) for one in seen.conditions)
    )


def step(errand: Errand, seen: PodStatus | None, before: PodStatus | None, now: float) -> Decision:
    """Report how a Pod does: why it cannot run, or what is seen of it."""
    state = invalid(errand.problem) if errand.problem else seen
    if state is None:
        return Decision()
    state = merged(before, state, now)
    if state == before:
        return Decision()
    return Decision(actions=(Report(key=errand.pod.key, status=state),))


def invalid(problem: str) -> PodStatus:
    """The state of a Pod that cannot be run by anybody."""
    told = (
        PodCondition(type=kind, status="False", reason="Invalid", message=problem)
        for kind in ("PodScheduled", "Ready")
    )
    return PodStatus(phase="Pending", reason="Invalid", message=problem, conditions=tuple(told))


def _dated(found: PodCondition, old: PodCondition | None, now: float) -> PodCondition:
    if old is not None and old.status == found.status and old.last_transition_time:
        return structs.replace(found, last_transition_time=old.last_transition_time)
    moment = found.last_transition_time or now
    return structs.replace(found, last_transition_time=float(int(moment)))
