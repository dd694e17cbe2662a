"""The hosts that a view calls, by port."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from plait.base.query import Query
from plait.config import names
from plait.config.meta import Key
from plait.mesh import ir, scopes, visibility
from plait.mesh.addresses import addresses
from plait.mesh.hosts import host as host_query

_SUFFIX = f".svc.{names.DOMAIN}"


class Called(Struct, frozen=True, kw_only=True, cache_hash=True):
    """A host on one of its ports, with what listeners need to know of it."""

    host: ir.HostId
    port: ir.Port
    addresses: tuple[str, ...] = ()
    headless: bool = False
    created: float = 0.0

    @property
    def is_routed(self) -> bool:
        """Whether requests to it can be told from other bytes."""
        return self.port.protocol.is_http or self.port.protocol is ir.Protocol.AUTO

    @property
    def is_secure(self) -> bool:
        """Whether connections to it can be told by the server name that they begin with."""
        return self.port.protocol in (ir.Protocol.TLS, ir.Protocol.HTTPS)

    @property
    def age(self) -> tuple[float, Key]:
        """Sorts the older first."""
        return (self.created, self.host.owners[0])


def by_port(q: Query, view: ir.View) -> Mapping[int, tuple[Called, ...]]:
    """Hosts on their own ports, by name; those that only explicit listeners show are left out."""
    if view.scope is None:
        audience = q(visibility.audience, view.namespace)
        return q(exported_by_port, audience, view.addressing)
    patterns = _own_port_patterns(q, view.scope, view.namespace)
    called = [one for one in q(visibility.visible, view) if _is_shown(patterns, one)]
    return _by_port(q, called, view.addressing)


def called_host(q: Query, view: ir.View, name: str) -> ir.HostId | None:
    """The host `name` if `by_port` has it; the other hosts are not looked at."""
    found = q(visibility.visible_host, view, name)
    if found is None or view.scope is None:
        return found
    return found if _is_shown(_own_port_patterns(q, view.scope, view.namespace), found) else None


def _own_port_patterns(q: Query, scope: Key, namespace: str) -> tuple[scopes.Pattern, ...]:
    """The hosts that listeners without a port show; all that are visible where no other is."""
    listeners = q(scopes.egress, scope, namespace)
    if all(listener.port is None for listener in listeners):
        return scopes.EVERYTHING.hosts
    return tuple(pattern for one in listeners if one.port is None for pattern in one.hosts)


def exported_by_port(
    q: Query, audience: str, addressing: ir.Addressing
) -> Mapping[int, tuple[Called, ...]]:
    """The same for all views without a Sidecar that see the same hosts."""
    return _by_port(q, q(visibility.exported, audience), addressing)


def _by_port(
    q: Query, hosts: Iterable[ir.HostId], addressing: ir.Addressing
) -> Mapping[int, tuple[Called, ...]]:
    found: defaultdict[int, list[Called]] = defaultdict(list)
    for host_id in hosts:
        for called in q(ports, host_id, addressing):
            found[called.port.number].append(called)
    return {number: tuple(found[number]) for number in sorted(found)}


def on_port(q: Query, view: ir.View, number: int) -> tuple[Called, ...]:
    """Hosts with a port of that number, by name."""
    return q(by_port, view).get(number, ())


def through(q: Query, view: ir.View, patterns: tuple[scopes.Pattern, ...]) -> tuple[Called, ...]:
    """Hosts, on all their ports, that an explicit listener shows."""
    return tuple(
        called
        for host_id in q(visibility.visible, view)
        if _is_shown(patterns, host_id)
        for called in q(ports, host_id, view.addressing)
    )


def _is_shown(patterns: tuple[scopes.Pattern, ...], host: ir.HostId) -> bool:
    return any(scopes.admits(patterns, owner.namespace, host.name) for owner in host.owners)


def ports(q: Query, host_id: ir.HostId, addressing: ir.Addressing) -> tuple[Called, ...]:
    """A host on each of its ports; UDP is left out."""
    host = q(host_query, host_id)
    reached = q(addresses, host_id, addressing)
    return tuple(
        Called(
            host=host_id,
            port=port,
            addresses=reached,
            headless=host.headless,
            created=host.created,
        )
        for port in host.ports
        if port.protocol is not ir.Protocol.UDP
    )


def domains(called: Called, namespace: str) -> tuple[str, ...]:
    """Names by which callers in `namespace` say a host, the full one first.

    The name alone is for callers of the same namespace; addresses are said as they are.
    """
    name = called.host.name.lower()
    spoken = [name] if name.startswith("*") else [name, f"{name}."]
    if name.endswith(_SUFFIX):
        short = name.removesuffix(_SUFFIX)
        service, _, space = short.rpartition(".")
        if space == namespace and service:
            spoken.append(service)
        spoken += [short, f"{short}.svc"]
    if called.headless:
        spoken += [f"*.{one}" for one in tuple(spoken) if "." in one and not one.endswith(".")]
    single = (one for one in called.addresses if "/" not in one)
    return (*spoken, *map(names.domain, single))
