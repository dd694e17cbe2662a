"""Rules about one Kubernetes object alone; the ones that Envoy's configuration depends on."""

from __future__ import annotations

from typing import Final

from plait.config import syntax
from plait.config.document import Path
from plait.config.finding import invalid, shown
from plait.config.kinds.core import Service, ServicePort
from plait.config.kinds.discovery import EndpointSlice
from plait.config.meta import Object
from plait.config.syntax import Findings

_TYPES: Final = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
_TRANSPORTS: Final = ("TCP", "UDP", "SCTP")
_FAMILIES: Final = ("IPv4", "IPv6", "FQDN")
_LONGEST_PORT_NAME: Final = 15


def service(found: Object[Service], path: Path) -> Findings:
    """All that is wrong with a Service."""
    spec = found.spec
    if spec.type not in _TYPES:
        hint = f"one of {', '.join(_TYPES)}"
        yield invalid((*path, "type"), f"{shown(spec.type)} is no type of Service", hint)
    if spec.type == "ExternalName":
        yield from syntax.host(spec.external_name, (*path, "externalName"), wildcard=False)
    elif not spec.ports and spec.cluster_ip != "None":
        hint = 'write at least one, or make it headless: clusterIP: "None"'
        yield invalid((*path, "ports"), "there is no port", hint)
    if spec.cluster_ip not in ("", "None"):
        yield from syntax.ip(spec.cluster_ip, (*path, "clusterIP"))
    for i, address in enumerate(spec.cluster_ips):
        if address != "None":
            yield from syntax.ip(address, (*path, "clusterIPs", i))
    yield from syntax.labels(spec.selector, (*path, "selector"))
    for i, port in enumerate(spec.ports):
        yield from _port(port, (*path, "ports", i))
        if not port.name and len(spec.ports) > 1:
            here = (*path, "ports", i, "name")
            yield invalid(here, "the name is missing", "with several ports each needs one")
    names = ((p.name, (*path, "ports", i, "name")) for i, p in enumerate(spec.ports) if p.name)
    yield from syntax.unique(names, "port name")
    numbers = ((f"{p.port}/{p.protocol}", (*path, "ports", i)) for i, p in enumerate(spec.ports))
    yield from syntax.unique(numbers, "port")


def endpoint_slice(found: Object[EndpointSlice], path: Path) -> Findings:
    """All that is wrong with an EndpointSlice."""
    spec = found.spec
    if spec.address_type not in _FAMILIES:
        hint = f"one of {', '.join(_FAMILIES)}"
        message = f"{shown(spec.address_type)} is no type of address"
        yield invalid((*path, "addressType"), message, hint)
    for i, endpoint in enumerate(spec.endpoints):
        here = (*path, "endpoints", i, "addresses")
        if not endpoint.addresses:
            yield invalid(here, "there is no address", "write one")
        for j, address in enumerate(endpoint.addresses):
            if spec.address_type == "FQDN":
                yield from syntax.host(address, (*here, j), wildcard=False)
            else:
                yield from syntax.ip(address, (*here, j))
    for i, port in enumerate(spec.ports):
        if port.port is not None:
            yield from syntax.port(port.port, (*path, "ports", i, "port"))
    names = ((port.name, (*path, "ports", i, "name")) for i, port in enumerate(spec.ports))
    yield from syntax.unique(names, "port name")


def _port(port: ServicePort, path: Path) -> Findings:
    yield from syntax.port(port.port, (*path, "port"))
    if port.name:
        yield from syntax.label(port.name, (*path, "name"), "name of a port")
    if port.protocol not in _TRANSPORTS:
        hint = f"one of {', '.join(_TRANSPORTS)}; what is spoken goes into appProtocol or the name"
        yield invalid((*path, "protocol"), f"{shown(port.protocol)} is no transport", hint)
    if isinstance(port.target_port, int):
        yield from syntax.port(port.target_port, (*path, "targetPort"))
    elif port.target_port is not None:
        yield from syntax.label(port.target_port, (*path, "targetPort"), "name of a port")
        if len(port.target_port) > _LONGEST_PORT_NAME:
            here = (*path, "targetPort")
            yield invalid(here, f"{shown(port.target_port)} is too long", "up to 15 characters")
