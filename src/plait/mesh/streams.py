"""Connections whose bytes are passed on: a host's chains, and VirtualServices' tcp routes."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from plait.base.query import Query
from plait.config import names as hosts
from plait.config.kinds import virtual_service as kinds
from plait.config.meta import Key, Object
from plait.mesh import destinations, ir
from plait.mesh.destinations import Context
from plait.mesh.routes import applies

_ANY = kinds.L4MatchAttributes()


class Stream(Struct, frozen=True, kw_only=True, cache_hash=True):
    """Where the connections of a chain go.

    Attributes:
        name: of its chains.
        cluster: where they go when no rule says; empty: they are closed.
        prefixes: of destination addresses; empty: any.
        server_names: of TLS connections; empty: any connection.
        rules: VirtualServices, whose tcp routes follow each other.
        marked: inside mutual TLS it is said that these are no requests: the other end's port
            takes both.
    """

    name: str
    cluster: str
    prefixes: tuple[str, ...] = ()
    server_names: tuple[str, ...] = ()
    rules: tuple[Context, ...] = ()
    marked: bool = False
    origin: tuple[Key, ...] = ()

    @property
    def takes_all(self) -> bool:
        """Whether it is for every connection of its listener."""
        return not self.prefixes and not self.server_names


def chains(q: Query, stream: Stream) -> tuple[ir.Chain, ...]:
    """The chains of a stream: routes with subnets, then what takes the rest of it."""
    found: list[ir.Chain] = []
    for prefixes, to, marked, origin in _targets(q, stream):
        suffix = f"-{len(found)}" if prefixes else ""
        match = ir.ChainMatch(
            prefixes=prefixes or stream.prefixes,
            transport="tls" if stream.server_names else "",
            server_names=stream.server_names,
        )
        prefix = to[0].cluster if len(to) == 1 else stream.name
        action = ir.TcpChain(stat_prefix=prefix, to=to, marked=marked)
        found.append(
            ir.Chain(name=f"{stream.name}{suffix}", match=match, action=action, origin=origin)
        )
        if not prefixes:
            break
    return tuple(found)


def passed_on(q: Query, stream: Stream) -> tuple[ir.Chain, ...]:
    """The chains of connections that stay encrypted: by server name, the first route that matches.

    Names that the server does not serve are left out.
    """
    found: list[ir.Chain] = []
    for context in stream.rules:
        row: Object[kinds.VirtualService] | None = q.row("VirtualService", context.key)
        for i, route in enumerate(row.spec.tls if row else ()):
            for j, match in enumerate(route.match):
                names = _served(match.sni_hosts, stream.server_names)
                if not names or not applies(context, match, f"tls[{i}].match[{j}]"):
                    continue
                to = destinations.streams(q, context, route, f"spec.tls[{i}]")
                found.append(
                    ir.Chain(
                        name=f"{stream.name}-{len(found)}",
                        match=ir.ChainMatch(
                            transport="tls",
                            server_names=() if "*" in names else names,
                            prefixes=match.destination_subnets,
                        ),
                        action=ir.TcpChain(
                            stat_prefix=to[0].cluster if len(to) == 1 else stream.name, to=to
                        ),
                        origin=(context.key, *stream.origin),
                    )
                )
    return tuple(found)


def _served(asked: tuple[str, ...], served: tuple[str, ...]) -> tuple[str, ...]:
    """The server names that a route and a server have in common, the narrower of two."""
    found = []
    for name in map(str.lower, asked):
        if not served or any(hosts.matches(one, name) for one in served):
            found.append(name)
        else:
            found += [one for one in served if hosts.matches(name, one)]
    return tuple(dict.fromkeys(found))


def _targets(
    q: Query, stream: Stream
) -> Iterator[tuple[tuple[str, ...], tuple[ir.Weighted, ...], bool, tuple[Key, ...]]]:
    for context in stream.rules:
        found: Object[kinds.VirtualService] | None = q.row("VirtualService", context.key)
        for i, route in enumerate(found.spec.tcp if found else ()):
            for j, match in enumerate(route.match or (_ANY,)):
                if route.route and applies(context, match, f"tcp[{i}].match[{j}]"):
                    to = destinations.streams(q, context, route, f"spec.tcp[{i}]")
                    marked = destinations.are_marked(q, context, route)
                    origin = (context.key, *stream.origin)
                    yield match.destination_subnets, to, marked, origin
    if stream.cluster:
        yield (), (ir.Weighted(cluster=stream.cluster),), stream.marked, stream.origin
