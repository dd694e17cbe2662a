"""Inbound listeners: how a workload is reached.

The capture listener's chains, in Istio's order:

1. what is sent to the capture port itself goes nowhere;
2. ports that nothing names: requests, then other bytes, then TLS, each to where it was going;
3. one plaintext chain for each port that a host or the Sidecar names.

Envoy picks a chain by destination port first and never goes back: a connection to a port that any
chain names is tried on chains with that port alone, and within them by its transport.  So every
chain says its transport, and mutual TLS adds chains without reshaping these: for HTTP one
``tls`` chain before the plaintext one; for bytes one ``tls`` chain with the mesh's ALPN and one
without, which passes foreign TLS on.  `Chain.tls` marks those; STRICT drops the plaintext ones.
A port declared as bytes is not inspected, so its server may speak first; it has one chain.
"""

from __future__ import annotations

from plait.base.query import Query
from plait.config.meta import Key
from plait.mesh import extensions, ir, telemetry

CAPTURE_PORT = 15006
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - listeners of a proxy accept from everywhere
HTTP = ("http/1.1", "h2c")
RAW = "raw_buffer"
PASSTHROUGH, BLACK_HOLE = "InboundPassthroughCluster", "BlackHoleCluster"

RETRY = ir.Retry(attempts=2, on=("reset-before-request",), previous_hosts=False)
"""Istio's: the application closed an idle connection just as it was used."""


def names(inbound: ir.Inbound) -> tuple[str, ...]:
    """Names of the inbound listeners, the capture listener first."""
    bound = tuple(dict.fromkeys(listener_name(port) for port in inbound.ports if _binds(port)))
    captured = inbound.interception is ir.Interception.REDIRECT
    return (("virtualInbound",) if captured else ()) + bound


def _binds(port: ir.InboundPort) -> bool:
    return bool(port.bind)


def listener_name(port: ir.InboundPort) -> str:
    """``BIND_PORT``: a listener with a socket of its own."""
    return f"{port.bind}_{port.number}"


def listener(q: Query, inbound: ir.Inbound, name: str) -> ir.Listener:
    """One inbound listener."""
    if name == "virtualInbound":
        return _capture(q, inbound)
    port = next(one for one in inbound.ports if one.bind and listener_name(one) == name)
    chains = tuple(_bound_chains(port))
    return ir.Listener(
        name=name,
        address=port.bind,
        port=port.number,
        inbound=True,
        detect=port.protocol is ir.Protocol.AUTO,
        detect_timeout=q(telemetry.detection_timeout),
        chains=chains,
        access_log=q(telemetry.access_log),
        origin=port.origin,
    )


def _capture(q: Query, inbound: ir.Inbound) -> ir.Listener:
    ports = tuple(port for port in inbound.ports if not _binds(port))
    declared = tuple(port.number for port in ports if not _inspected(port))
    return ir.Listener(
        name="virtualInbound",
        address=ANY_ADDRESS,
        port=CAPTURE_PORT,
        inbound=True,
        original_destination=True,
        detect=True,
        detect_timeout=q(telemetry.detection_timeout),
        inspect_tls=True,
        uninspected=declared,
        chains=(*_catch_all(), *(chain for port in ports for chain in port_chains(port))),
        access_log=q(telemetry.access_log),
    )


def _inspected(port: ir.InboundPort) -> bool:
    return port.protocol.is_http or port.protocol is ir.Protocol.AUTO


def _catch_all() -> tuple[ir.Chain, ...]:
    hole = ir.TcpChain(stat_prefix=BLACK_HOLE, to=(ir.Weighted(cluster=BLACK_HOLE),))
    through = ir.TcpChain(stat_prefix=PASSTHROUGH, to=(ir.Weighted(cluster=PASSTHROUGH),))
    requests = _requests(PASSTHROUGH, PASSTHROUGH, "inbound|http|0", ":0", ir.Protocol.AUTO, ())
    return (
        _chain("virtualInbound-blackhole", ir.ChainMatch(port=CAPTURE_PORT), hole, ()),
        _chain(
            "virtualInbound-catchall-http",
            ir.ChainMatch(transport=RAW, applications=HTTP),
            requests,
            (),
        ),
        _chain("virtualInbound", ir.ChainMatch(transport=RAW), through, ()),
        _chain("virtualInbound-tls", ir.ChainMatch(transport="tls"), through, ()),
    )


def port_chains(port: ir.InboundPort) -> tuple[ir.Chain, ...]:
    """The plaintext chains of a captured port; what is detected has one for each finding."""
    name = f"{ANY_ADDRESS}_{port.number}"
    plain = ir.ChainMatch(port=port.number, transport=RAW)
    if port.protocol.is_http:
        return (_chain(name, plain, requests(port), port.origin),)
    if port.protocol is not ir.Protocol.AUTO:
        return (_chain(name, plain, streams(port), port.origin),)
    detected = ir.ChainMatch(port=port.number, transport=RAW, applications=HTTP)
    foreign = ir.ChainMatch(port=port.number, transport="tls")
    return (
        _chain(f"{name}-http", detected, requests(port), port.origin),
        _chain(name, plain, streams(port), port.origin),
        _chain(f"{name}-tls", foreign, streams(port), port.origin),
    )


def _bound_chains(port: ir.InboundPort) -> tuple[ir.Chain, ...]:
    name = listener_name(port)
    everything = ir.ChainMatch()
    if port.protocol.is_http:
        return (_chain(name, everything, requests(port), port.origin),)
    if port.protocol is not ir.Protocol.AUTO:
        return (_chain(name, everything, streams(port), port.origin),)
    return (
        _chain(f"{name}-http", ir.ChainMatch(applications=HTTP), requests(port), port.origin),
        _chain(name, everything, streams(port), port.origin),
    )


def _chain(
    name: str,
    match: ir.ChainMatch,
    action: ir.HttpChain | ir.TcpChain,
    origin: tuple[Key, ...],
) -> ir.Chain:
    return ir.Chain(name=name, match=match, action=action, origin=origin)


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
