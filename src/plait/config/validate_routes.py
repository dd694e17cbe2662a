"""Rules about one VirtualService alone."""

from __future__ import annotations

from collections.abc import Sequence

from plait.config import names, syntax, validate_http
from plait.config.document import Path
from plait.config.finding import invalid, shown
from plait.config.kinds import virtual_service as vs
from plait.config.meta import Object
from plait.config.syntax import Findings


def virtual_service(found: Object[vs.VirtualService], path: Path) -> Findings:
    """All that is wrong with a VirtualService."""
    spec, namespace = found.spec, found.key.namespace
    yield from _hosts(spec, path)
    yield from validate_http.gateways(spec.gateways, (*path, "gateways"))
    yield from syntax.export_to(spec.export_to, namespace, (*path, "exportTo"))
    if not (spec.http or spec.tls or spec.tcp):
        yield invalid(path, "there are no routes", "write one of http, tls, tcp")
    for i, http in enumerate(spec.http):
        yield from validate_http.http(http, (*path, "http", i))
    for i, tls in enumerate(spec.tls):
        yield from _tls(tls, spec.hosts, (*path, "tls", i))
    for i, tcp in enumerate(spec.tcp):
        yield from _tcp(tcp, (*path, "tcp", i))


def _hosts(spec: vs.VirtualService, path: Path) -> Findings:
    if not spec.hosts:
        if spec.gateways:
            yield invalid((*path, "hosts"), "there is no host", "write the hosts that are routed")
        elif spec.tls or spec.tcp:
            hint = "without hosts it can only be delegated to, for http"
            yield invalid((*path, "hosts"), "there is no host", hint)
        return
    for i, name in enumerate(spec.hosts):
        here = (*path, "hosts", i)
        if name == "*" and (not spec.gateways or names.MESH in spec.gateways):
            hint = "name the hosts, or bind it to a gateway only"
            yield invalid(here, '"*" would take all traffic of the mesh', hint)
        elif not syntax.is_ip(name):
            yield from syntax.host(name, here)
    for i, name in enumerate(spec.hosts):
        earlier = [host for host in spec.hosts[:i] if _overlap(host, name)]
        if earlier:
            hint = "keep one of them, or write two VirtualServices"
            message = f"{shown(name)} and {shown(earlier[0])} overlap"
            yield invalid((*path, "hosts", i), message, hint)


def _overlap(one: str, other: str) -> bool:
    return names.matches(one, other) or names.matches(other, one)


def _subnets(subnets: Sequence[str], path: Path) -> Findings:
    for i, subnet in enumerate(subnets):
        yield from syntax.cidr(subnet, (*path, "destinationSubnets", i))


def _destinations(route: Sequence[vs.RouteDestination], path: Path) -> Findings:
    if not route:
        yield invalid((*path, "route"), "there is no destination", "write at least one")
    for i, target in enumerate(route):
        yield from validate_http.destination(target.destination, (*path, "route", i, "destination"))
    yield from validate_http.weights([target.weight for target in route], (*path, "route"))


def _tcp(route: vs.TCPRoute, path: Path) -> Findings:
    for i, match in enumerate(route.match):
        yield from _subnets(match.destination_subnets, (*path, "match", i))
        yield from validate_http.source(match, (*path, "match", i))
    yield from _destinations(route.route, path)


def _tls(route: vs.TLSRoute, hosts: Sequence[str], path: Path) -> Findings:
    if not route.match:
        yield invalid((*path, "match"), "there is no condition", "write match with sniHosts")
    for i, match in enumerate(route.match):
        here = (*path, "match", i)
        if not match.sni_hosts:
            hint = "name the servers that are asked for"
            yield invalid((*here, "sniHosts"), "there is no host", hint)
        for j, name in enumerate(match.sni_hosts):
            yield from syntax.host(name, (*here, "sniHosts", j))
            yield from syntax.spelled_out(name, (*here, "sniHosts", j))
            if not any(names.matches(host, name) for host in hosts):
                message = f"{shown(name)} is none of the VirtualService's hosts"
                yield invalid((*here, "sniHosts", j), message, "add it to hosts")
        yield from _subnets(match.destination_subnets, here)
        yield from validate_http.source(match, here)
    yield from _destinations(route.route, path)
