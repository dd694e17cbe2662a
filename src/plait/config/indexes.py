"""What rows are filed under, beside their key: pure functions from a row to index values."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Final

from plait.config import names
from plait.config.kinds import (
    core,
    destination_rule,
    discovery,
    pod,
    service_entry,
    virtual_service,
    workload_entry,
)
from plait.config.meta import Key, Object

SERVICE_NAME: Final = "kubernetes.io/service-name"
ALL: Final = True
"""The one bucket of `everything`."""
EXPORT_TO: Final = "networking.istio.io/exportTo"
"""The annotation by which a Service says who sees it: namespaces with commas between."""
AUTOMATIC_ADDRESS: Final = "networking.istio.io/enable-autoallocate-ip"
"""The label by which a ServiceEntry, with ``false``, goes without an address made up for it."""


def namespace(row: Object[Any]) -> tuple[str, ...]:
    """The namespace of any object."""
    return (row.key.namespace,)


def everything(row: Object[Any]) -> tuple[bool, ...]:
    """One bucket for all."""
    del row
    return (True,)


def service_host(row: Object[core.Service]) -> tuple[str, ...]:
    """The full name of a Service."""
    return (names.service_host(row.key),)


def service_export(row: Object[core.Service]) -> tuple[str, ...]:
    """Who sees a Service; what says nothing is under ``*``."""
    written = row.annotations.get(EXPORT_TO, "")
    parts = (part.strip() for part in written.split(","))
    return names.exports((part for part in parts if part), row.key.namespace)


def service_selected(row: Object[core.Service]) -> tuple[str, ...]:
    """The namespace of a Service that selects workloads."""
    return (row.key.namespace,) if row.spec.selector else ()


def service_virtual_address(row: Object[core.Service]) -> tuple[str, ...]:
    """The virtual IPs of a Service; ``None`` for one that goes without."""
    spec = row.spec
    written = () if spec.type == "ExternalName" else (*spec.cluster_ips, spec.cluster_ip)
    return tuple(dict.fromkeys(names.address(one) for one in written if one))


def service_bare_port(row: Object[core.Service]) -> tuple[int, ...]:
    """Numbers of the ports of a Service that has no virtual IP and does not go without one."""
    ports = () if service_virtual_address(row) else row.spec.ports
    return tuple(dict.fromkeys(port.port for port in ports))


def service_unaddressed(row: Object[core.Service]) -> tuple[bool, ...]:
    """True for a Service that is called, and neither has a virtual IP nor goes without one."""
    spec = row.spec
    if spec.type == "ExternalName":
        return (True,) if spec.ports else ()
    return () if spec.cluster_ip or spec.cluster_ips else (True,)


def entry_unaddressed(row: Object[service_entry.ServiceEntry]) -> tuple[bool, ...]:
    """True for a ServiceEntry that lacks an address: it refuses none, and names what it reaches."""
    original = (service_entry.Resolution.NONE, service_entry.Resolution.DYNAMIC_DNS)
    refused = row.labels.get(AUTOMATIC_ADDRESS) == "false"
    return () if row.spec.addresses or refused or row.spec.resolution in original else (True,)


def entry_virtual_address(row: Object[service_entry.ServiceEntry]) -> tuple[str, ...]:
    """The virtual IPs and ranges that a ServiceEntry writes."""
    return tuple(dict.fromkeys(map(names.address, row.spec.addresses)))


def entry_bare_port(row: Object[service_entry.ServiceEntry]) -> tuple[int, ...]:
    """Numbers of the ports of a ServiceEntry that writes no address."""
    ports = () if row.spec.addresses else row.spec.ports
    return tuple(dict.fromkeys(port.number for port in ports))


def entry_host(row: Object[service_entry.ServiceEntry]) -> tuple[str, ...]:
    """The hosts of a ServiceEntry."""
    return tuple(dict.fromkeys(row.spec.hosts))


def entry_selected(row: Object[service_entry.ServiceEntry]) -> tuple[str, ...]:
    """The namespace of a ServiceEntry that selects workloads."""
    return (row.key.namespace,) if row.spec.workload_selector is not None else ()


def export(row: Object[Any]) -> tuple[str, ...]:
    """Who sees an object that has ``exportTo``; what says nothing is under ``*``."""
    return names.exports(row.spec.export_to, row.key.namespace)


def rule_host(row: Object[destination_rule.DestinationRule]) -> tuple[str, ...]:
    """The host of a DestinationRule in full; a partial wildcard also as one."""
    return _filed([names.resolve(row.spec.host, row.key.namespace)])


def rule_selecting(row: Object[destination_rule.DestinationRule]) -> tuple[str, ...]:
    """The namespace of a DestinationRule that is for some workloads of it alone."""
    return () if row.spec.workload_selector is None else (row.key.namespace,)


def rule_credential(row: Object[destination_rule.DestinationRule]) -> tuple[bool, ...]:
    """True for a DestinationRule that names a Secret."""
    spec = row.spec
    policies = (spec.traffic_policy, *(subset.traffic_policy for subset in spec.subsets))
    named = any(tls.credential_name for policy in policies for tls in _client_tls(policy))
    return (True,) if named else ()


def _client_tls(
    policy: destination_rule.TrafficPolicy | None,
) -> Iterator[destination_rule.ClientTLSSettings]:
    """What a policy says of TLS, for all ports and for single ones."""
    if policy is not None:
        written = (policy.tls, *(one.tls for one in policy.port_level_settings))
        yield from (one for one in written if one is not None)


def route_gateway(row: Object[virtual_service.VirtualService]) -> tuple[str, ...]:
    """What a VirtualService is bound to: ``mesh`` or ``namespace/name``, of its matches too."""
    bound = [*(row.spec.gateways or (names.MESH,))]
    for match in _matches(row.spec):
        bound.extend(match.gateways)
    return tuple(dict.fromkeys(names.gateway(name, row.key.namespace) for name in bound))


def route_host(row: Object[virtual_service.VirtualService]) -> tuple[str, ...]:
    """The hosts, in full, of a VirtualService for sidecars; a partial wildcard also as one."""
    if names.MESH not in route_gateway(row):
        return ()
    return _filed([names.resolve(host, row.key.namespace) for host in row.spec.hosts])


def _filed(hosts: list[str]) -> tuple[str, ...]:
    partial = [names.PARTIAL] if any(map(names.is_partial, hosts)) else []
    return tuple(dict.fromkeys((*hosts, *partial)))


def route_source_labels(row: Object[virtual_service.VirtualService]) -> tuple[bool, ...]:
    """True for a VirtualService of which a match asks for the caller's labels."""
    return (True,) if any(match.source_labels for match in _matches(row.spec)) else ()


def route_source(row: Object[virtual_service.VirtualService]) -> tuple[bool, ...]:
    """True for a VirtualService of which a match asks for the caller's labels or namespace."""
    asks = any(match.source_labels or match.source_namespace for match in _matches(row.spec))
    return (True,) if asks else ()


def entry_address(row: Object[service_entry.ServiceEntry]) -> tuple[tuple[str, str], ...]:
    """Namespace and address of each endpoint that a ServiceEntry writes out."""
    found = ((row.key.namespace, endpoint.address) for endpoint in row.spec.endpoints)
    return tuple(dict.fromkeys(found))


def workload_address(row: Object[workload_entry.WorkloadEntry]) -> tuple[tuple[str, str], ...]:
    """Namespace and address of a WorkloadEntry."""
    return ((row.key.namespace, row.spec.address),)


def pod_address(row: Object[pod.Pod]) -> tuple[tuple[str, str], ...]:
    """Namespace and each address of a Pod."""
    status = row.spec.status or pod.PodStatus()
    found = dict.fromkeys((status.pod_ip, *(one.ip for one in status.pod_ips)))
    return tuple((row.key.namespace, address) for address in found if address)


def slice_service(row: Object[discovery.EndpointSlice]) -> tuple[tuple[str, str], ...]:
    """Namespace and name of the Service that an EndpointSlice belongs to."""
    name = row.labels.get(SERVICE_NAME)
    return ((row.key.namespace, name),) if name else ()


def rejected_objects(row: Any) -> Iterable[Hashable]:
    """The objects, as printed, of a Rejection."""
    return tuple(row.objects)


def conflicting(row: tuple[Any, ...]) -> Iterable[Hashable]:
    """One bucket for all conflicts."""
    del row
    return (True,)


def owner(row: Object[Any]) -> tuple[Key, ...]:
    """The keys of an object's owners."""
    return tuple(found.key for found in row.owners)


def _matches(
    spec: virtual_service.VirtualService,
) -> Iterator[
    virtual_service.HTTPMatchRequest
    | virtual_service.TLSMatchAttributes
    | virtual_service.L4MatchAttributes
]:
    for http in spec.http:
        yield from http.match
    for tls in spec.tls:
        yield from tls.match
    for tcp in spec.tcp:
        yield from tcp.match
