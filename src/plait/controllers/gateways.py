"""The gateway that nobody has to write: a Deployment for Gateways that ask for Istio's own."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct, structs

from plait.base.query import Query
from plait.config import catalog, injection
from plait.config.indexes import ALL
from plait.config.kinds.container import Container
from plait.config.kinds.gateway import Gateway
from plait.config.kinds.labels import LabelSelector, ObjectMeta
from plait.config.kinds.pod import PodSpec, PodTemplateSpec
from plait.config.kinds.workloads import Deployment
from plait.config.meta import Key, Object
from plait.config.names import ROOT_NAMESPACE
from plait.controllers.actions import Decision, Drop, Put
from plait.mesh import workloads

LABELS: Final = {"app": "istio-ingressgateway", "istio": "ingressgateway"}
"""By which Gateways select it."""
KEY: Final = Key(
    group="apps", kind="Deployment", namespace=ROOT_NAMESPACE, name="istio-ingressgateway"
)
_MANAGED_BY: Final = {"app.kubernetes.io/managed-by": "plait"}


class Entrance(Struct, frozen=True, kw_only=True):
    """Whether the built-in gateway is asked for, and the Deployment of its name.

    Attributes:
        is_ours: it is the built-in one.
    """

    is_wanted: bool
    there: Object[Deployment] | None = None
    is_ours: bool = False


def entrance(q: Query) -> Entrance:
    """It is wanted if a Gateway selects it, and no Deployment of a user."""
    users = [
        labels
        for key in q.keys("Deployment", "all", ALL)
        if (labels := q(_labels_of_users, key)) is not None
    ]
    wanted = any(
        workloads.has(LABELS, chosen) and not any(workloads.has(labels, chosen) for labels in users)
        for key in q.keys("Gateway", "all", ALL)
        if (chosen := q(_selected, key))
    )
    there: Object[Deployment] | None = q.row("Deployment", KEY)
    ours = there is not None and _is_ours(there)
    return Entrance(is_wanted=wanted, there=there, is_ours=ours)


def step(world: Entrance) -> Decision:
    """Make the gateway, mend it after an upgrade, or take it away."""
    if world.there is None:
        return Decision(actions=(Put(object=_gateway()),) if world.is_wanted else ())
    if not world.is_ours:
        return Decision()
    if not world.is_wanted:
        return Decision(actions=(Drop(key=KEY),))
    spec = structs.replace(world.there.spec, template=_gateway().spec.template)
    if spec == world.there.spec:
        return Decision()
    return Decision(actions=(Put(object=structs.replace(world.there, spec=spec)),))


def _gateway() -> Object[Deployment]:
    """One Pod that is nothing but a proxy; its number may be changed."""
    metadata = ObjectMeta(
        labels={**LABELS, injection.INJECT: "true"},
        annotations={injection.TEMPLATES: "gateway"},
    )
    container = Container(name=injection.PROXY, image=injection.AUTO)
    return Object(
        key=catalog.KINDS["Deployment"].key(KEY.namespace, KEY.name),
        labels={**LABELS, **_MANAGED_BY},
        spec=Deployment(
            replicas=1,
            selector=LabelSelector(match_labels=LABELS),
            template=PodTemplateSpec(metadata=metadata, spec=PodSpec(containers=(container,))),
        ),
    )


def _is_ours(found: Object[Any]) -> bool:
    return workloads.has(found.labels, workloads.pairs(_MANAGED_BY))


def _labels_of_users(q: Query, key: Key) -> dict[str, str] | None:
    """The labels that a Deployment's Pods have; None: it is not a user's."""
    found: Object[Deployment] | None = q.row("Deployment", key)
    if found is None or _is_ours(found):
        return None
    return dict(found.spec.template.metadata.labels)


def _selected(q: Query, key: Key) -> workloads.Pairs:
    """What a Gateway selects; empty: everything, which asks for nobody."""
    found: Object[Gateway] | None = q.row("Gateway", key)
    return workloads.pairs(found.spec.selector) if found else ()
