"""Virtual hosts: what one depends on, and the routes in it."""

from __future__ import annotations

from msgspec import Struct

from plait.base.query import Query
from plait.config.meta import Key
from plait.mesh import ir, visibility
from plait.mesh.destinations import Context
from plait.mesh.routes import catch_all, default_route, routes
from plait.mesh.virtual_services import rule

ALLOW_ANY, BLOCK_ALL = "allow_any", "block_all"


class Entry(Struct, frozen=True, kw_only=True, cache_hash=True):
    """All that a virtual host depends on: equal entries share one in all tables.

    Attributes:
        name: ``HOST:PORT``; ``allow_any`` and ``block_all`` are for unknown hosts.
        rules: VirtualServices; their routes follow each other.
        cluster: where requests go when no rule says; empty: they are answered 404.
        require_tls: plain requests are answered 301.
    """

    name: str
    domains: tuple[str, ...]
    host: str = ""
    port: int = 0
    rules: tuple[Context, ...] = ()
    cluster: str = ""
    require_tls: bool = False
    origin: tuple[Key, ...] = ()


class Table(Struct, frozen=True, kw_only=True):
    """A route table before its routes.

    Attributes:
        ignore_port: the port in the ``Host`` header says nothing.
    """

    entries: tuple[Entry, ...]
    ignore_port: bool = True


def virtual_host(q: Query, entry: Entry) -> ir.VirtualHost:
    """The routes of an entry, first match first.

    Of several VirtualServices (gateways only) the older one's come first, and what takes every
    request comes last.
    """
    if entry.name in (ALLOW_ANY, BLOCK_ALL):
        return catch_all(allowed=entry.name == ALLOW_ANY)
    found = [route for context in entry.rules for route in q(routes, context)]
    if len(entry.rules) > 1:
        found.sort(key=_takes_all)
    if not found and entry.cluster:
        found = [default_route(entry.cluster, entry.host, entry.port, entry.origin)]
    return ir.VirtualHost(
        name=entry.name,
        domains=entry.domains,
        routes=tuple(found),
        require_tls=entry.require_tls,
        origin=(*(context.key for context in entry.rules), *entry.origin),
    )


def _takes_all(route: ir.Route) -> bool:
    match = route.match
    anywhere = match.path in (None, ir.Prefix("/"), ir.Regex(".*"), ir.Exists())
    return anywhere and not match.headers and not match.query


def context(
    q: Query,
    view: ir.View,
    key: Key,
    port: int,
    gateways: tuple[str, ...] = ("mesh",),
    encrypted: bool = False,  # noqa: FBT001, FBT002 - an argument of a query
) -> Context:
    """What the routes of VirtualService `key` depend on in `view`."""
    return Context(
        key=key,
        port=port,
        gateways=gateways,
        selected=tuple(chosen for chosen in view.selected if chosen.key == key),
        known=q(known_destinations, view, key),
        rules=view.rules,
        encrypted=encrypted,
    )


def known_destinations(q: Query, view: ir.View, key: Key) -> tuple[ir.HostId, ...]:
    """What `view` knows of the hosts that a VirtualService sends to."""
    found = q(rule, key)
    named = found.destinations if found else ()
    hosts = (q(visibility.visible_host, view, name) for name in named)
    return tuple(host for host in hosts if host is not None)
