"""Which hosts a group of proxies sees: ``exportTo``, and the egress hosts of its Sidecar.

Lists read the membership of indexes, and of each object a small query with only what decides who
sees it; so an object whose endpoints, labels or ports change is no reason to look again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from msgspec import Struct

from plait.base.query import Query
from plait.config import indexes, names
from plait.config.mesh_config import MeshConfig, OutboundTrafficPolicy
from plait.config.meta import Key, Object
from plait.mesh import ir, scopes, virtual_services

OWNERS = ("Service", "ServiceEntry")
"""Tables of the objects that define hosts; the first has precedence."""


class Definition(Struct, frozen=True, kw_only=True):
    """What decides who sees an object that defines hosts.

    Attributes:
        exports: namespaces that see it; ``*``: all; empty: nobody.
    """

    key: Key
    created: float
    hosts: tuple[str, ...]
    exports: tuple[str, ...]

    @property
    def rank(self) -> tuple[bool, float, Key]:
        """Sorts owners by precedence: Services, then the older object."""
        return (self.key.kind != OWNERS[0], self.created, self.key)


# Settings of the mesh, one query for each group, so that a change of one re-runs its users only


def mesh_config(q: Query) -> MeshConfig:
    """The mesh's settings; the defaults where nobody wrote any."""
    return q(scopes.mesh_settings)


def outbound_policy(q: Query) -> OutboundTrafficPolicy:
    """What happens to traffic for unknown hosts where no Sidecar says otherwise."""
    return q(mesh_config).outbound_traffic_policy


def connect_timeout(q: Query) -> float:
    """Seconds in which a connection must be established."""
    return q(mesh_config).connect_timeout


# Definitions


def definition(q: Query, key: Key) -> Definition | None:
    """Who sees the Service or ServiceEntry `key`; None: there is none."""
    found: Object[Any] | None = q.row(key.kind, key)
    if found is None:
        return None
    if key.kind == "Service":
        written = _annotated(found)
        hosts: tuple[str, ...] = (names.service_host(key),)
    else:
        written, hosts = found.spec.export_to, tuple(dict.fromkeys(found.spec.hosts))
    exports = names.exports(written or q(scopes.exported_by_default, key.kind), key.namespace)
    return Definition(key=key, created=found.created, hosts=hosts, exports=exports)


def _annotated(service: Object[Any]) -> tuple[str, ...]:
    parts = service.annotations.get(indexes.EXPORT_TO, "").split(",")
    return tuple(part for raw in parts if (part := raw.strip()))


def definitions(q: Query, index: str, value: Hashable) -> list[Definition]:
    """The definitions that an index files under a value, by kind and key."""
    keys = [key for table in OWNERS for key in q.keys(table, index, value)]
    tried = [q.attempt(definition, key) for key in keys]
    return [found for found in tried if isinstance(found, Definition)]


def definitions_of(q: Query, name: str) -> tuple[Definition, ...]:
    """All objects that define the host `name`, in order of precedence."""
    return tuple(sorted(definitions(q, "host", name), key=lambda one: one.rank))


# Lists


def visible(q: Query, view: ir.View) -> tuple[ir.HostId, ...]:
    """The hosts that `view` sees, by name."""
    if view.scope is None:
        return q(exported, q(audience, view.namespace))
    return q(scoped, view.namespace, view.scope)


def audience(q: Query, namespace: str) -> str:
    """`namespace` if something is exported to it by name, else empty: it sees what all see."""
    by_name = any(q.keys(table, "export", namespace) for table in OWNERS)
    default = q(scopes.exported_by_default, "Service")
    return namespace if by_name or "*" not in default else ""


def exported(q: Query, namespace: str) -> tuple[ir.HostId, ...]:
    """The hosts exported to `namespace` or to all, by name."""
    found = definitions(q, "export", names.EVERYWHERE)
    if namespace:
        found += definitions(q, "export", namespace)
    return _merged(found, lambda one, _: is_exported(one, namespace))


def is_exported(found: Definition, namespace: str) -> bool:
    """Whether proxies of `namespace` may see an object."""
    return names.EVERYWHERE in found.exports or namespace in found.exports


def scoped(q: Query, namespace: str, scope: Key) -> tuple[ir.HostId, ...]:
    """The hosts that a Sidecar shows to proxies of `namespace`, by name.

    Besides those its egress hosts name, the destinations of the VirtualServices that it imports
    (Istio's rule: a route that is seen must lead somewhere).
    """
    patterns = q(_patterns, scope, namespace)
    routed = frozenset(q(_routed, namespace, scope))
    found = [one for space, host in patterns for one in _candidates(q, namespace, space, host)]
    found += [one for name in sorted(routed) for one in q(definitions_of, name)]

    def shows(one: Definition, host: str) -> bool:
        return is_exported(one, namespace) and (
            host in routed or scopes.admits(patterns, one.key.namespace, host)
        )

    return _merged(found, shows)


def _candidates(q: Query, own: str, space: str, host: str) -> Iterable[Definition]:
    """Objects that one egress pattern may mean, found by the narrowest index."""
    if space.startswith("~"):
        return ()
    if space != names.EVERYWHERE:
        return definitions(q, "namespace", space)
    if not host.startswith("*"):
        return q(definitions_of, host)
    everywhere = definitions(q, "export", names.EVERYWHERE)
    return everywhere + definitions(q, "export", own)


def _patterns(q: Query, scope: Key, namespace: str) -> tuple[scopes.Pattern, ...]:
    return tuple(pattern for one in q(scopes.egress, scope, namespace) for pattern in one.hosts)


def _routed(q: Query, namespace: str, scope: Key) -> tuple[str, ...]:
    """Destinations of the VirtualServices for the mesh that a Sidecar imports, by name."""
    found: set[str] = set()
    for key in q.keys(virtual_services.TABLE, "gateway", names.MESH):
        if q(virtual_services.seen, key, namespace, scope):
            rule = q(virtual_services.rule, key)
            found.update(rule.destinations if rule else ())
    return tuple(sorted(found))


def _merged(
    found: Iterable[Definition], shows: Callable[[Definition, str], bool]
) -> tuple[ir.HostId, ...]:
    owners: dict[str, list[Key]] = {}
    unique = {one.key: one for one in found}
    for one in sorted(unique.values(), key=lambda one: one.rank):
        for host in one.hosts:
            if shows(one, host):
                owners.setdefault(host, []).append(one.key)
    return tuple(ir.HostId(name, tuple(owners[name])) for name in sorted(owners))


# One host


def visible_host(q: Query, view: ir.View, name: str) -> ir.HostId | None:
    """The host `name` as `view` sees it; None: it does not.

    It agrees with `visible`, and does not depend on the other hosts.
    """
    found = [one for one in q(definitions_of, name) if is_exported(one, view.namespace)]
    if found and view.scope is not None and name not in q(_routed, view.namespace, view.scope):
        patterns = q(_patterns, view.scope, view.namespace)
        found = [one for one in found if scopes.admits(patterns, one.key.namespace, name)]
    return ir.HostId(name, tuple(one.key for one in found)) if found else None
