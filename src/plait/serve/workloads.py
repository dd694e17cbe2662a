"""What runs: each Deployment and lone Pod with its instances, and the ways in from outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from plait.base import place as places
from plait.base import processes
from plait.base.place import EdgeState, Place, ProxyState
from plait.config.diagnostics import Severity
from plait.config.kinds import pod, workloads
from plait.config.meta import Key, Object
from plait.config.ports import Runtime
from plait.config.record import Record
from plait.config.store import Store

_ON_THE_WAY: Final = ("ContainerCreating", "PodInitializing", "ProxyStarting", "")


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
    """All that runs here.

    Attributes:
        weaknesses: why some identities are kept apart less well than they could be.
    """

    workloads: tuple[Workload, ...]
    doors: tuple[Door, ...]
    weaknesses: tuple[str, ...] = ()


def page(store: Store, place: Place | None, runtime: Runtime | None) -> Page:
    """What runs now, as the runtime knows it; without a place there are no doors.

    The rows of Pods follow a moment later, and tell of the last time where all was killed.
    """
    owned: defaultdict[Key, list[Instance]] = defaultdict(list)
    sets = {
        record.key: owner
        for record in store.records("ReplicaSet")
        if (owner := _controller(record)) is not None
    }
    found = []
    for record in store.records("Pod"):
        if record.object is None:
            continue
        seen = runtime.status(record.key) if runtime else record.object.spec.status
        instance = _instance(record.object, seen or pod.PodStatus())
        owner = _controller(record)
        if owner is None:
            found.append(_lone(record.key, instance))
        else:
            owned[sets.get(owner, owner)].append(instance)
    found += [_deployment(one, tuple(owned[one.key])) for one in store.records("Deployment")]
    return Page(
        workloads=tuple(sorted(found, key=lambda one: (one.namespace, one.name))),
        doors=tuple(_doors(place)) if place else (),
        weaknesses=_weaknesses(place) if place else (),
    )


def _controller(record: Record) -> Key | None:
    owners = record.object.owners if record.object else ()
    return next((owner.key for owner in owners if owner.controller), None)


def _deployment(record: Record, instances: tuple[Instance, ...]) -> Workload:
    spec: workloads.Deployment | None = record.object.spec if record.object else None
    conditions = {one["type"]: one for one in (record.status or {}).get("conditions", ())}
    failure = conditions.get("ReplicaFailure", {})
    return Workload(
        kind=record.key.kind,
        namespace=record.key.namespace,
        name=record.key.name,
        desired=1 if spec is None or spec.replicas is None else spec.replicas,
        ready=sum(one.ready for one in instances),
        instances=instances,
        message=_refused(record)
        or (failure.get("message", "") if failure.get("status") == "True" else ""),
    )


def _refused(record: Record) -> str:
    """Why a Deployment that was never read is not run; empty: it is, or an older one is."""
    errors = [one for one in record.problems if one.severity is Severity.ERROR]
    if record.object is not None or not errors:
        return ""
    return "; ".join(f"{one.path}: {one.message} ({one.locator})" for one in errors)


def _lone(key: Key, instance: Instance) -> Workload:
    return Workload(
        kind=key.kind,
        namespace=key.namespace,
        name=key.name,
        desired=1,
        ready=int(instance.ready),
        instances=(instance,),
    )


def _instance(found: Object[pod.Pod], status: pod.PodStatus) -> Instance:
    held = {one.type: one for one in status.conditions}
    reason, message = next(_troubles(status), ("", ""))
    ready = found.deleted is None and _holds(held, "Ready")
    return Instance(
        name=found.key.name,
        phase="Terminating" if found.deleted is not None else status.phase or "Pending",
        ip=status.pod_ip,
        ready=ready,
        proxied=_holds(held, "Initialized"),
        restarts=sum(one.restart_count for one in status.container_statuses),
        reason="" if ready else reason,
        message="" if ready else message or _unready(held),
    )


def _holds(held: Mapping[str, pod.PodCondition], name: str) -> bool:
    return name in held and held[name].status == "True"


def _unready(held: Mapping[str, pod.PodCondition]) -> str:
    """What the conditions say, the last first: it is the nearest to the cause."""
    found = (held[name].message for name in ("ContainersReady", "Initialized") if name in held)
    return next((message for message in found if message), "")


def _troubles(status: pod.PodStatus) -> Iterator[tuple[str, str]]:
    """Reason and message of each container that waits for long, or ended badly."""
    if status.reason:
        yield status.reason, status.message
    for one in (*status.init_container_statuses, *status.container_statuses):
        for held in (one.state.waiting, one.state.terminated):
            if held and held.reason not in (*_ON_THE_WAY, "Completed"):
                yield held.reason, held.message


def _weaknesses(place: Place) -> tuple[str, ...]:
    """What the agent says of proxies that should run, each thing once."""
    states = (places.read(place.state(one.stem), ProxyState) for one in place.specs.glob("*.json"))
    return tuple(sorted({state.weakness for state in states if state and state.weakness}))


def _doors(place: Place) -> Iterator[Door]:
    state = places.read(place.state(places.EDGE), EdgeState) or EdgeState()
    if not processes.is_running(state.pid):  # killed, and nobody has noted it yet
        state = EdgeState()
    spec = places.read(place.edge, places.EdgeSpec) or places.EdgeSpec()
    for port in spec.ports:
        address = f"{port.host}:{port.port}"
        yield Door(
            address=address,
            open=address in state.listening,
            problem=state.problems.get(address, ""),
        )
