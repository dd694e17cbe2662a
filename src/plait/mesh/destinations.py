"""Where a VirtualService sends to: names of clusters, and what cannot be found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct

from plait.base.query import Query
from plait.config import names
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.kinds import virtual_service as kinds
from plait.config.meta import Key
from plait.mesh import clusters, ir
from plait.mesh.hosts import host as host_query

Shared = TypeVar("Shared", kinds.HTTPRouteDestination, kinds.RouteDestination)


class Context(Struct, frozen=True, cache_hash=True):
    """What the routes of a VirtualService depend on, apart from itself.

    Attributes:
        port: called, or listened to by a gateway.
        gateways: ``mesh``, or those the gateway proxy has and the VirtualService is bound to.
        selected: its matches by caller that apply.
        known: what the view knows of the hosts it sends to.
        rules: DestinationRules that select the caller.
        encrypted: requests come by TLS, which a gateway ends.
    """

    key: Key
    port: int
    gateways: tuple[str, ...] = (names.MESH,)
    selected: tuple[ir.Selected, ...] = ()
    known: tuple[ir.HostId, ...] = ()
    rules: tuple[Key, ...] = ()
    encrypted: bool = False


def cluster_name(q: Query, context: Context, to: kinds.Destination, path: str) -> str:
    """The cluster of a destination.

    The port is the one written, else the host's only one, else the one called (Istio's rule).
    What does not exist keeps its name, so that Envoy answers 503, and is reported: PLT2001 to
    PLT2004.
    """
    name = names.resolve(to.host, context.key.namespace)
    written = to.port.number if to.port else 0
    found = _known(context, to)
    if found is None:
        _report(q, context, "PLT2001", f"{path}.host", *_unknown_host(name))
        return clusters.outbound_name(written or context.port, to.subset, name)
    ports, number = _ports(q, context, found, to)
    if number not in ports:
        listed = ", ".join(str(port) for port in ports)
        code, part = ("PLT2002", ".port") if written else ("PLT2003", "")
        problem = f"{name} has no port {number}" if written else f"{name} has several ports"
        _report(q, context, code, f"{path}{part}", problem, f"Choose one of: {listed}")
    if to.subset:
        _check_subset(q, context, found, to.subset, path)
    return clusters.outbound_name(number, to.subset, name)


def _known(context: Context, to: kinds.Destination) -> ir.HostId | None:
    name = names.resolve(to.host, context.key.namespace)
    return next((known for known in context.known if known.name == name), None)


def _ports(
    q: Query, context: Context, found: ir.HostId, to: kinds.Destination
) -> tuple[tuple[int, ...], int]:
    """The ports that a host has, and the one that is meant."""
    ports = tuple(port.number for port in q(host_query, found).ports)
    written = to.port.number if to.port else 0
    return ports, written or (ports[0] if len(ports) == 1 else context.port)


def _unknown_host(name: str) -> tuple[str, str]:
    hint = "Write a Service or ServiceEntry for it, or its full name if it is in another namespace"
    return f'no host "{name}" is known here; requests are answered 503', hint


def _check_subset(q: Query, context: Context, found: ir.HostId, subset: str, path: str) -> None:
    defined = q(clusters.subsets, found, context.key.namespace, context.rules)
    if subset not in defined:
        hint = f"Add it, or route to one of: {', '.join(defined)}" if defined else "Add it"
        problem = f'no DestinationRule defines subset "{subset}" of {found.name}'
        _report(q, context, "PLT2004", f"{path}.subset", problem, hint)


def _report(q: Query, context: Context, code: str, path: str, message: str, hint: str) -> None:
    q.report(
        Diagnostic(
            code=code,
            severity=Severity.ERROR,
            subject=context.key,
            path=path,
            message=message,
            hint=hint,
        )
    )


def shares(written: tuple[Shared, ...]) -> tuple[tuple[int, Shared, int], ...]:
    """Position, destination and weight of those that get something.

    A lone destination gets all.  Of several, those of weight 0 get nothing; if all are 0, each
    gets the same (Envoy would refuse a sum of 0).
    """
    if len(written) == 1:
        return ((0, written[0], 1),)
    kept = tuple((i, to, to.weight) for i, to in enumerate(written) if to.weight > 0)
    return kept or tuple((i, to, 1) for i, to in enumerate(written))


def streams(
    q: Query, context: Context, route: kinds.TCPRoute | kinds.TLSRoute, path: str
) -> tuple[ir.Weighted, ...]:
    """The destinations of connections."""
    return tuple(
        ir.Weighted(
            cluster=cluster_name(q, context, to.destination, f"{path}.route[{i}].destination"),
            weight=weight,
        )
        for i, to, weight in shares(route.route)
    )


def are_marked(q: Query, context: Context, route: kinds.TCPRoute) -> bool:
    """Whether connections say inside mutual TLS that they carry no requests: see `clusters`."""
    for _, to, _ in shares(route.route):
        found = _known(context, to.destination)
        if found is not None:
            _, number = _ports(q, context, found, to.destination)
            subset, client = to.destination.subset, context.key.namespace
            if q(clusters.is_marked, found, number, subset, client, context.rules):
                return True
    return False


def operations(written: kinds.HeaderOperations | None) -> tuple[ir.HeaderOps, str]:
    """Header changes, in order of names, and the host that they set.

    ``Host`` and ``:authority`` are a rewrite of the host; other names with a colon are ignored
    (Istio's rule).
    """
    if written is None:
        return ir.HeaderOps(), ""
    host = next((v for k, v in sorted(written.set.items()) if k.lower() in _HOST), "")
    removed = tuple(name for name in written.remove if _is_plain(name))
    return ir.HeaderOps(set=_pairs(written.set), add=_pairs(written.add), remove=removed), host


_HOST = ("host", ":authority")


def _is_plain(name: str) -> bool:
    return not name.startswith(":") and name.lower() != "host"


def _pairs(written: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in sorted(written.items()) if _is_plain(name))
