"""Which listeners a view has, and what shares them.

Requests of all hosts on a port share ``0.0.0.0_PORT`` and are told apart by ``Host``.  Bytes need
an address of their own: ``VIP_PORT`` for each virtual IP, ``ENDPOINT_PORT`` for headless Services,
a server name for TLS; what has none of these takes the rest of ``0.0.0.0_PORT``, the older host
first.  What is not captured cannot know where it was going: everything is at ``127.0.0.1_PORT``.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from plait.base.query import Query
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.meta import Key
from plait.mesh import called as calls
from plait.mesh import (
    claims,
    clusters,
    gateways,
    ir,
    protocols,
    scopes,
    secured,
    virtual_services,
)
from plait.mesh.called import Called
from plait.mesh.listeners import CAPTURE_PORT, Plan
from plait.mesh.streams import Stream
from plait.mesh.virtual_hosts import context

ANY_ADDRESS = claims.EVERYWHERE
LOOPBACK = "127.0.0.1"
PASSTHROUGH, BLACK_HOLE = "PassthroughCluster", "BlackHoleCluster"


def plans(q: Query, view: ir.View) -> tuple[Plan, ...]:
    """Every outbound listener of a view, by name; explicit ones replace those they collide with."""
    if view.role is ir.Role.GATEWAY:
        return tuple(q(gateway_plans, view))
    captured = view.interception is ir.Interception.REDIRECT
    port_plans = captured_plans if captured else bound_plans
    found = {plan.name: plan for plan in q(explicit_plans, view)}
    if captured:
        found.setdefault("virtualOutbound", q(capture_plan, view.scope))
    for number in q(calls.by_port, view):
        for plan in q(port_plans, view, number):
            found.setdefault(plan.name, plan)
    return tuple(found[name] for name in sorted(found) if not _is_reserved(found[name]))


def _is_reserved(plan: Plan) -> bool:
    return not plan.capture and claims.is_reserved(plan.address, plan.port)


def capture_plan(q: Query, scope: Key | None) -> Plan:
    """The listener that everything outbound is handed to first."""
    return Plan(
        name="virtualOutbound",
        address=ANY_ADDRESS,
        port=CAPTURE_PORT,
        bind=True,
        streams=(q(unknown, scope),),
        capture=True,
    )


def unknown(q: Query, scope: Key | None) -> Stream:
    """Connections to where no host is known: passed on, or closed."""
    allowed = q(scopes.allows_unknown, scope)
    name = "virtualOutbound-catchall-tcp"
    return Stream(name=name, cluster=PASSTHROUGH if allowed else BLACK_HOLE)


def captured_plans(q: Query, view: ir.View, number: int) -> tuple[Plan, ...]:
    """Listeners on one port, reached by hand-over."""
    found: dict[str, Plan] = {}
    hosts = sorted(q(calls.on_port, view, number), key=lambda one: one.age)
    owners: dict[str, Called] = {}
    rest: list[Stream] = []
    candidates: list[Called] = []
    for one in hosts:
        if one.port.protocol.is_http:
            continue
        addresses = claims.addresses(q, one)
        if not addresses and not one.headless:
            candidates += [] if one.is_secure else [one]
            rest += [_secure(q, view, one)] if one.is_secure else []
        for address in addresses:
            owner = owners.setdefault(address, one)
            if owner is not one:
                q.report(claims.conflict(one, owner, address))
            elif "/" in address:
                rest.append(_stream(q, view, one, prefixes=(address,)))
            else:
                plan = _own(q, view, one, address)
                found[plan.name] = plan
    requests = any(one.is_routed and not _has_own(one) for one in hosts)
    rest += _remainder(q, view, candidates, ANY_ADDRESS)
    if requests or rest:
        table = str(number) if requests else ""
        plan = _shared(q, view, rest, number, table)
        found[plan.name] = plan
    return tuple(found[name] for name in sorted(found))


def _has_own(one: Called) -> bool:
    """Whether a host whose protocol is detected has an address of its own to listen on."""
    return not one.port.protocol.is_http and any("/" not in each for each in one.addresses)


def _own(q: Query, view: ir.View, one: Called, address: str) -> Plan:
    number = one.port.number
    routed = one.port.protocol is ir.Protocol.AUTO
    return Plan(
        name=f"{address}_{number}",
        address=address,
        port=number,
        table=f"{one.host.name}:{number}" if routed else "",
        streams=(_stream(q, view, one),),
    )


def _shared(q: Query, view: ir.View, rest: list[Stream], number: int, table: str) -> Plan:
    if not any(stream.takes_all for stream in rest):
        rest = [*rest, q(unknown, view.scope)]
    return Plan(
        name=f"{ANY_ADDRESS}_{number}",
        address=ANY_ADDRESS,
        port=number,
        table=table,
        streams=tuple(rest),
    )


def _remainder(q: Query, view: ir.View, candidates: list[Called], address: str) -> Iterable[Stream]:
    """The host that takes what is left of a port: the oldest declared as bytes.

    Where there is none, a lone host whose protocol is detected.  PLT3001 names the others.
    """
    opaque = [one for one in candidates if one.port.protocol is not ir.Protocol.AUTO]
    for loser in opaque[1:]:
        q.report(claims.conflict(loser, opaque[0], address))
    if opaque:
        return (_stream(q, view, opaque[0]),)
    return (_stream(q, view, candidates[0]),) if len(candidates) == 1 else ()


def _secure(q: Query, view: ir.View, one: Called) -> Stream:
    return _stream(q, view, one, server_names=(one.host.name,))


def _stream(
    q: Query,
    view: ir.View,
    one: Called,
    *,
    prefixes: tuple[str, ...] = (),
    server_names: tuple[str, ...] = (),
) -> Stream:
    name, number = one.host.name, one.port.number
    key = q(virtual_services.chosen, view, name)
    rule = q(virtual_services.rule, key) if key else None
    cluster = clusters.outbound_name(number, "", name)
    return Stream(
        name="-".join((cluster, *prefixes)),
        cluster=cluster,
        prefixes=prefixes,
        server_names=() if server_names == ("*",) else server_names,
        rules=(q(context, view, rule.key, number),) if rule and rule.streams else (),
        marked=q(clusters.is_marked, one.host, number, "", view.namespace, view.rules),
        origin=one.host.owners,
    )


def bound_plans(q: Query, view: ir.View, number: int) -> tuple[Plan, ...]:
    """The listener on one port of a sidecar to which nothing is handed over."""
    hosts = sorted(q(calls.on_port, view, number), key=lambda one: one.age)
    requests = any(one.is_routed for one in hosts)
    rest = [_secure(q, view, one) for one in hosts if one.is_secure]
    bytes_ = [one for one in hosts if not one.port.protocol.is_http and not one.is_secure]
    rest += _remainder(q, view, bytes_, LOOPBACK)
    plan = Plan(
        name=f"{LOOPBACK}_{number}",
        address=LOOPBACK,
        port=number,
        bind=True,
        table=str(number) if requests else "",
        streams=tuple(rest),
    )
    return (plan,)


def explicit_plans(q: Query, view: ir.View) -> tuple[Plan, ...]:
    """Egress listeners that a Sidecar gives a port, in its order."""
    found = []
    for listener in q(scopes.egress, view.scope, view.namespace):
        if listener.port is None:
            continue
        name = scopes.listener_name(listener, view.interception)
        address, binds = scopes.bound_address(listener, view.interception)
        protocol = protocols.named(listener.port.protocol)
        routed = protocol.is_http or protocol is ir.Protocol.AUTO
        found.append(
            Plan(
                name=name,
                address=address,
                port=listener.port.number,
                bind=binds,
                table=name if routed else "",
                streams=() if routed else _explicit_stream(q, view, listener),
            )
        )
    return tuple(found)


def _explicit_stream(q: Query, view: ir.View, listener: scopes.Egress) -> tuple[Stream, ...]:
    """The oldest host with the listener's port, else the oldest with any."""
    number = listener.port.number if listener.port else 0
    hosts = sorted(q(calls.through, view, listener.hosts), key=lambda one: one.age)
    same = [one for one in hosts if one.port.number == number]
    return tuple(_stream(q, view, one) for one in (same or hosts)[:1])


def gateway_plans(q: Query, view: ir.View) -> tuple[Plan, ...]:
    """Listeners of a gateway; PLT3001: what cannot share a port with the older is not in force."""
    groups: dict[str, list[gateways.Served]] = {}
    for server in q(gateways.served, view):
        address = server.bind or ANY_ADDRESS
        group = groups.setdefault(f"{address}_{server.port}", [])
        if claims.is_reserved(address, server.port):
            q.report(_reserved(server))
        elif group and not group[0].shares(server):
            q.report(_server_conflict(server, group[0], f"{address}:{server.port}"))
        else:
            group.append(server)
    plans_ = (_gateway_plan(q, view, groups[name]) for name in sorted(groups) if groups[name])
    return tuple(plan for plan in plans_ if plan)


def edge_plans(q: Query, view: ir.View, directory: str) -> tuple[Plan, ...]:
    """Listeners of a gateway once more, at ``DIRECTORY/PORT.sock``.

    The ports of a gateway's machine lead there when the gateway itself is in a network that the
    machine cannot reach.  Where one port is bound at several addresses, the first is meant.
    """
    ports = {plan.port: plan for plan in reversed(q(gateway_plans, view))}
    return tuple(
        structs.replace(
            plan,
            name=f"edge_{port}",
            address=f"unix://{directory}/{port}.sock",
            proxied=True,
        )
        for port, plan in sorted(ports.items())
    )


def _gateway_plan(q: Query, view: ir.View, servers: list[gateways.Served]) -> Plan | None:
    """The listener of servers that share a port; None: nothing of it is in force."""
    server = servers[0]
    address = server.bind or ANY_ADDRESS
    name = f"{address}_{server.port}"
    ends = tuple(_secured(q, view, servers)) if server.tls is not None else ()
    stream = None if server.http or ends else _served_stream(q, view, server, name)
    if server.tls is not None and not ends:
        return None
    if not server.http and not ends and stream is None:
        return None
    return Plan(
        name=name,
        address=address,
        port=server.port,
        bind=True,
        table=server.table if server.http and not ends else "",
        streams=(stream,) if stream else (),
        secured=ends,
        edge=True,
    )


def _served_stream(q: Query, view: ir.View, server: gateways.Served, name: str) -> Stream | None:
    """Where the connections of a server go; None: no VirtualService says."""
    rules = tuple(
        context(q, view, key, server.port, (gateways.path(server.gateway),))
        for key in q(gateways.streams, view, server)
    )
    if not rules:
        return None
    return Stream(
        name=name,
        cluster="",
        server_names=server.server_names if server.tls else (),
        rules=rules,
        origin=(server.gateway,),
    )


def _secured(q: Query, view: ir.View, servers: list[gateways.Served]) -> Iterable[secured.Secured]:
    """The encrypted servers of a port; PLT3001: a server name that an older one has is left out."""
    owners: dict[str, gateways.Served] = {}
    for server in servers:
        asked = server.server_names or ("*",)
        for name in asked:
            owner = owners.setdefault(name, server)
            if owner is not server and not (owner.passes_on and server.passes_on):
                q.report(_server_conflict(server, owner, f'"{name}" on port {server.port}'))
        name = f"{server.gateway.namespace}/{server.gateway.name}/{server.port_name}"
        stream = None if server.http else _served_stream(q, view, server, name)
        end = None if server.passes_on else q(secured.end, view, server)
        kept = tuple(one for one in asked if owners[one] is server)
        if (server.passes_on and stream is None) or (not server.passes_on and not (end and kept)):
            continue
        yield secured.Secured(
            name=name,
            server_names=() if kept == ("*",) else kept,
            end=end,
            table=server.table if server.http else "",
            stream=stream,
            origin=(server.gateway,),
        )


def _reserved(server: gateways.Served) -> Diagnostic:
    return Diagnostic(
        code="PLT3001",
        severity=Severity.ERROR,
        subject=server.gateway,
        path=f"spec.servers[{server.index}].port",
        message=f"not in force: proxies listen at {server.port} themselves",
        hint=f"Choose another port than {', '.join(map(str, sorted(claims.RESERVED)))}",
    )


def _server_conflict(loser: gateways.Served, winner: gateways.Served, address: str) -> Diagnostic:
    return Diagnostic(
        code="PLT3001",
        severity=Severity.ERROR,
        subject=loser.gateway,
        path=f"spec.servers[{loser.index}].port",
        message=f"not in force: {address} belongs to the older {winner.gateway}",
        hint="Choose another port, or the same protocol",
        related=(winner.gateway,),
    )
