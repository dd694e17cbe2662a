"""A ReplicaSet's step: as many Pods as it says, and which go first when there are too many."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from plait.config.kinds.pod import Pod
from plait.config.kinds.workloads import ReplicaSet, ReplicaSetStatus, WorkloadCondition
from plait.config.meta import Object
from plait.controllers import templates
from plait.controllers.actions import Action, Decision, Put, Report, Retire
from plait.controllers.counts import count, is_active, ready_since, state

_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


class Brood(Struct, frozen=True, kw_only=True):
    """A ReplicaSet and the Pods that name it as their owner.

    Attributes:
        owner: None: it is gone, and its Pods go too.
    """

    owner: Object[ReplicaSet] | None
    pods: tuple[Object[Pod], ...] = ()


class Known(Struct, frozen=True, kw_only=True):
    """What of a ReplicaSet is not in its row.

    Attributes:
        status: as it was reported last.
        node: name of the machine that Pods run on.
    """

    status: ReplicaSetStatus = ReplicaSetStatus()
    generation: int = 0
    node: str = ""


def step(world: Brood, known: Known, now: float) -> Decision:
    """Make the Pods that are missing, retire those that are too many, report how many there are."""
    owner = world.owner
    if owner is None:
        return Decision(actions=tuple(_retired(world.pods)))
    own = [one for one in world.pods if templates.is_of(one, owner)]
    strays = [one for one in world.pods if not templates.is_of(one, owner)]
    problem = templates.problem(owner.spec.selector, owner.spec.template)
    actions: list[Action] = [*_retired(strays)]
    if not problem:
        actions += _balanced(owner, own, known.node, now)
    found = count(own, owner.spec.min_ready_seconds, now)
    status = ReplicaSetStatus(
        observed_generation=known.generation,
        replicas=found.total,
        fully_labeled_replicas=found.total,
        ready_replicas=found.ready,
        available_replicas=found.available,
        terminating_replicas=found.terminating,
        conditions=_conditions(known.status, problem, now),
    )
    if status != known.status:
        actions.append(Report(key=owner.key, status=status))
    return Decision(actions=tuple(actions), again=found.again)


def first_to_go(pods: list[Object[Pod]]) -> list[Object[Pod]]:
    """Pods in the order in which Kubernetes takes them away: not ready ones, then the newest."""
    return sorted(pods, key=_rank)


def _balanced(
    owner: Object[ReplicaSet], own: list[Object[Pod]], node: str, now: float
) -> list[Action]:
    wanted = 1 if owner.spec.replicas is None else owner.spec.replicas
    active = [one for one in own if is_active(one)]
    surplus = len(active) - wanted
    if surplus > 0:
        return [Retire(key=one.key) for one in first_to_go(active)[:surplus]]
    made: list[Action] = []
    taken = {one.key.name for one in own}
    for number in range(-surplus):
        fresh = templates.pod(owner, node, taken, f"{now!r} {number}")
        taken.add(fresh.key.name)
        made.append(Put(object=fresh))
    return made


def _retired(pods: Any) -> list[Action]:
    return [Retire(key=one.key) for one in pods if one.deleted is None]


def _rank(one: Object[Pod]) -> tuple[Any, ...]:
    since = ready_since(one)
    restarts = sum(container.restart_count for container in state(one).container_statuses)
    return (
        _PHASES.get(state(one).phase, 0),
        since is not None,
        _cost(one),
        -(since or 0.0),
        -restarts,
        -one.created,
        one.key.name,
    )


def _cost(one: Object[Pod]) -> int:
    written = one.annotations.get(_DELETION_COST, "0")
    return int(written) if written.removeprefix("-").isdecimal() and written.isascii() else 0


def _conditions(
    before: ReplicaSetStatus, problem: str, now: float
) -> tuple[WorkloadCondition, ...]:
    if not problem:
        return ()
    failing = WorkloadCondition(
        type="ReplicaFailure",
        status="True",
        reason="FailedCreate",
        message=problem,
        last_transition_time=float(int(now)),
    )
    same = [one for one in before.conditions if one.message == problem]
    return tuple(same) or (failing,)
