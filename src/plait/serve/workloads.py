"""What runs: each Deployment and lone Pod with its instances, and the ways in from outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from plait.base import place as places
from plait.base.place import EdgeState, Place
from plait.config.kinds import pod, workloads
from plait.config.meta import Key
from plait.config.record import Record
from plait.config.store import Store

_ON_THE_WAY: Final = ("ContainerCreating", "PodInitializing", "")


class Instance(Struct, frozen=True, kw_only=True, rename="camel"):
    """One Pod.

    Attributes:
        ready: it takes requests.
        proxied: its proxy has its configuration.
        restarts: of its containers, together.
        reason, message: why it is not ready; both empty: it is, or it is on its way.
    """

    name: str
    phase: str
    ip: str
    ready: bool
    proxied: bool
    restarts: int
    reason: str
    message: str


class Workload(Struct, frozen=True, kw_only=True, rename="camel"):
    """A Deployment, or a Pod that belongs to nothing.

    Attributes:
        desired: how many instances there should be; `ready`: how many take requests.
        message: why there are none, if that is the Deployment's own fault.
    """

    kind: str
    namespace: str
    name: str
    desired: int
    ready: int
    instances: tuple[Instance, ...]
    message: str = ""


class Door(Struct, frozen=True, kw_only=True, rename="camel"):
    """A port of this machine that leads to gateways.

    Attributes:
        open: connections are taken.
        problem: why they are not; empty: it is being opened.
    """

    address: str
    open: bool
    problem: str


class Page(Struct, frozen=True, kw_only=True, rename="camel"):
    """All that runs here."""

    workloads: tuple[Workload, ...]
    doors: tuple[Door, ...]


def page(store: Store, place: Place | None) -> Page:
    """What runs now; of a control plane without a machine there are no doors."""
    owned: defaultdict[Key, list[Record]] = defaultdict(list)
    sets: dict[Key, Key] = {}
    for record in store.records("ReplicaSet"):
        if owner := _controller(record):
            sets[record.key] = owner
    lone = []
    for record in store.records("Pod"):
        owner = _controller(record)
        if owner is None:
            lone.append(_lone(record))
        else:
            owned[sets.get(owner, owner)].append(record)
    found = [_deployment(record, owned[record.key]) for record in store.records("Deployment")]
    return Page(
        workloads=tuple(sorted((*found, *lone), key=lambda one: (one.namespace, one.name))),
        doors=tuple(_doors(place)) if place else (),
    )


def _controller(record: Record) -> Key | None:
    owners = record.object.owners if record.object else ()
    return next((owner.key for owner in owners if owner.controller), None)


def _deployment(record: Record, pods: Iterable[Record]) -> Workload:
    spec: workloads.Deployment | None = record.object.spec if record.object else None
    instances = tuple(instance for one in pods if (instance := _instance(one)))
    conditions = {one["type"]: one for one in (record.status or {}).get("conditions", ())}
    failure = conditions.get("ReplicaFailure", {})
    return Workload(
        kind=record.key.kind,
        namespace=record.key.namespace,
        name=record.key.name,
        desired=1 if spec is None or spec.replicas is None else spec.replicas,
        ready=sum(one.ready for one in instances),
        instances=instances,
        message=failure.get("message", "") if failure.get("status") == "True" else "",
    )


def _lone(record: Record) -> Workload:
    instance = _instance(record)
    return Workload(
        kind=record.key.kind,
        namespace=record.key.namespace,
        name=record.key.name,
        desired=1,
        ready=int(instance is not None and instance.ready),
        instances=(instance,) if instance else (),
    )


def _instance(record: Record) -> Instance | None:
    if record.object is None:
        return None
    status = record.object.spec.status or pod.PodStatus()
    held = {one.type: one for one in status.conditions}
    containers: list[Mapping[str, Any]] = (record.status or {}).get("containerStatuses", [])
    reason, message = next(_troubles(containers), ("", ""))
    ready = record.object.deleted is None and _holds(held, "Ready")
    return Instance(
        name=record.key.name,
        phase="Terminating" if record.object.deleted is not None else status.phase or "Pending",
        ip=status.pod_ip,
        ready=ready,
        proxied=_holds(held, "Initialized"),
        restarts=sum(int(one.get("restartCount", 0)) for one in containers),
        reason="" if ready else reason,
        message="" if ready else message or _unready(held),
    )


def _holds(held: Mapping[str, pod.PodCondition], name: str) -> bool:
    return name in held and held[name].status == "True"


def _unready(held: Mapping[str, pod.PodCondition]) -> str:
    """What the conditions say, the last first: it is the nearest to the cause."""
    found = (held[name].message for name in ("ContainersReady", "Initialized") if name in held)
    return next((message for message in found if message), "")


def _troubles(containers: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Reason and message of each container that waits or ended."""
    for one in containers:
        state = one.get("state") or {}
        for held in (state.get("waiting"), state.get("terminated")):
            reason = (held or {}).get("reason", "")
            if held and reason not in _ON_THE_WAY and reason != "Completed":
                yield reason, str(held.get("message", ""))


def _doors(place: Place) -> Iterator[Door]:
    state = places.read(place.proxy(places.EDGE) / "state.json", EdgeState) or EdgeState()
    spec = places.read(place.edge, places.EdgeSpec) or places.EdgeSpec()
    for port in spec.ports:
        address = f"{port.host}:{port.port}"
        yield Door(
            address=address,
            open=address in state.listening,
            problem=state.problems.get(address, ""),
        )
