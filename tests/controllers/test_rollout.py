"""A Deployment's steps, by hand and by chance: sizes, conditions, moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from plait.config.kinds.pod import Pod, PodCondition, PodStatus
from plait.config.kinds.units import IntOrString
from plait.config.kinds.workloads import (
    Deployment,
    DeploymentStatus,
    DeploymentStrategy,
    ReplicaSet,
    RollingUpdateDeployment,
)
from plait.config.meta import Key, Object
from plait.controllers import replicas, rollout, surge, templates
from plait.controllers.actions import Action, Drop, Put, Report, Retire
from plait.controllers.counts import is_active
from plait.controllers.rollout import Family
from tests.support.objects import made

NOW = 1000.0


def deployment(image: str = "i:1", **spec: Any) -> Object[Deployment]:
    body = {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": image}]},
        },
        **spec,
    }
    return made("Deployment", "web", body, uid="d")


class Simulation:
    """One Deployment with its ReplicaSets and Pods; what is decided is done at once."""

    def __init__(self, owner: Object[Deployment]) -> None:
        self.owner: Object[Deployment] | None = owner
        self.sets: dict[Key, Object[ReplicaSet]] = {}
        self.pods: dict[Key, Object[Pod]] = {}
        self.status = DeploymentStatus()
        self.now = NOW
        self.again: float | None = None

    def step(self) -> bool:
        """One step of everything; whether anything was done."""
        made_ = [self._deployment(), *map(self._replica_set, list(self.sets))]
        return any(made_)

    def settle(self) -> None:
        for _ in range(100):
            if not self.step():
                return
        raise AssertionError("it never settles")

    def set(self, *, ready: bool, image: str = "") -> None:
        """Let Pods be ready, or not: those of an image, or all."""
        for key, one in self.pods.items():
            if image in one.spec.spec.containers[0].image:
                condition = PodCondition(
                    type="Ready", status=str(ready), last_transition_time=self.now
                )
                status = PodStatus(phase="Running", conditions=(condition,))
                self.pods[key] = structs.replace(one, spec=structs.replace(one.spec, status=status))

    def end(self) -> None:
        """Let the Pods that are being deleted be gone."""
        self.pods = {key: one for key, one in self.pods.items() if one.deleted is None}

    def images(self) -> list[str]:
        """Of the Pods that stay."""
        stay = (one for one in self.pods.values() if is_active(one))
        return sorted(one.spec.spec.containers[0].image for one in stay)

    def condition(self, kind: str) -> tuple[str, str]:
        found = next(one for one in self.status.conditions if one.type == kind)
        return found.status, found.reason

    def family(self) -> Family:
        pods: dict[Key, tuple[Object[Pod], ...]] = dict.fromkeys(self.sets, ())
        for one in self.pods.values():
            pods[one.owners[0].key] = (*pods[one.owners[0].key], one)
        return Family(owner=self.owner, sets=tuple(self.sets.values()), pods=pods)

    def _deployment(self) -> bool:
        known = rollout.Known(status=self.status, generation=1)
        decision = rollout.step(self.family(), known, self.now)
        self.again = decision.again
        return self._do(decision.actions)

    def _replica_set(self, key: Key) -> bool:
        pods = tuple(one for one in self.pods.values() if one.owners[0].key == key)
        brood = replicas.Brood(owner=self.sets.get(key), pods=pods)
        found = replicas.step(brood, replicas.Known(node="here"), self.now)
        return self._do([one for one in found.actions if not isinstance(one, Report)])

    def _do(self, actions: Sequence[Action]) -> bool:
        for action in actions:
            match action:
                case Put(object=one) if isinstance(one.spec, ReplicaSet):
                    self.now += 1
                    known = structs.replace(one, uid=one.uid or one.key.name)
                    self.sets[one.key] = structs.replace(known, created=known.created or self.now)
                case Put(object=one):
                    self.pods[one.key] = one
                case Drop(key=key):
                    del self.sets[key]
                case Retire(key=key):
                    self.pods[key] = structs.replace(self.pods[key], deleted=self.now)
                case Report(status=DeploymentStatus() as status):
                    self.status = status
                case Report():
                    pass
        return bool(actions)


@pytest.mark.parametrize(
    ("replicas", "most", "least", "expected"),
    [
        (4, None, None, (1, 1)),
        (3, None, None, (1, 0)),
        (1, None, None, (1, 0)),
        (10, "30%", "30%", (3, 3)),
        (3, "34%", "34%", (2, 1)),
        (3, 0, 0, (0, 1)),
        (3, 2, 9, (2, 3)),
        (3, "0%", "100%", (0, 3)),
        (4, "nonsense", "-5%", (1, 1)),
    ],
)
def test_limits_are_rounded_as_kubernetes_rounds_them(
    replicas: int, most: IntOrString | None, least: IntOrString | None, expected: tuple[int, int]
):
    strategy = DeploymentStrategy(
        rolling_update=RollingUpdateDeployment(max_surge=most, max_unavailable=least)
    )

    found = surge.limits(strategy, replicas)

    assert (found.surge, found.unavailable) == expected


def test_pods_that_are_not_available_go_first():
    old = [surge.Size(size=2, available=0), surge.Size(size=2, available=2)]
    new = surge.Size(size=1, available=1)

    found = surge.shrunk(old, new, 4, surge.Limits(surge=1, unavailable=1))

    assert found == [0, 2]


@given(
    wanted=st.integers(1, 7),
    most=st.one_of(st.none(), st.integers(0, 3), st.sampled_from(["10%", "50%", "100%"])),
    least=st.one_of(st.none(), st.integers(0, 3), st.sampled_from(["10%", "50%"])),
    luck=st.lists(st.booleans(), max_size=30),
)
def test_a_rolling_update_keeps_its_limits_and_ends(
    wanted: int, most: IntOrString | None, least: IntOrString | None, luck: list[bool]
):
    strategy = {"rollingUpdate": {"maxSurge": most, "maxUnavailable": least}}
    world = Simulation(deployment(replicas=wanted, strategy=strategy))
    world.settle()
    world.set(ready=True)
    world.settle()
    limits = surge.limits(msgspec.convert(strategy, DeploymentStrategy), wanted)
    world.owner = deployment("i:2", replicas=wanted, strategy=strategy)

    for is_ready in luck:
        world.step()
        world.end()
        assert len(world.images()) <= wanted + limits.surge
        ready = [
            one
            for one in world.pods.values()
            if is_active(one) and one.spec.status and one.spec.status.conditions
        ]
        assert len(ready) >= wanted - limits.unavailable
        if is_ready:
            world.set(ready=True)
    for _ in range(40):
        world.settle()
        world.end()
        world.set(ready=True)

    assert world.images() == ["i:2"] * wanted
    assert world.condition("Progressing") == ("True", "NewReplicaSetAvailable")


def test_a_template_that_came_back_is_the_replica_set_that_was():
    world = Simulation(deployment())
    world.settle()
    first = next(iter(world.sets))
    for image in ("i:2", "i:1"):
        world.owner = deployment(image)
        for _ in range(10):
            world.settle()
            world.set(ready=True)

    assert world.images() == ["i:1"] * 3
    assert {one.annotations[templates.REVISION] for one in world.sets.values()} == {"2", "3"}
    assert world.sets[first].spec.replicas == 3


def test_old_replica_sets_beyond_the_history_are_forgotten():
    world = Simulation(deployment(revisionHistoryLimit=1))
    for number in range(4):
        world.owner = deployment(f"i:{number}", revisionHistoryLimit=1)
        for _ in range(10):
            world.settle()
            world.end()
            world.set(ready=True)

    kept = [one.spec.template.spec.containers[0].image for one in world.sets.values()]
    assert sorted(kept) == ["i:2", "i:3"]


def test_a_deployment_without_progress_is_late_and_recovers():
    world = Simulation(deployment(progressDeadlineSeconds=60))
    world.settle()
    assert world.condition("Progressing") == ("True", "ReplicaSetUpdated")
    assert world.condition("Available") == ("False", "MinimumReplicasUnavailable")
    assert world.again is not None
    world.now = world.again
    world.settle()
    assert world.condition("Progressing") == ("False", "ProgressDeadlineExceeded")
    assert world.again is None

    world.set(ready=True)
    world.settle()
    assert world.condition("Progressing") == ("True", "NewReplicaSetAvailable")


def test_progress_puts_the_deadline_off():
    world = Simulation(deployment(progressDeadlineSeconds=60))
    world.settle()
    before = world.again
    world.now += 50
    world.set(ready=True)
    key = next(iter(world.pods))
    world.pods[key] = structs.replace(
        world.pods[key], spec=structs.replace(world.pods[key].spec, status=None)
    )
    world.settle()

    assert before is not None
    assert world.again is not None
    assert world.again >= before + 40


def test_a_pod_is_available_when_it_was_ready_for_long_enough():
    world = Simulation(deployment(replicas=1, minReadySeconds=30))
    world.settle()
    world.set(ready=True)
    world.settle()
    assert (world.status.ready_replicas, world.status.available_replicas) == (1, 0)
    assert world.again == world.now + 30
    world.now += 30
    world.settle()

    assert world.status.available_replicas == 1


def test_a_paused_deployment_obeys_its_number_and_keeps_its_template():
    world = Simulation(deployment())
    world.settle()
    world.set(ready=True)
    world.owner = deployment("i:2", paused=True, replicas=5)
    world.settle()

    assert world.images() == ["i:1"] * 5
    assert world.condition("Progressing") == ("Unknown", "DeploymentPaused")


def test_what_belonged_to_one_of_the_same_name_goes():
    world = Simulation(deployment())
    world.settle()
    assert world.owner is not None
    world.owner = structs.replace(world.owner, uid="another")
    before = set(world.sets)
    decision = rollout.step(world.family(), rollout.Known(), world.now)

    assert decision.actions == tuple(Drop(key=key) for key in before)


def test_hashes_do_not_depend_on_the_order_of_labels():
    one, two = deployment().spec.template, deployment().spec.template
    labels = {"b": "1", "a": "2"}
    one = structs.replace(one, metadata=structs.replace(one.metadata, labels=labels))
    turned = dict(reversed(labels.items()))
    two = structs.replace(two, metadata=structs.replace(two.metadata, labels=turned))

    assert templates.template_hash(one) == templates.template_hash(two)


def pod(name: str, **facts: Any) -> Object[Pod]:
    phase, since = facts.pop("phase", "Running"), facts.pop("ready", None)
    conditions = [] if since is None else [{"type": "Ready", "status": "True"}]
    status: dict[str, Any] = {"phase": phase, "conditions": conditions}
    status["containerStatuses"] = [{"name": "a", "restartCount": facts.pop("restarts", 0)}]
    found = made("Pod", name, {"status": status}, **facts)
    if since is not None:
        dated = PodCondition(type="Ready", status="True", last_transition_time=since)
        changed = structs.replace(found.spec.status, conditions=(dated,))
        return structs.replace(found, spec=structs.replace(found.spec, status=changed))
    return found


def test_pods_go_in_the_order_of_kubernetes():
    expected = [
        pod("pending", phase="Pending"),
        pod("unready"),
        pod("cheap", ready=1, annotations={"controller.kubernetes.io/pod-deletion-cost": "-1"}),
        pod("just-ready", ready=9),
        pod("restarted", ready=1, restarts=4),
        pod("young", ready=1, created=8.0),
        pod("old", ready=1, created=2.0),
    ]

    found = replicas.first_to_go(list(reversed(expected)))

    assert [one.key.name for one in found] == [one.key.name for one in expected]
