"""Inbound listeners: how a workload is reached.

The capture listener's chains, in Istio's order:

1. what is sent to the capture port itself goes nowhere;
2. ports that nothing names, or a policy alone: requests, then other bytes, then TLS, each to where
   it was going;
3. the chains of each port that a host or the Sidecar names.

Envoy picks a chain by destination port first and never goes back: a connection to a port that any
chain names is tried on chains with that port alone, and within them by its transport and ALPN.  So
every chain says its transport.  Workloads of the mesh mark what they speak inside mutual TLS by
ALPN, so that a port takes mutual TLS, other TLS, requests and other bytes, and none is taken for
another:

| port | mutual TLS | plain | other TLS |
| --- | --- | --- | --- |
| requests | requests | requests | closed |
| bytes | bytes | bytes | bytes |
| detected | requests or bytes, by the mark | requests or bytes, by what comes first | bytes |

STRICT leaves the first column, DISABLE the others; a proxy without an identity has the others too,
and under STRICT nothing.  Where the proxy has to look whether TLS comes,
a plain caller that waits for the server's first word waits as long as `protocolDetectionTimeout`.
"""

from __future__ import annotations

import itertools

from msgspec import Struct, structs

from plait.base.query import Query
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.meta import Key
from plait.mesh import extensions, ir, security, telemetry, tls
from plait.mesh.security import Mode

CAPTURE, CAPTURE_PORT = "virtualInbound", 15006
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - listeners of a proxy accept from everywhere
HTTP = ("http/1.1", "h2c")
RAW, TLS = "raw_buffer", "tls"
PASSTHROUGH, BLACK_HOLE = "InboundPassthroughCluster", "BlackHoleCluster"

_HOLE = ir.TcpChain(stat_prefix=BLACK_HOLE, to=(ir.Weighted(cluster=BLACK_HOLE),))
_TRAP = ir.Chain(
    name="virtualInbound-blackhole", match=ir.ChainMatch(port=CAPTURE_PORT), action=_HOLE
)
_MARKS = (*security.HTTP_MARKS, *security.BYTES_MARKS)

RETRY = ir.Retry(attempts=2, on=("reset-before-request",), previous_hosts=False)
"""Istio's: the application closed an idle connection just as it was used."""


def names(inbound: ir.Inbound) -> tuple[str, ...]:
    """Names of the inbound listeners, the capture listener first."""
    bound = tuple(dict.fromkeys(listener_name(port) for port in inbound.ports if _binds(port)))
    captured = inbound.interception is ir.Interception.REDIRECT
    return ((CAPTURE,) if captured else ()) + bound


def _binds(port: ir.InboundPort) -> bool:
    return bool(port.bind)


def listener_name(port: ir.InboundPort) -> str:
    """``BIND_PORT``: a listener with a socket of its own."""
    return f"{port.bind}_{port.number}"


def listener(q: Query, inbound: ir.Inbound, name: str) -> ir.Listener:
    """One inbound listener."""
    if name == CAPTURE:
        return _capture(q, inbound)
    port = next(one for one in inbound.ports if one.bind and listener_name(one) == name)
    guard = _guard(q, inbound, port.number)
    return ir.Listener(
        name=name,
        address=port.bind,
        port=port.number,
        inbound=True,
        detect=port.protocol is ir.Protocol.AUTO,
        detect_timeout=q(telemetry.detection_timeout),
        inspect_tls=guard.mode is not Mode.DISABLE,
        chains=_bound_chains(port, guard),
        access_log=q(telemetry.access_log),
        paths=q(telemetry.paths),
        origin=port.origin,
    )


def _capture(q: Query, inbound: ir.Inbound) -> ir.Listener:
    ports = tuple(p for p in inbound.ports if not _binds(p) and p.number != CAPTURE_PORT)
    guards = {port.number: _guard(q, inbound, port.number) for port in ports}
    declared = tuple(p.number for p in ports if not _inspected(p, guards[p.number]))
    passed = {0} | (security.named_ports(q, inbound.policies) - guards.keys() - {CAPTURE_PORT})
    through = tuple(_passed(number, _guard(q, inbound, number)) for number in sorted(passed))
    chains = tuple(port_chains(port, guards[port.number]) for port in ports)
    return ir.Listener(
        name=CAPTURE,
        address=ANY_ADDRESS,
        port=CAPTURE_PORT,
        inbound=True,
        original_destination=True,
        detect=True,
        detect_timeout=q(telemetry.detection_timeout),
        inspect_tls=True,
        uninspected=declared,
        chains=(_TRAP, *itertools.chain.from_iterable((*through, *chains))),
        access_log=q(telemetry.access_log),
        paths=q(telemetry.paths),
    )


class Guard(Struct, frozen=True, kw_only=True):
    """What a port asks of its callers.

    Attributes:
        requests, streams: its end of mutual TLS, for requests and for other bytes; None: no
            caller is asked, and one that must be does not get in.
        said: the mode, where it has a meaning for the workload.
    """

    mode: Mode = Mode.DISABLE
    requests: tls.Server | None = None
    streams: tls.Server | None = None
    said: str = ""

    @property
    def closed(self) -> bool:
        """Whether nobody gets in."""
        return self.mode is Mode.STRICT and self.requests is None


OPEN = Guard()
"""The guard of workloads without an identity."""


def _guard(q: Query, inbound: ir.Inbound, port: int) -> Guard:
    """What a port asks; 0: any that nothing names.

    Who has no identity cannot ask for one: its ports are open, and where that is forbidden they
    take nothing (PLT3008).
    """
    found = q(security.decision, inbound.policies, port)
    mode = found.mode
    if not inbound.certified:
        if mode is not Mode.STRICT:
            return OPEN
        if found.by is not None:
            q.report(_closed(found.by, inbound.namespace))
        return Guard(mode=mode, said=mode.value)
    if mode is Mode.DISABLE:
        return Guard(said=mode.value)
    return Guard(
        mode=mode,
        requests=q(security.accepting, ("h2", "http/1.1")),
        streams=q(security.accepting, ()),
        said=mode.value,
    )


def _closed(policy: Key, namespace: str) -> Diagnostic:
    return Diagnostic(
        code="PLT3008",
        severity=Severity.WARNING,
        subject=policy,
        message=f"a workload in {namespace} is STRICT and its proxy has no identity: "
        "nobody can call it",
        hint="Run its proxy beside an agent that gives it one, or set the mode of its ports",
    )


def _inspected(port: ir.InboundPort, guard: Guard) -> bool:
    declared = port.protocol.is_http or port.protocol is ir.Protocol.AUTO
    return declared or guard.mode is not Mode.DISABLE


def _passed(number: int, guard: Guard) -> tuple[ir.Chain, ...]:
    """The chains of a port that only a policy names; 0: of all that nothing names."""
    through = ir.TcpChain(stat_prefix=PASSTHROUGH, to=(ir.Weighted(cluster=PASSTHROUGH),))
    requests = _requests(PASSTHROUGH, PASSTHROUGH, "inbound|http|0", ":0", ir.Protocol.AUTO, ())
    names = ("virtualInbound-catchall-http", "virtualInbound", "virtualInbound-tls")
    if number:
        name = f"{ANY_ADDRESS}_{number}"
        names = (f"{name}-http", name, f"{name}-tls")
    return _noted(_detected(names, number or None, guard, requests, through, ()), guard)


def port_chains(port: ir.InboundPort, guard: Guard = OPEN) -> tuple[ir.Chain, ...]:
    """The chains of a captured port."""
    return _noted(_chains(port, f"{ANY_ADDRESS}_{port.number}", port.number, guard), guard)


def _noted(chains: tuple[ir.Chain, ...], guard: Guard) -> tuple[ir.Chain, ...]:
    """The chains with what people are to know of them."""
    told = guard.mode is Mode.PERMISSIVE
    return tuple(
        structs.replace(chain, asks=guard.said, told=told and chain.match.transport == RAW)
        for chain in chains
    )


def _bound_chains(port: ir.InboundPort, guard: Guard) -> tuple[ir.Chain, ...]:
    """Those of a listener of its own; where it takes nothing but bytes it need not look."""
    name = listener_name(port)
    if guard.mode is not Mode.DISABLE:
        return _noted(_chains(port, name, None, guard), guard)
    everything = ir.ChainMatch()
    if port.protocol is not ir.Protocol.AUTO:
        return (_chain(name, everything, _action(port), port.origin),)
    return (
        _chain(f"{name}-http", ir.ChainMatch(applications=HTTP), requests(port), port.origin),
        _chain(name, everything, streams(port), port.origin),
    )


def _action(port: ir.InboundPort) -> ir.HttpChain | ir.TcpChain:
    return requests(port) if port.protocol.is_http else streams(port)


def _chains(
    port: ir.InboundPort, name: str, number: int | None, guard: Guard
) -> tuple[ir.Chain, ...]:
    """The chains of a port; `number` is matched where a listener has several ports."""
    if guard.closed:
        return (_chain(name, ir.ChainMatch(port=number), _HOLE, port.origin),)
    if port.protocol is ir.Protocol.AUTO:
        names = (f"{name}-http", name, f"{name}-tls")
        return _detected(names, number, guard, requests(port), streams(port), port.origin)
    action, is_http = _action(port), port.protocol.is_http
    found = []
    if guard.mode is not Mode.DISABLE:
        end = guard.requests if is_http else guard.streams
        match = ir.ChainMatch(port=number, transport=TLS, applications=_MARKS)
        found.append(_chain(f"{name}-mtls", match, action, port.origin, end))
    if guard.mode is not Mode.STRICT:
        plain = ir.ChainMatch(port=number, transport=RAW)
        found.append(_chain(name, plain, action, port.origin))
    if guard.mode is Mode.PERMISSIVE and not is_http:
        foreign = ir.ChainMatch(port=number, transport=TLS)
        found.append(_chain(f"{name}-tls", foreign, action, port.origin))
    return tuple(found)


def _detected(
    names: tuple[str, str, str],
    number: int | None,
    guard: Guard,
    requests: ir.HttpChain,
    streams: ir.TcpChain,
    origin: tuple[Key, ...],
) -> tuple[ir.Chain, ...]:
    """The chains of what is told apart; `names`: of plain requests, plain bytes, other TLS."""
    http, raw, other = names
    if guard.closed:
        return (_chain(raw, ir.ChainMatch(port=number), _HOLE, origin),)
    found = []
    if guard.mode is not Mode.DISABLE:
        marked = ir.ChainMatch(port=number, transport=TLS, applications=security.HTTP_MARKS)
        found.append(_chain(f"{http}-mtls", marked, requests, origin, guard.requests))
        marked = ir.ChainMatch(port=number, transport=TLS, applications=security.BYTES_MARKS)
        found.append(_chain(f"{raw}-mtls", marked, streams, origin, guard.streams))
    if guard.mode is not Mode.STRICT:
        spoken = ir.ChainMatch(port=number, transport=RAW, applications=HTTP)
        found.append(_chain(http, spoken, requests, origin))
        found.append(_chain(raw, ir.ChainMatch(port=number, transport=RAW), streams, origin))
        found.append(_chain(other, ir.ChainMatch(port=number, transport=TLS), streams, origin))
    return tuple(found)


def _chain(
    name: str,
    match: ir.ChainMatch,
    action: ir.HttpChain | ir.TcpChain,
    origin: tuple[Key, ...],
    end: tls.Server | None = None,
) -> ir.Chain:
    return ir.Chain(name=name, match=match, action=action, tls=end, origin=origin)


def cluster_name(port: ir.InboundPort) -> str:
    """``inbound|8080||``."""
    return f"inbound|{port.number}||"


def streams(port: ir.InboundPort) -> ir.TcpChain:
    """Bytes, passed on to the application."""
    cluster = cluster_name(port)
    return ir.TcpChain(stat_prefix=cluster, to=(ir.Weighted(cluster=cluster),))


def requests(port: ir.InboundPort) -> ir.HttpChain:
    """Requests, passed on to the application."""
    host = f"{port.host}:{port.service_port}" if port.host else f":{port.number}"
    prefix = f"inbound_{port.bind or ANY_ADDRESS}_{port.number};"
    name = f"inbound|http|{port.service_port or port.number}"
    return _requests(cluster_name(port), prefix, name, host, port.protocol, port.origin)


def _requests(
    cluster: str,
    prefix: str,
    name: str,
    host: str,
    protocol: ir.Protocol,
    origin: tuple[Key, ...],
) -> ir.HttpChain:
    route = ir.Route(
        name="default",
        match=ir.Match(path=ir.Prefix("/")),
        action=ir.Forward(to=(ir.Weighted(cluster=cluster),)),
        retry=None if protocol is ir.Protocol.GRPC else RETRY,
        operation=f"{host}/*",
        origin=origin,
    )
    host_ = ir.VirtualHost(name=name, domains=("*",), routes=(route,))
    return ir.HttpChain(
        stat_prefix=prefix, routes=(host_,), filters=extensions.FILTERS, inbound=True
    )
