"""Gateways: what proxies at the edge listen to, and which VirtualServices they serve."""

from __future__ import annotations

from collections import defaultdict

from msgspec import Struct

from plait.base.query import Query
from plait.config import names
from plait.config.kinds import gateway as kinds
from plait.config.meta import Key, Object
from plait.mesh import ir, protocols, virtual_services
from plait.mesh.virtual_hosts import Entry, Table, context


class Served(Struct, frozen=True, kw_only=True, cache_hash=True):
    """One server of a Gateway.

    Attributes:
        bind: address; empty: all.
        http: requests are routed; False: bytes are passed on.
        hosts: namespace (``*``: any) and host.
        redirect: plain requests are answered 301.
        tls: None: connections are not encrypted.
        port_name: of the server's port; it is part of the name of its routes.
    """

    gateway: Key
    index: int
    created: float
    port: int
    bind: str
    http: bool
    hosts: tuple[tuple[str, str], ...]
    redirect: bool = False
    tls: kinds.ServerTLSSettings | None = None
    port_name: str = ""

    @property
    def passes_on(self) -> bool:
        """Whether encrypted connections go on as they are."""
        return self.tls is not None and self.tls.mode is kinds.ServerTLSMode.PASSTHROUGH

    @property
    def table(self) -> str:
        """Name of the route table, as in Istio; those that are not encrypted share one by port."""
        bind = f".{self.bind}" if self.bind else ""
        if self.tls is None:
            return f"http.{self.port}{bind}"
        place = f"{self.gateway.name}.{self.gateway.namespace}"
        return f"https.{self.port}.{self.port_name}.{place}{bind}"

    @property
    def server_names(self) -> tuple[str, ...]:
        """Server names of TLS; empty: any."""
        found = tuple(dict.fromkeys(host.lower() for _, host in self.hosts))
        return () if "*" in found else found

    def shares(self, other: Served) -> bool:
        """Whether both may have one port: all of it encrypted, or all of it requests."""
        if self.tls is not None and other.tls is not None:
            return True
        return self.tls is other.tls and self.http and other.http


_SECURE = (ir.Protocol.HTTPS, ir.Protocol.TLS)
_NOT_SERVED = kinds.ServerTLSMode.AUTO_PASSTHROUGH


def path(key: Key) -> str:
    """``namespace/name``: how VirtualServices name a Gateway."""
    return f"{key.namespace}/{key.name}"


def servers(q: Query, key: Key) -> tuple[Served, ...]:
    """The servers of a Gateway; those for UDP and with AUTO_PASSTHROUGH are not served yet."""
    found: Object[kinds.Gateway] | None = q.row("Gateway", key)
    if found is None:
        return ()
    return tuple(
        _served(key, i, found.created, server)
        for i, server in enumerate(found.spec.servers)
        if _is_served(server)
    )


def _is_served(server: kinds.Server) -> bool:
    protocol = protocols.named(server.port.protocol)
    if protocol in _SECURE:
        return server.tls is not None and server.tls.mode is not _NOT_SERVED
    return protocol.is_http or protocol is ir.Protocol.TCP


def _served(key: Key, index: int, created: float, server: kinds.Server) -> Served:
    protocol = protocols.named(server.port.protocol)
    tls = server.tls if protocol in _SECURE else None
    ends = tls is None or tls.mode is not kinds.ServerTLSMode.PASSTHROUGH
    return Served(
        gateway=key,
        index=index,
        created=created,
        port=server.port.number,
        bind=names.address(server.bind),
        http=protocol.is_http or (protocol is ir.Protocol.HTTPS and ends),
        hosts=tuple(_host(host, key.namespace) for host in server.hosts),
        redirect=tls is None and server.tls is not None and server.tls.https_redirect,
        tls=tls,
        port_name=server.port.name,
    )


def _host(written: str, namespace: str) -> tuple[str, str]:
    space, _, host = written.rpartition("/")
    return ("*" if not space else namespace if space == "." else space, host)


def served(q: Query, view: ir.View) -> tuple[Served, ...]:
    """All servers of the Gateways that select the proxies of `view`, older Gateways first."""
    keys = [chosen.key for chosen in view.selected if chosen.key.kind == "Gateway"]
    found = [server for key in keys for server in q(servers, key)]
    return tuple(sorted(found, key=lambda one: (one.created, one.gateway, one.index)))


def table(q: Query, view: ir.View, name: str) -> Table | None:
    """Hosts of the servers whose requests table `name` routes; None: there is no such server.

    A host is served where a server's and a VirtualService's hosts meet; several VirtualServices
    for one host follow each other, older first.  Everything else is answered 404.
    """
    http = tuple(one for one in q(served, view) if one.http and one.table == name)
    if not http:
        return None
    port = http[0].port
    rules: defaultdict[str, dict[Key, set[str]]] = defaultdict(dict)
    redirects: set[str] = set()
    for server in http:
        for key in q(virtual_services.served, path(server.gateway), view.namespace):
            for host in q(meeting, server.hosts, key):
                rules[host].setdefault(key, set()).add(path(server.gateway))
                redirects |= {host} if server.redirect else set()
        redirects |= {h for _, h in server.hosts if server.redirect}
    entries = [
        _entry(q, view, http[0], host, rules.get(host, {}), redirect=host in redirects)
        for host in sorted({*rules, *redirects})
    ]
    if all(entry.domains != ("*",) for entry in entries):
        entries.append(Entry(name=f"blackhole:{port}", domains=("*",)))
    return Table(entries=tuple(entries))


def _entry(
    q: Query,
    view: ir.View,
    server: Served,
    host: str,
    rules: dict[Key, set[str]],
    *,
    redirect: bool,
) -> Entry:
    port, encrypted = server.port, server.tls is not None
    ages = {key: _age(q, key) for key in rules}
    return Entry(
        name=f"{host}:{port}",
        domains=(names.domain(host),),
        host=host,
        port=port,
        rules=tuple(
            context(q, view, key, port, tuple(sorted(rules[key])), encrypted)
            for key in sorted(rules, key=ages.__getitem__)
        ),
        require_tls=redirect,
    )


def _age(q: Query, key: Key) -> tuple[float, Key]:
    found = q(virtual_services.rule, key)
    return (found.created if found else 0.0, key)


def meeting(q: Query, hosts: tuple[tuple[str, str], ...], key: Key) -> tuple[str, ...]:
    """Hosts that both a server and a VirtualService name: of two that overlap the narrower one."""
    found = q(virtual_services.rule, key)
    if found is None or not found.http:
        return ()
    return tuple(sorted(set(narrower(found, hosts))))


def narrower(found: virtual_services.Rule, hosts: tuple[tuple[str, str], ...]) -> list[str]:
    """Where the hosts of a rule and of a server meet: of two that overlap the narrower one."""
    met = []
    for space, wanted in hosts:
        if space not in ("*", found.key.namespace):
            continue
        for host in found.hosts:
            if names.matches(wanted, host):
                met.append(host)
            elif names.matches(host, wanted):
                met.append(wanted)
    return met


def streams(q: Query, view: ir.View, server: Served) -> tuple[Key, ...]:
    """VirtualServices with routes of connections for a server, older first."""
    found = []
    for key in q(virtual_services.served, path(server.gateway), view.namespace):
        rule = q(virtual_services.rule, key)
        fits = rule is not None and (rule.passed_on if server.passes_on else rule.streams)
        if rule is not None and fits and narrower(rule, server.hosts):
            found.append(key)
    return tuple(found)
