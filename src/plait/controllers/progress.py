"""A Deployment's conditions, as ``kubectl rollout`` reads them: available, getting on, late."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, structs

from plait.config.kinds.workloads import DeploymentStatus, WorkloadCondition

DEADLINE = 600.0
"""Seconds without progress after which a Deployment is late, where it does not say."""
_AVAILABLE, _PROGRESSING, _FAILURE = "Available", "Progressing", "ReplicaFailure"
_COMPLETE, _LATE, _PAUSED = "NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused"
_RESUMED, _INVALID = "DeploymentResumed", "InvalidSpec"
_SETTLED = (_COMPLETE, _LATE, _PAUSED)  # time alone changes nothing


class Seen(Struct, frozen=True, kw_only=True):
    """How a Deployment does now.

    Attributes:
        name: of the ReplicaSet of its current template.
        is_new: that one is being made.
        wanted: Pods it shall have.
        status: the numbers, without conditions.
        floor: Pods that must be available for the Deployment to be.
        deadline: seconds.
    """

    name: str
    is_new: bool
    paused: bool
    wanted: int
    status: DeploymentStatus
    floor: int
    deadline: float


def step(before: DeploymentStatus, seen: Seen, now: float) -> tuple[DeploymentStatus, float | None]:
    """The status with its conditions, and when time alone changes it."""
    old = {one.type: one for one in before.conditions}
    enough = seen.status.available_replicas >= seen.floor
    available = WorkloadCondition(
        type=_AVAILABLE,
        status=str(enough),
        reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        message=f"Deployment {'has' if enough else 'does not have'} minimum availability.",
    )
    progressing = _progressing(before, old.get(_PROGRESSING), seen, now)
    conditions = tuple(_dated(one, old, now) for one in (available, progressing))
    again = None
    if progressing.reason not in _SETTLED:
        again = (conditions[1].last_update_time or now) + seen.deadline
    return structs.replace(seen.status, conditions=conditions), again


def failed(before: DeploymentStatus, problem: str, now: float) -> DeploymentStatus:
    """The status of a Deployment that cannot be followed; its Pods stay as they are."""
    old = {one.type: one for one in before.conditions}
    stuck = WorkloadCondition(type=_PROGRESSING, status="False", reason=_INVALID, message=problem)
    failing = WorkloadCondition(type=_FAILURE, status="True", reason=_INVALID, message=problem)
    kept = tuple(one for one in before.conditions if one.type == _AVAILABLE)
    told = tuple(_dated(one, old, now) for one in (stuck, failing))
    return structs.replace(before, conditions=(*kept, *told))


def is_complete(status: DeploymentStatus, wanted: int) -> bool:
    """Whether all Pods are of the current template and available, and there are no others."""
    return status.updated_replicas == status.replicas == status.available_replicas == wanted


def _progressing(
    before: DeploymentStatus, old: WorkloadCondition | None, seen: Seen, now: float
) -> WorkloadCondition:
    if seen.paused:
        return _condition("Unknown", _PAUSED, "Deployment is paused")
    if seen.is_new:
        return _condition("True", "NewReplicaSetCreated", f'Created new replica set "{seen.name}"')
    if is_complete(seen.status, seen.wanted):
        message = f'ReplicaSet "{seen.name}" has successfully progressed.'
        return _condition("True", _COMPLETE, message)
    if old is None or _got_on(before, old, seen):
        found = _condition("True", "ReplicaSetUpdated", f'ReplicaSet "{seen.name}" is progressing.')
        return structs.replace(found, last_update_time=float(int(now)))
    return _waiting(old, seen, now)


def _waiting(old: WorkloadCondition, seen: Seen, now: float) -> WorkloadCondition:
    """What holds while nothing moves."""
    if old.reason == _PAUSED:
        return _condition("Unknown", _RESUMED, "Deployment is resumed")
    is_late = now >= (old.last_update_time or now) + seen.deadline
    if is_late and old.reason not in _SETTLED:
        return _condition("False", _LATE, f'ReplicaSet "{seen.name}" has timed out progressing.')
    return old


def _got_on(before: DeploymentStatus, old: WorkloadCondition, seen: Seen) -> bool:
    now = seen.status
    return (
        old.reason == _INVALID
        or (old.reason == _COMPLETE and f'"{seen.name}"' not in old.message)
        or now.updated_replicas > before.updated_replicas
        or now.ready_replicas > before.ready_replicas
        or now.available_replicas > before.available_replicas
        or now.replicas - now.updated_replicas < before.replicas - before.updated_replicas
    )


def _condition(status: str, reason: str, message: str) -> WorkloadCondition:
    return WorkloadCondition(type=_PROGRESSING, status=status, reason=reason, message=message)


def _dated(
    found: WorkloadCondition, old: Mapping[str, WorkloadCondition], now: float
) -> WorkloadCondition:
    """The condition with its moments, to the second: those it had, if nothing changed."""
    before = old.get(found.type)
    if found is before:
        return found
    moment = found.last_update_time or float(int(now))
    if before is None or before.status != found.status:
        return structs.replace(found, last_update_time=moment, last_transition_time=moment)
    if found.last_update_time is None and before.reason == found.reason:
        moment = before.last_update_time or moment
    since = before.last_transition_time
    return structs.replace(found, last_update_time=moment, last_transition_time=since)
