"""The endpoints of a host: EndpointSlices, WorkloadEntries, Pods, and what ServiceEntries write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import structs

from plait.base.query import Query
from plait.config import names
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.kinds import core, discovery, service_entry
from plait.config.meta import Key, Object
from plait.mesh import ir, security, workloads
from plait.mesh.hosts import EXTERNAL_NAME, host
from plait.mesh.hosts import part as part_query
from plait.mesh.workloads import Pairs, Workload

CLUSTER = "Kubernetes"
"""Name of the cluster that workloads are in, as Istio's default."""

RESOLVED = (ir.Resolution.DNS, ir.Resolution.DNS_ROUND_ROBIN)
"""Hosts whose endpoints are names (or addresses) that Envoy looks up itself."""

_LAST_PORT = 65535
_MOST_WEIGHT = 2**32 - 1


def endpoints(q: Query, host_id: ir.HostId) -> tuple[ir.Endpoint, ...]:
    """All endpoints of a host, those that are not ready too; by locality and address.

    Ports are named as the host names them.  One address with the same ports is there once: the
    first owner's.
    """
    own = {port.number: port.name for port in q(host, host_id).ports}
    found: dict[tuple[Any, ...], ir.Endpoint] = {}
    for key in host_id.owners:
        renamed = _renamed(q, key, own)
        for one in _of_owner(q, key, host_id.name):
            ports = {renamed[name]: number for name, number in one.ports.items() if name in renamed}
            same = (one.address, tuple(sorted(ports.items())))
            found.setdefault(same, _with_ports(one, ports))
    return tuple(sorted(found.values(), key=_order))


def _order(one: ir.Endpoint) -> tuple[Any, ...]:
    return (one.locality, one.address, sorted(one.ports.items()))


def _renamed(q: Query, key: Key, own: Mapping[int, str]) -> dict[str, str]:
    """Names of ports as an owner writes them → as the host does."""
    part = q(part_query, key)
    ports = part.ports if part else ()
    return {port.name: own[port.number] for port in ports if port.number in own}


def _with_ports(one: ir.Endpoint, ports: dict[str, int]) -> ir.Endpoint:
    if ports == one.ports:
        return one
    return structs.replace(one, ports=ports)


def _of_owner(q: Query, key: Key, name: str) -> Iterator[ir.Endpoint]:
    found: Object[Any] | None = q.row(key.kind, key)
    if found is None:
        return
    if key.kind == "Service":
        yield from _of_service(q, found)
    else:
        yield from _of_service_entry(q, found, name)


# Services


def _of_service(q: Query, service: Object[core.Service]) -> Iterator[ir.Endpoint]:
    spec, key = service.spec, service.key
    if spec.type == EXTERNAL_NAME:
        yield ir.Endpoint(
            address=spec.external_name,
            ports={port.name: port.port for port in spec.ports},
            namespace=key.namespace,
            workload=key.name,
        )
        return
    for piece in q.rows("EndpointSlice", "service", (key.namespace, key.name)):
        yield from _of_slice(q, piece)
    if spec.selector:
        chosen = workloads.pairs(spec.selector)
        targets = {port.name: (port.target_port or port.port, port.port) for port in spec.ports}
        for entry in q(workloads.selected, "WorkloadEntry", key.namespace, chosen):
            if (found := q(workloads.of_entry, entry)) and found.address:
                yield _endpoint(found, _ports(found, targets))


def _of_slice(q: Query, piece: Object[discovery.EndpointSlice]) -> Iterator[ir.Endpoint]:
    ports = {port.name: port.port for port in piece.spec.ports if port.port is not None}
    namespace = piece.key.namespace
    for one in piece.spec.endpoints:
        if not one.addresses:
            continue
        ref = one.target_ref
        found = None
        if ref is not None and ref.kind == "Pod":
            pod = Key(group="", kind="Pod", namespace=ref.namespace or namespace, name=ref.name)
            found = q(workloads.of_pod, pod)
        name = one.hostname or (ref.name if ref else "")
        found = found or Workload(address="", labels={}, namespace=namespace, workload=name)
        yield _endpoint(
            found,
            ports,
            address=one.addresses[0],
            ready=one.conditions.ready is not False and not one.conditions.terminating,
            zone=one.zone,
            hostname=one.hostname,
        )


# ServiceEntries


def _of_service_entry(
    q: Query, entry: Object[service_entry.ServiceEntry], name: str
) -> Iterator[ir.Endpoint]:
    spec, key = entry.spec, entry.key
    targets: dict[str, tuple[int | str, int]] = {
        port.name: (port.target_port or port.number, port.number) for port in spec.ports
    }
    if spec.workload_selector is not None:
        for found in _selected(q, key.namespace, workloads.pairs(spec.workload_selector.labels)):
            yield _endpoint(found, _ports(found, targets))
    for one in spec.endpoints:
        found = workloads.written(q, one, key.namespace, key.name, {})
        if found.address:
            yield _endpoint(found, _ports(found, targets))
    if not spec.endpoints and spec.workload_selector is None and _is_resolved(spec, name):
        found = Workload(address=name, labels={}, namespace=key.namespace, workload=key.name)
        yield _endpoint(found, _ports(found, targets))


def _is_resolved(spec: service_entry.ServiceEntry, name: str) -> bool:
    """Whether the host's own name is looked up; a wildcard cannot be."""
    kinds = (service_entry.Resolution.DNS, service_entry.Resolution.DNS_ROUND_ROBIN)
    return spec.resolution in kinds and not name.startswith("*")


def _selected(q: Query, namespace: str, chosen: Pairs) -> Iterator[Workload]:
    if not chosen:
        return  # Istio's rule: an empty selector picks nothing here
    for key in q(workloads.selected, "WorkloadEntry", namespace, chosen):
        if (found := q(workloads.of_entry, key)) and found.address:
            yield found
    for key in q(workloads.selected, "Pod", namespace, chosen):
        if (found := q(workloads.of_pod, key)) and found.address:
            yield found


def _ports(found: Workload, targets: Mapping[str, tuple[int | str, int]]) -> dict[str, int]:
    """Numbers on the workload: what it says of the port's name, else the target, else the same.

    A target that is a name is looked for among the workload's own names.
    """
    return {
        name: found.ports.get(name) or _number(found, target, number)
        for name, (target, number) in targets.items()
    }


def _number(found: Workload, target: int | str, number: int) -> int:
    if isinstance(target, int):
        return target
    return found.ports.get(target) or found.container_ports.get(target) or number


def _endpoint(
    found: Workload,
    ports: Mapping[str, int],
    *,
    address: str = "",
    ready: bool = True,
    zone: str = "",
    hostname: str = "",
) -> ir.Endpoint:
    place = found.locality
    if zone and not place.zone:
        place = ir.Locality(place.region, zone, place.subzone)
    return ir.Endpoint(
        address=names.address(address or found.address),
        ports=ports,
        labels=found.labels,
        namespace=found.namespace,
        workload=found.workload,
        cluster=CLUSTER,
        network=found.network,
        tls=workloads.takes_tls(found.labels),
        locality=place,
        weight=found.weight,
        ready=ready if address else found.ready,
        identity=found.identity,
        hostname=hostname,
        uncaptured=found.uncaptured,
    )


# One cluster's endpoints


def endpoint_set(
    q: Query, host_id: ir.HostId, number: int, labels: Pairs, name: str = ""
) -> ir.EndpointSet:
    """The ready endpoints of a host's port that have all `labels`, by locality.

    `name` is the cluster's; where a host that has endpoints has none with `labels`, or none at
    all, its owner is told: PLT3005, PLT3002.  What Envoy would refuse the whole set for is left
    out: a name where addresses are wanted, a socket among names, a port that cannot be.
    """
    called = q(host, host_id)
    port = called.port(number)
    if port is None:
        return ir.EndpointSet(cluster=name, port="")
    looked_up = called.resolution in RESOLVED
    known = q(endpoints, host_id)
    every = [one for one in known if _is_callable(one, port.name, looked_up=looked_up)]
    found = [one for one in every if workloads.has(one.labels, labels)]
    ready = _secured(q, [one for one in found if one.ready], port.name)
    if not ready:
        q.report(_nobody(host_id, number, labels, len(found)))
    return ir.EndpointSet(cluster=name, port=port.name, groups=grouped(_fitting(ready)))


def _secured(q: Query, found: list[ir.Endpoint], port: str) -> list[ir.Endpoint]:
    """The endpoints, taking mutual TLS or not by what policies say of their port."""
    spaces = {one.namespace for one in found}
    governed = {space for space in sorted(spaces) if q(security.is_governed, space)}
    if not governed and not any(one.uncaptured for one in found):
        return found
    return [
        _governed(q, one, port) if one.namespace in governed else _bare(one, port) for one in found
    ]


def _governed(q: Query, one: ir.Endpoint, port: str) -> ir.Endpoint:
    pairs = workloads.pairs(one.labels)
    takes = q(security.takes_tls, one.namespace, pairs, one.ports.get(port, 0), one.tls)
    return _bare(one if takes == one.tls else structs.replace(one, tls=takes), port)


def _bare(one: ir.Endpoint, port: str) -> ir.Endpoint:
    """The endpoint without mutual TLS where nothing stands before its port."""
    is_bare = one.tls and one.ports.get(port) in one.uncaptured
    return structs.replace(one, tls=False) if is_bare else one


def _is_callable(one: ir.Endpoint, port: str, *, looked_up: bool) -> bool:
    if one.address.startswith("unix://"):
        return not looked_up and port in one.ports
    return 0 < one.ports.get(port, 0) <= _LAST_PORT and (looked_up or names.is_address(one.address))


def _fitting(found: list[ir.Endpoint]) -> list[ir.Endpoint]:
    """The endpoints, with smaller weights in proportion where Envoy would refuse their sum."""
    total = sum(one.weight for one in found)
    if total <= _MOST_WEIGHT:
        return found
    room = _MOST_WEIGHT - len(found)
    return [structs.replace(one, weight=1 + one.weight * room // total) for one in found]


def grouped(found: Iterable[ir.Endpoint]) -> tuple[ir.LocalityGroup, ...]:
    """Endpoints by locality, in the order of localities."""
    groups: defaultdict[ir.Locality, list[ir.Endpoint]] = defaultdict(list)
    for one in found:
        groups[one.locality].append(one)
    return tuple(
        ir.LocalityGroup(locality=place, endpoints=tuple(groups[place])) for place in sorted(groups)
    )


def _nobody(host_id: ir.HostId, number: int, labels: Pairs, unready: int) -> Diagnostic:
    said = ", ".join(f"{name}={value}" for name, value in labels)
    who = f"port {number} of {host_id.name}" + (f" with {said}" if said else "")
    waiting = f": {unready} not ready" if unready else ""
    return Diagnostic(
        code="PLT3005" if labels else "PLT3002",
        severity=Severity.INFO,
        subject=host_id.owners[0],
        message=f"no endpoint is ready for {who}{waiting}; requests are answered 503",
    )
