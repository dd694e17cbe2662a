"""The EndpointSlices of a Service: its Pods with their ports, and which of them take requests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, structs

from plait.base.query import Query
from plait.config import catalog, indexes
from plait.config.kinds.core import ObjectReference, Service, ServicePort
from plait.config.kinds.discovery import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from plait.config.kinds.pod import Pod
from plait.config.meta import Key, Object, Owner
from plait.controllers import templates
from plait.controllers.actions import Action, Decision, Drop, Put
from plait.controllers.counts import ENDED, ready_since, state
from plait.mesh import workloads

MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
"""The label that says whose a slice is."""
MANAGER: Final = "plait-workload"
_HEADLESS: Final = "service.kubernetes.io/headless"
_SUFFIX_LENGTH: Final = 5

Ports = tuple[EndpointPort, ...]


class Serving(Struct, frozen=True, kw_only=True):
    """A Service's slices, as they should be and as they are; those of others are not here."""

    wanted: tuple[Object[EndpointSlice], ...]
    there: tuple[Object[EndpointSlice], ...]


def serving(q: Query, key: Key) -> Serving:
    """The slices of a Service; it wants none if it is gone, or looks after them itself."""
    found: Object[Service] | None = q.row("Service", key)
    name = (key.namespace, key.name)
    there = tuple(one for one in q.rows("EndpointSlice", "service", name) if _is_ours(one))
    if found is None or not found.spec.selector or found.spec.type == "ExternalName":
        return Serving(wanted=(), there=there)
    grouped: defaultdict[Ports, list[Endpoint]] = defaultdict(list)
    pairs = workloads.pairs(found.spec.selector)
    for pod in q(workloads.selected, "Pod", key.namespace, pairs):
        if (reached := q(_reached, pod, key)) is not None:
            ports, endpoint = reached
            grouped[ports].append(endpoint)
    wanted = (_slice(found, ports, tuple(endpoints)) for ports, endpoints in grouped.items())
    return Serving(wanted=tuple(sorted(wanted, key=lambda one: one.key)), there=there)


def step(world: Serving) -> Decision:
    """Write the slices that are not as they should be."""
    there = {one.key: one for one in world.there}
    actions: list[Action] = []
    for one in world.wanted:
        before = there.pop(one.key, None)
        if before is None:
            actions.append(Put(object=one))
            continue
        same = structs.replace(one, uid=before.uid, created=before.created)
        if same != before:
            actions.append(Put(object=same))
    actions += [Drop(key=key) for key in there]
    return Decision(actions=tuple(actions))


def owner(found: Object[Any]) -> Key | None:
    """The Service that a slice of ours is for."""
    if not _is_ours(found):
        return None
    name = found.labels.get(indexes.SERVICE_NAME, "")
    return catalog.KINDS["Service"].key(found.key.namespace, name) if name else None


def _is_ours(found: Object[Any]) -> bool:
    return found.labels.get(MANAGED_BY) == MANAGER


def _reached(q: Query, pod: Key, service: Key) -> tuple[Ports, Endpoint] | None:
    """A Pod as an endpoint of a Service; None: it has no address, or is over."""
    found: Object[Pod] | None = q.row("Pod", pod)
    target: Object[Service] | None = q.row("Service", service)
    if found is None or target is None:
        return None
    status = state(found)
    if not status.pod_ip or status.phase in ENDED:
        return None
    endpoint = Endpoint(
        addresses=(status.pod_ip,),
        conditions=_conditions(found, publish=target.spec.publish_not_ready_addresses),
        hostname=_hostname(found, service.name),
        target_ref=ObjectReference(
            kind="Pod", namespace=pod.namespace, name=pod.name, uid=found.uid
        ),
        node_name=found.spec.spec.node_name,
    )
    return _ports(found, target.spec), endpoint


def _conditions(found: Object[Pod], *, publish: bool) -> EndpointConditions:
    serves = publish or ready_since(found) is not None
    ends = found.deleted is not None
    return EndpointConditions(
        ready=serves and (publish or not ends), serving=serves, terminating=ends
    )


def _hostname(found: Object[Pod], service: str) -> str:
    """Of a Pod that wants a DNS name of its own below this Service."""
    spec = found.spec.spec
    return spec.hostname if spec.subdomain == service else ""


def _ports(found: Object[Pod], service: Service) -> Ports:
    """The Service's ports with the Pod's numbers; one whose name the Pod lacks is left out."""
    numbers = {
        (port.name, port.protocol): port.container_port
        for container in found.spec.spec.containers
        for port in container.ports
    }
    ports = ((port, _number(port, numbers)) for port in service.ports)
    return tuple(
        EndpointPort(
            name=port.name, protocol=port.protocol, port=number, app_protocol=port.app_protocol
        )
        for port, number in ports
        if number
    )


def _number(port: ServicePort, numbers: Mapping[tuple[str, str], int]) -> int:
    match port.target_port:
        case None | 0 | "":
            return port.port
        case int() as number:
            return number
        case str() as name:
            return numbers.get((name, port.protocol), 0)


def _slice(
    found: Object[Service], ports: Ports, endpoints: tuple[Endpoint, ...]
) -> Object[EndpointSlice]:
    word = templates.letters(_SUFFIX_LENGTH, found.key.name, *(_told(port) for port in ports))
    labels = {**found.labels, indexes.SERVICE_NAME: found.key.name, MANAGED_BY: MANAGER}
    if found.spec.cluster_ip == "None":
        labels[_HEADLESS] = ""
    return Object(
        key=catalog.KINDS["EndpointSlice"].key(found.key.namespace, f"{found.key.name}-{word}"),
        labels=labels,
        owners=(Owner(key=found.key, uid=found.uid, controller=True),),
        spec=EndpointSlice(address_type="IPv4", endpoints=endpoints, ports=ports),
    )


def _told(port: EndpointPort) -> str:
    return f"{port.name}:{port.port}/{port.protocol}"
