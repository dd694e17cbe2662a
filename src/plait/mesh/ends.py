"""Why a call is encrypted or not: what both ends do, and the field of the object that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct, structs

from plait.base.query import Query
from plait.config.meta import Key
from plait.mesh import clusters, endpoints, inbound_listeners, ir, rules, security, workloads
from plait.mesh.client_tls import Calling
from plait.mesh.hosts import host as host_query

PLAIN, TLS, MUTUAL = "plain text", "TLS", "mutual TLS"
"""What is spoken, in the words of the pages."""


class Caller(Struct, frozen=True, kw_only=True):
    """What the calling end does.

    Attributes:
        speaks: `PLAIN`, `TLS` or `MUTUAL`; empty: what is asked for cannot be had, 503.
        automatic: endpoints that do not take it are called plainly.
        mode: as a DestinationRule says it; empty: none does.
        by: that rule; None: it is so by itself.
        because: why it is so by itself, or cannot be had; or what its certificates are from.
    """

    speaks: str
    automatic: bool = False
    mode: str = ""
    by: Key | None = None
    path: str = ""
    because: str = ""


class Port(Struct, frozen=True, kw_only=True):
    """What a serving port takes.

    Attributes:
        number: 0: every port that nothing names.
        mode: as PeerAuthentication says it; empty: there is no identity, so nothing is asked.
        by: None: the default.
    """

    number: int
    mode: str
    by: Key | None = None
    path: str = ""


class Group(Struct, frozen=True, kw_only=True):
    """Endpoints of one workload that are alike.

    Attributes:
        speaks: what they are called by.
        able: their workload says that its sidecar takes mutual TLS.
        port: what they take; None: they are outside the mesh, where no policy is.
    """

    workload: str
    namespace: str
    count: int
    speaks: str
    able: bool
    port: Port | None


class Ends(Struct, frozen=True, kw_only=True):
    """Both ends of the calls of a cluster."""

    caller: Caller
    groups: tuple[Group, ...]


def of_cluster(q: Query, ref: clusters.ClusterRef) -> Ends | None:
    """Both ends of an outbound cluster's calls; None: its port or subset is not there.

    Groups are in the order of namespace and workload.
    """
    called = q(clusters.calling, ref)
    if called is None:
        return None
    caller = _caller(called, q(rules.policy, ref.rules, ref.subset, ref.port))
    found = Counter(_group(q, ref, caller, one) for one in _endpoints(q, ref))
    groups = [structs.replace(group, count=count) for group, count in found.items()]
    groups.sort(key=lambda one: (one.namespace, one.workload, one.speaks, not one.able))
    return Ends(caller=caller, groups=tuple(groups))


def of_listener(q: Query, inbound: ir.Inbound, name: str) -> tuple[Port, ...]:
    """What the ports of an inbound listener take: those of hosts, those that a policy alone names.

    Last, all that nothing names.
    """
    captures = name == inbound_listeners.CAPTURE
    numbers = [
        port.number
        for port in inbound.ports
        if (not port.bind if captures else inbound_listeners.listener_name(port) == name)
    ]
    told = q(security.named_ports, inbound.policies) - {port.number for port in inbound.ports}
    asked = [*numbers, *sorted(told), 0] if captures else numbers
    found = tuple(_port(q, inbound.policies, number) for number in asked)
    if inbound.certified:
        return found
    strict = security.Mode.STRICT.value  # closed: see `inbound_listeners`
    return tuple(one if one.mode == strict else Port(number=one.number, mode="") for one in found)


def _caller(called: Calling, policy: rules.Policy) -> Caller:
    speaks = PLAIN
    if called.end is not None:
        speaks = MUTUAL if called.end.certificate is not None else TLS
    return Caller(
        speaks=speaks if called.possible else "",
        automatic=called.automatic,
        mode=policy.tls.mode.value if policy.tls else "",
        by=policy.tls_by.key if policy.tls_by else None,
        path=policy.tls_by.path if policy.tls_by else "",
        because=called.because,
    )


def _endpoints(q: Query, ref: clusters.ClusterRef) -> Iterator[ir.Endpoint]:
    labels = q(rules.subset_labels, ref.rules, ref.subset)
    for group in q(endpoints.endpoint_set, ref.host, ref.port, labels).groups:
        yield from group.endpoints


def _group(q: Query, ref: clusters.ClusterRef, caller: Caller, one: ir.Endpoint) -> Group:
    """The endpoint as a group of one."""
    host = q(host_query, ref.host)
    port = host.port(ref.port)
    takes = None
    if not host.external and port is not None:
        policies = q(security.in_force, one.namespace, workloads.pairs(one.labels))
        takes = _port(q, policies, one.ports.get(port.name, 0))
    return Group(
        workload=one.workload or one.address,
        namespace=one.namespace,
        count=1,
        speaks=PLAIN if caller.automatic and not one.tls else caller.speaks,
        able=workloads.takes_tls(one.labels),
        port=takes,
    )


def _port(q: Query, policies: tuple[Key, ...], number: int) -> Port:
    found = q(security.decision, policies, number)
    return Port(number=number, mode=found.mode.value, by=found.by, path=found.path)
