"""A Deployment's step: which of its ReplicaSets has how many Pods, and what that comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from msgspec import Struct, structs

from plait.config.kinds.pod import Pod
from plait.config.kinds.workloads import Deployment, DeploymentStatus, ReplicaSet
from plait.config.meta import Key, Object
from plait.controllers import progress, surge, templates
from plait.controllers.actions import Action, Decision, Drop, Put, Report, earliest
from plait.controllers.counts import Counts, count
from plait.controllers.progress import DEADLINE, Seen

HISTORY = 10
"""Old ReplicaSets that are kept where the Deployment does not say how many."""


class Family(Struct, frozen=True, kw_only=True):
    """A Deployment, the ReplicaSets that name it as their owner, and their Pods.

    Attributes:
        owner: None: it is gone, and its ReplicaSets go too.
        pods: by ReplicaSet; those that are being deleted, too.
    """

    owner: Object[Deployment] | None
    sets: tuple[Object[ReplicaSet], ...] = ()
    pods: Mapping[Key, tuple[Object[Pod], ...]] = {}


class Known(Struct, frozen=True, kw_only=True):
    """What of a Deployment is not in its row: its status as it was reported last."""

    status: DeploymentStatus = DeploymentStatus()
    generation: int = 0


def step(world: Family, known: Known, now: float) -> Decision:
    """Bring the Deployment's ReplicaSets nearer to what it says, and report how far they are."""
    owner = world.owner
    if owner is None:
        return Decision(actions=tuple(Drop(key=one.key) for one in world.sets))
    strays = tuple(Drop(key=one.key) for one in world.sets if not templates.is_of(one, owner))
    if strays:
        return Decision(actions=strays)
    if problem := templates.problem(owner.spec.selector, owner.spec.template):
        return _reported(owner, known, progress.failed(known.status, problem, now))
    sets = _Sets(owner, world, now)
    scaled = tuple(_scaled(sets))
    seen = Seen(
        name=sets.fresh_name,
        is_new=not sets.fresh,
        paused=owner.spec.paused,
        wanted=sets.wanted,
        status=_counted(sets, known.generation),
        floor=sets.wanted - sets.limits.unavailable,
        deadline=_deadline(owner),
    )
    status, again = progress.step(known.status, seen, now)
    decision = _reported(owner, known, status)
    return Decision(
        actions=(*scaled, *_forgotten(sets, status), *decision.actions),
        again=earliest(again, sets.counts.again),
    )


class _Sets:
    """The ReplicaSets of a Deployment, with their numbers."""

    def __init__(self, owner: Object[Deployment], world: Family, now: float) -> None:
        self.owner = owner
        self.wanted = 1 if owner.spec.replicas is None else owner.spec.replicas
        self.limits = surge.limits(owner.spec.strategy, self.wanted)
        self.pods = world.pods
        self._now = now
        same = [one for one in world.sets if _is_current(owner, one)]
        self.fresh = min(same, key=_age) if same else None
        self.old = sorted((one for one in world.sets if one is not self.fresh), key=_age)
        self.all = [*self.old, *([self.fresh] if self.fresh else [])]

    def count(self, one: Object[ReplicaSet]) -> Counts:
        """The Pods of one ReplicaSet."""
        spec = self.owner.spec
        return count(self.pods.get(one.key, ()), spec.min_ready_seconds, self._now)

    @cached_property
    def counts(self) -> Counts:
        """The Pods of all."""
        every = [pod for one in self.all for pod in self.pods.get(one.key, ())]
        return count(every, self.owner.spec.min_ready_seconds, self._now)

    @property
    def fresh_name(self) -> str:
        """The name that the ReplicaSet of the current template has, or will have."""
        if self.fresh:
            return self.fresh.key.name
        return templates.replica_set(self.owner, 0, 0).key.name


def _scaled(sets: _Sets) -> Iterator[Action]:
    """New sizes of ReplicaSets; the one of a new template is made."""
    owner = sets.owner
    if owner.spec.paused:
        yield from _scaled_while_paused(sets)
        return
    if sets.fresh is None:
        revision = 1 + max((_revision(one) for one in sets.old), default=0)
        yield Put(object=templates.replica_set(owner, revision, _first_size(sets)))
        yield from _shrunk(sets, fresh=None)
        return
    size = _next_size(sets, sets.fresh)
    yield from _kept_up(sets, sets.fresh, size)
    if size == _size(sets.fresh):  # one thing at a time: the old go when the new are there
        yield from _shrunk(sets, sets.fresh)


def _scaled_while_paused(sets: _Sets) -> Iterator[Action]:
    """A paused Deployment keeps its templates; the number of Pods is still obeyed."""
    big = [one for one in sets.all if _size(one)]
    only = big[0] if len(big) == 1 else sets.fresh if not big else None
    if only is not None and _size(only) != sets.wanted:
        yield _sized(only, sets.wanted)


def _first_size(sets: _Sets) -> int:
    if sets.owner.spec.strategy.type == "Recreate":
        return 0 if any(sets.pods.get(one.key) for one in sets.old) else sets.wanted
    return surge.grown(0, sum(map(_size, sets.old)), sets.wanted, sets.limits)


def _next_size(sets: _Sets, fresh: Object[ReplicaSet]) -> int:
    size = _size(fresh)
    if sets.owner.spec.strategy.type == "Recreate":
        waits = any(sets.pods.get(one.key) or _size(one) for one in sets.old)
        return min(size, sets.wanted) if waits else sets.wanted
    return surge.grown(size, sum(map(_size, sets.all)), sets.wanted, sets.limits)


def _shrunk(sets: _Sets, fresh: Object[ReplicaSet] | None) -> Iterator[Action]:
    """Old ReplicaSets made smaller, as far as enough Pods stay available."""
    if sets.owner.spec.strategy.type == "Recreate":
        wanted = [0] * len(sets.old)
    elif fresh is None:
        return
    else:
        old = [surge.Size(size=_size(one), available=_available(sets, one)) for one in sets.old]
        new = surge.Size(size=_size(fresh), available=_available(sets, fresh))
        wanted = surge.shrunk(old, new, sets.wanted, sets.limits)
    for one, size in zip(sets.old, wanted, strict=True):
        if size != _size(one):
            yield _sized(one, size)


def _kept_up(sets: _Sets, fresh: Object[ReplicaSet], size: int) -> Iterator[Action]:
    """The current ReplicaSet with its size, the newest revision, and what is no template."""
    newest = max((_revision(one) for one in sets.old), default=0)
    revision = _revision(fresh) if _revision(fresh) > newest else newest + 1
    wanted = structs.replace(
        fresh,
        annotations={**fresh.annotations, templates.REVISION: str(revision)},
        spec=structs.replace(
            fresh.spec, replicas=size, min_ready_seconds=sets.owner.spec.min_ready_seconds
        ),
    )
    if wanted != fresh:
        yield Put(object=wanted)


def _forgotten(sets: _Sets, status: DeploymentStatus) -> Iterator[Action]:
    """Old ReplicaSets beyond the history, once nothing goes on any more."""
    limit = sets.owner.spec.revision_history_limit
    kept = HISTORY if limit is None else limit
    if not progress.is_complete(status, sets.wanted):
        return
    empty = [one for one in sets.old if not _size(one) and not sets.pods.get(one.key)]
    for one in sorted(empty, key=_revision)[: max(0, len(empty) - kept)]:
        yield Drop(key=one.key)


def _counted(sets: _Sets, generation: int) -> DeploymentStatus:
    found = sets.counts
    fresh = sets.count(sets.fresh) if sets.fresh else Counts()
    desired = sum(map(_size, sets.all)) if sets.fresh else sets.wanted
    return DeploymentStatus(
        observed_generation=generation,
        replicas=found.total,
        updated_replicas=fresh.total,
        ready_replicas=found.ready,
        available_replicas=found.available,
        unavailable_replicas=max(0, desired - found.available),
        terminating_replicas=found.terminating,
    )


def _reported(owner: Object[Deployment], known: Known, status: DeploymentStatus) -> Decision:
    status = structs.replace(status, observed_generation=known.generation)
    if status == known.status:
        return Decision()
    return Decision(actions=(Report(key=owner.key, status=status),))


def _is_current(owner: Object[Deployment], one: Object[ReplicaSet]) -> bool:
    return templates.of_template(one.spec.template) == templates.of_template(owner.spec.template)


def _available(sets: _Sets, one: Object[ReplicaSet]) -> int:
    """Pods that stay: those beyond the size are about to go."""
    return min(sets.count(one).available, _size(one))


def _sized(one: Object[ReplicaSet], size: int) -> Put:
    return Put(object=structs.replace(one, spec=structs.replace(one.spec, replicas=size)))


def _size(one: Object[ReplicaSet]) -> int:
    return 1 if one.spec.replicas is None else one.spec.replicas


def _revision(one: Object[ReplicaSet]) -> int:
    written = one.annotations.get(templates.REVISION, "0")
    return int(written) if written.isascii() and written.isdecimal() else 0


def _age(one: Object[ReplicaSet]) -> tuple[float, int, Key]:
    return (one.created, _revision(one), one.key)


def _deadline(owner: Object[Deployment]) -> float:
    seconds = owner.spec.progress_deadline_seconds
    return DEADLINE if seconds is None else float(seconds)
