"""Route tables: which virtual hosts stand in the table of a name.

Names: ``9080`` holds the hosts with that port, ``HOST:PORT`` a single host whose protocol is
detected on its own address, ``BIND_PORT`` (such as ``127.0.0.1_15080``) what an explicit egress
listener of a Sidecar shows, ``http.PORT`` a port of a gateway and
``https.PORT.PORTNAME.GATEWAY.NAMESPACE`` one of its servers that are encrypted; ``.BIND`` follows
where a server is at one address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from plait.base.query import Query
from plait.config import names
from plait.mesh import called as calls
from plait.mesh import clusters, gateways, ir, scopes, virtual_services, visibility
from plait.mesh.called import Called
from plait.mesh.virtual_hosts import ALLOW_ANY, BLOCK_ALL, Entry, Table, context

UNKNOWN_HOST_PORT = 80
"""Hosts that only a VirtualService names are served here (Istio's rule)."""

_EXPLICIT = re.compile(r"(.+)_(\d+)")


def table(q: Query, view: ir.View, name: str) -> Table | None:
    """The virtual hosts of table `name`, by name, the catch-all last; None: no such table."""
    if view.role is ir.Role.GATEWAY:
        return q(gateways.table, view, name)
    if name.isdecimal():
        return q(port_table, view, int(name))
    if _EXPLICIT.fullmatch(name):
        return q(explicit_table, view, name)
    host, _, port = name.rpartition(":")
    return q(host_table, view, host, int(port)) if host and port.isdecimal() else None


def port_table(q: Query, view: ir.View, port: int) -> Table:
    """Hosts with an HTTP port of that number, and on port 80 those no registry knows."""
    hosts = [one for one in q(calls.on_port, view, port) if one.is_routed]
    entries = [(one, calls.domains(one, view.namespace)) for one in hosts]
    found = [_entry(q, view, one, said) for one, said in _apart(entries)]
    if port == UNKNOWN_HOST_PORT:
        found += q(unknown_hosts, view)
    return Table(entries=_with_catch_all(q, view, found))


def _entry(q: Query, view: ir.View, one: Called, domains: tuple[str, ...]) -> Entry:
    name, port = one.host.name, one.port.number
    key = q(virtual_services.chosen, view, name)
    return Entry(
        name=f"{name}:{port}",
        domains=domains,
        host=name,
        port=port,
        rules=(q(context, view, key, port),) if key else (),
        cluster=clusters.outbound_name(port, "", name),
        origin=one.host.owners,
    )


def _apart(
    spoken: Iterable[tuple[Called, tuple[str, ...]]],
) -> Iterable[tuple[Called, tuple[str, ...]]]:
    """The same without repeated domains, which Envoy refuses; full names come before short ones."""
    entries = tuple(spoken)
    taken = {domains[0]: one for one, domains in reversed(entries)}
    for one, domains in entries:
        kept = tuple(name for name in domains if taken.setdefault(name, one) is one)
        if kept:
            yield one, tuple(dict.fromkeys(kept))


def unknown_hosts(q: Query, view: ir.View) -> tuple[Entry, ...]:
    """Hosts of VirtualServices that `view` knows from nowhere else, by name."""
    known = {host.name for host in q(visibility.visible, view)}
    written = {
        host: found
        for key in q(virtual_services.bound, "mesh")
        if q(virtual_services.seen, key, view.namespace, view.scope)
        and (found := q(virtual_services.rule, key)) is not None
        and found.http
        for host in found.hosts
        if not virtual_services.covers_any(host, known)
    }
    entries = []
    for host in sorted(written):
        key = q(virtual_services.chosen, view, host)
        if key is not None:
            rules = (q(context, view, key, UNKNOWN_HOST_PORT),)
            name = f"{host}:{UNKNOWN_HOST_PORT}"
            entries.append(
                Entry(name=name, domains=(names.domain(host),), host=host, port=80, rules=rules)
            )
    return tuple(entries)


def _with_catch_all(q: Query, view: ir.View, entries: list[Entry]) -> tuple[Entry, ...]:
    """A VirtualService for ``*`` takes the place of the catch-all."""
    taken: set[str] = set()
    kept = []
    for entry in entries:
        domains = tuple(name for name in entry.domains if name not in taken)
        taken.update(domains)
        if domains == entry.domains:
            kept.append(entry)
    if "*" not in taken:
        name = ALLOW_ANY if q(scopes.allows_unknown, view.scope) else BLOCK_ALL
        kept.append(Entry(name=name, domains=("*",)))
    return tuple(kept)


def host_table(q: Query, view: ir.View, host: str, port: int) -> Table | None:
    """One host, whatever name it is called by; None: the view does not know it."""
    for one in q(calls.on_port, view, port):
        if one.host.name == host and one.is_routed:
            return Table(entries=(_entry(q, view, one, ("*",)),))
    return None


def explicit_table(q: Query, view: ir.View, name: str) -> Table | None:
    """All hosts that an explicit egress listener shows, as ``host:port`` and ``host``.

    ``host`` alone means the listener's own port, else 80, else the host's first: so callers that
    use the listener as their HTTP proxy reach every port.
    """
    for listener in q(scopes.egress, view.scope, view.namespace):
        if listener.port is None or scopes.listener_name(listener, view.interception) != name:
            continue
        hosts = [one for one in q(calls.through, view, listener.hosts) if one.is_routed]
        spoken = [(one, _with_port(one, hosts, listener.port.number, view)) for one in hosts]
        found = [_entry(q, view, one, domains) for one, domains in _apart(spoken)]
        return Table(entries=_with_catch_all(q, view, found), ignore_port=False)
    return None


def _with_port(one: Called, hosts: list[Called], listener: int, view: ir.View) -> tuple[str, ...]:
    spoken = calls.domains(one, view.namespace)
    numbers = [other.port.number for other in hosts if other.host == one.host]
    preferred = [number for number in (listener, 80) if number in numbers]
    main = (preferred or numbers)[0]
    explicit = tuple(f"{name}:{one.port.number}" for name in spoken)
    return (*explicit, *spoken) if one.port.number == main else explicit
