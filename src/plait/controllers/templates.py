"""ReplicaSets and Pods as they are made from templates: names, labels, owners, defaults."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from msgspec import structs

from plait.base.digest import digest
from plait.config import catalog, shapes
from plait.config.kinds.labels import LabelSelector, LabelSelectorRequirement
from plait.config.kinds.pod import Pod, PodSpec, PodStatus, PodTemplateSpec
from plait.config.kinds.workloads import Deployment, ReplicaSet
from plait.config.meta import Object, Owner
from plait.mesh import workloads

HASH: Final = "pod-template-hash"
"""The label that tells Pods of one template from those of another."""
REVISION: Final = "deployment.kubernetes.io/revision"
"""The annotation that counts a Deployment's templates."""
GRACE: Final = 30.0
"""Seconds that a Pod has to end where it does not say."""

_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words
_HASH_LENGTH: Final = 10
_SUFFIX_LENGTH: Final = 5
_LONGEST_NAME: Final = 63  # a Pod's name is its host's name


def letters(length: int, *parts: str) -> str:
    """A word that follows from `parts`, as Kubernetes makes its random ones."""
    number = int(digest("\0".join(parts).encode()), 16)
    found = []
    for _ in range(length):
        number, place = divmod(number, len(_LETTERS))
        found.append(_LETTERS[place])
    return "".join(found)


def template_hash(template: PodTemplateSpec) -> str:
    """Equal for equal templates, in every process."""
    written = msgspec.json.encode(shapes.write(template), order="deterministic")
    return letters(_HASH_LENGTH, written.decode())


def of_template(template: PodTemplateSpec) -> PodTemplateSpec:
    """The template of a ReplicaSet as its Deployment wrote it."""
    labels = {name: value for name, value in template.metadata.labels.items() if name != HASH}
    return structs.replace(template, metadata=structs.replace(template.metadata, labels=labels))


def replica_set(owner: Object[Deployment], revision: int, replicas: int) -> Object[ReplicaSet]:
    """The ReplicaSet of a Deployment's template."""
    spec = owner.spec
    word = template_hash(spec.template)
    labels = {**spec.template.metadata.labels, HASH: word}
    metadata = structs.replace(spec.template.metadata, labels=labels)
    selector = spec.selector or LabelSelector()
    key = catalog.KINDS["ReplicaSet"].key(owner.key.namespace, f"{owner.key.name}-{word}")
    return Object(
        key=key,
        labels=labels,
        annotations={**owner.annotations, REVISION: str(revision)},
        owners=(Owner(key=owner.key, uid=owner.uid, controller=True),),
        spec=ReplicaSet(
            replicas=replicas,
            min_ready_seconds=spec.min_ready_seconds,
            selector=structs.replace(selector, match_labels={**selector.match_labels, HASH: word}),
            template=structs.replace(spec.template, metadata=metadata),
        ),
    )


def pod(owner: Object[ReplicaSet], node: str, taken: Collection[str], salt: str) -> Object[Pod]:
    """A new Pod of a ReplicaSet.

    Args:
        owner: of the Pod.
        node: name of the machine.
        taken: names that other Pods have.
        salt: gives the Pod a name that no earlier one had.
    """
    template = owner.spec.template
    name = _name(owner, taken, salt)
    return Object(
        key=catalog.KINDS["Pod"].key(owner.key.namespace, name),
        labels={**template.metadata.labels, **_canonical(owner)},
        annotations=template.metadata.annotations,
        owners=(Owner(key=owner.key, uid=owner.uid, controller=True),),
        spec=Pod(spec=_completed(template.spec, node), status=PodStatus(phase="Pending")),
    )


def workload(owner: Object[ReplicaSet]) -> str:
    """The name of what a ReplicaSet's Pods are instances of: its Deployment's, or its own."""
    word = owner.labels.get(HASH, "")
    return owner.key.name.removesuffix(f"-{word}") if word and owner.owners else owner.key.name


def controller(found: Object[Any]) -> Owner | None:
    """The owner that looks after an object."""
    return next((owner for owner in found.owners if owner.controller), None)


def is_of(found: Object[Any], owner: Object[Any]) -> bool:
    """Whether `owner` looks after an object; one of the same name before it does not count."""
    claim = controller(found)
    return claim is not None and claim.key == owner.key and claim.uid in ("", owner.uid)


def grace(spec: PodSpec) -> float:
    """Seconds that a Pod has to end."""
    seconds = spec.termination_grace_period_seconds
    return GRACE if seconds is None else float(seconds)


def problem(selector: LabelSelector | None, template: PodTemplateSpec) -> str:
    """Why no Pod can be made; empty: they can."""
    if selector is None or not (selector.match_labels or selector.match_expressions):
        return "spec.selector is empty: write matchLabels with labels of the template"
    labels = template.metadata.labels
    if not matches(selector, labels):
        written = ", ".join(f"{name}={value}" for name, value in labels.items()) or "no labels"
        return f"spec.selector does not match the template, which has {written}: make them equal"
    return spec_problem(template.spec)


def spec_problem(spec: PodSpec) -> str:
    """Why a Pod cannot run, whatever it runs on; empty: it can."""
    if not spec.containers:
        return "there is no container: write one in spec.containers"
    names = [one.name for one in (*spec.init_containers, *spec.containers)]
    if not all(names):
        return "a container has no name: give it one"
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return f'two containers are named "{twice[0]}": give each a name of its own'
    return ""


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether labels meet all conditions of a selector."""
    return workloads.has(labels, workloads.pairs(selector.match_labels)) and all(
        _meets(labels, one) for one in selector.match_expressions
    )


def _meets(labels: Mapping[str, str], wanted: LabelSelectorRequirement) -> bool:
    match wanted.operator:
        case "In":
            return labels.get(wanted.key) in wanted.values
        case "NotIn":
            return labels.get(wanted.key) not in wanted.values
        case "Exists":
            return wanted.key in labels
        case "DoesNotExist":
            return wanted.key not in labels
        case _:
            return False


def _name(owner: Object[ReplicaSet], taken: Collection[str], salt: str) -> str:
    front = owner.key.name[: _LONGEST_NAME - _SUFFIX_LENGTH - 1].rstrip("-.")
    attempt = 0
    while True:
        name = f"{front}-{letters(_SUFFIX_LENGTH, owner.uid, salt, str(attempt))}"
        if name not in taken:
            return name
        attempt += 1


def _canonical(owner: Object[ReplicaSet]) -> dict[str, str]:
    labels = owner.spec.template.metadata.labels
    return {
        "service.istio.io/canonical-name": workloads.canonical_name(labels, workload(owner)),
        "service.istio.io/canonical-revision": workloads.canonical_revision(labels),
    }


def _completed(spec: PodSpec, node: str) -> PodSpec:
    """What users leave out, as Kubernetes' defaults."""
    return structs.replace(
        spec,
        restart_policy=spec.restart_policy or "Always",
        node_name=node,
        termination_grace_period_seconds=int(grace(spec)),
        dns_policy=spec.dns_policy or "ClusterFirst",
        service_account_name=spec.service_account_name or spec.service_account or "default",
    )
