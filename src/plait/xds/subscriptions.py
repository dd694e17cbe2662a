"""What a subscription watches: from type, name and placement to the call that answers it."""

from __future__ import annotations

from typing import Any

from plait.base.query import Call, Query
from plait.mesh import credentials, ir
from plait.xds import clusters, endpoints, extensions, hosts, listeners, routes, secrets
from plait.xds.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    HOSTS,
    LISTENER,
    ROUTES,
    SECRET,
    Absent,
    Answer,
)


def wildcard(type_url: str, placement: ir.Placement) -> tuple[Call, ...]:
    """Calls whose values (`Named` entries) are together all resources of a type.

    The outbound part is shared by equal views and the inbound part by replicas.  Empty: the type
    is asked for by name.
    """
    if type_url == HOSTS:
        return ((hosts.visible_names, (placement.view,)),)
    modules: dict[str, Any] = {CLUSTER: clusters, LISTENER: listeners}
    module = modules.get(type_url)
    if module is None:
        return ()
    outbound: Call = (module.outbound_names, (placement.view,))
    if placement.edge and type_url == LISTENER:
        return outbound, (listeners.edge_names, (placement.view, placement.edge))
    if placement.inbound is None:
        return (outbound,)
    return outbound, (module.inbound_names, (placement.inbound,))


def named(type_url: str, name: str, placement: ir.Placement) -> Call:
    """The call whose `Answer` is one resource; what does not exist is Absent."""
    view = placement.view
    if type_url == ENDPOINTS:
        return endpoints.endpoints, (view, placement.locality, name)
    if type_url == ROUTES:
        return routes.table, (view, name)
    if type_url == EXTENSION:
        return extensions.extension, (view, name)
    if type_url == SECRET:
        return _secret(name, view)
    if type_url in (CLUSTER, LISTENER, HOSTS):
        return of_wildcard, (type_url, placement, name)
    return absent, (type_url, name)


def _secret(name: str, view: ir.View) -> Call:
    """Secrets that are objects are of the proxy's own namespace.

    A gateway may ask for all of them, a workload for those that rules name which select it.
    """
    if not name.startswith(credentials.KUBERNETES):
        return secrets.secret, (name,)
    if view.role is ir.Role.GATEWAY:
        return secrets.of_namespace, (view.namespace, name)
    if view.rules:
        return secrets.of_rules, (view.namespace, view.rules, name)
    return absent, (SECRET, name)


def of_wildcard(q: Query, type_url: str, placement: ir.Placement, name: str) -> Answer:
    """A cluster or listener asked for by its name."""
    for query, arguments in wildcard(type_url, placement):
        for entry in q(query, *arguments):
            if entry.name == name:
                answer: Answer = q(entry.query, *entry.args)
                return answer
    return Absent()


def absent(q: Query, type_url: str, name: str) -> Answer:
    """A type that plait does not serve."""
    del q, type_url, name
    return Absent()
