"""Outbound listeners and those of gateways: what they are, from what a plan says of each."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from ipaddress import ip_network

from msgspec import Struct, structs

from plait.base.query import Query
from plait.mesh import extensions, ir, secured, streams, telemetry
from plait.mesh.secured import Secured
from plait.mesh.streams import Stream

CAPTURE_PORT = 15001
_HELLO = 15.0  # seconds that a client at a gateway has to begin with TLS
DETECTED = ir.ChainMatch(transport="raw_buffer", applications=("http/1.1", "h2c"))


class Plan(Struct, frozen=True, kw_only=True, cache_hash=True):
    """All that a listener depends on: equal plans share one in all views.

    Attributes:
        bind: whether a socket is opened; False: reached by hand-over from the capture listener.
        table: of requests; empty: only bytes are passed on.
        streams: chains of connections; the one without conditions takes what is left.
        secured: servers that are encrypted.
        edge: of a gateway.
        capture: it is the capture listener itself.
        proxied: connections come from the machine's edge, by the PROXY protocol.
    """

    name: str
    address: str
    port: int
    bind: bool = False
    table: str = ""
    streams: tuple[Stream, ...] = ()
    secured: tuple[Secured, ...] = ()
    edge: bool = False
    capture: bool = False
    proxied: bool = False


def listener(q: Query, plan: Plan) -> ir.Listener:
    """The listener of a plan.

    Protocols are detected only where requests and other bytes share a port: there the caller must
    speak first.  A port that has bytes alone is not inspected, so its servers may.
    """
    rest = [one for one in plan.streams if one.takes_all]
    chains = [
        chain for one in plan.streams if not one.takes_all for chain in q(streams.chains, one)
    ]
    last = [chain for one in rest for chain in q(streams.chains, one)]
    chains += [chain for chain in last if chain.match != ir.ChainMatch()]
    chains += [chain for one in plan.secured for chain in q(secured.chains, one)]
    default = next((chain for chain in last if chain.match == ir.ChainMatch()), None)
    chains = list(_apart(chains))
    if plan.table:
        chains.insert(0, _requests(plan, alone=not chains and default is None))
    if plan.capture:
        chains.insert(0, _trap())
    elif not chains and default is not None:
        chains, default = [default], None
    return ir.Listener(
        name=plan.name,
        address=plan.address,
        port=plan.port,
        bind=plan.bind,
        proxied=plan.proxied,
        original_destination=plan.capture,
        detect=bool(plan.table) and chains[0].match == DETECTED,
        detect_timeout=_HELLO if plan.secured else q(telemetry.detection_timeout),
        inspect_tls=any(one.match.server_names or one.match.transport == "tls" for one in chains),
        chains=tuple(chains),
        default=default,
        access_log=q(telemetry.access_log),
        paths=q(telemetry.paths),
        origin=tuple(dict.fromkeys(key for one in plan.streams for key in one.origin)),
    )


def _apart(chains: list[ir.Chain]) -> Iterator[ir.Chain]:
    """The same without what an earlier chain takes: Envoy refuses a listener that says it twice.

    That is a server name, where a chain has no address ranges; else an address range.
    """
    taken: set[tuple[Hashable, str]] = set()
    for chain in chains:
        match = chain.match
        ranges = tuple(str(ip_network(one, strict=False)) for one in match.prefixes)
        if match.transport and not ranges:
            asked = match.server_names or ("",)
            names = tuple(one for one in asked if (one, "") not in taken)
            taken.update((one, "") for one in names)
            if names:
                kept = names if match.server_names else ()
                yield structs.replace(chain, match=structs.replace(match, server_names=kept))
            continue
        left = tuple(one for one in dict.fromkeys(ranges) if (match.server_names, one) not in taken)
        taken.update((match.server_names, one) for one in left)
        if left or not ranges:
            yield structs.replace(chain, match=structs.replace(match, prefixes=left))


def _requests(plan: Plan, *, alone: bool) -> ir.Chain:
    return ir.Chain(
        name=f"{plan.name}-http",
        match=ir.ChainMatch() if alone else DETECTED,
        action=ir.HttpChain(
            stat_prefix=f"outbound_{plan.name};",
            table=plan.table,
            filters=extensions.FILTERS,
            edge=plan.edge,
        ),
    )


def _trap() -> ir.Chain:
    """A call to the capture port itself would go round for ever."""
    hole = ir.TcpChain(
        stat_prefix="BlackHoleCluster", to=(ir.Weighted(cluster="BlackHoleCluster"),)
    )
    return ir.Chain(
        name="virtualOutbound-trap", match=ir.ChainMatch(port=CAPTURE_PORT), action=hole
    )
