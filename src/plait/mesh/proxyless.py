"""Servers in the mesh before which no proxy stands: they take plain text alone."""

from __future__ import annotations

from msgspec import Struct

from plait.base.query import Query
from plait.config.meta import Key
from plait.mesh import ir, security, visibility, workloads
from plait.mesh.endpoints import endpoints
from plait.mesh.hosts import host as host_query
from plait.mesh.security import Decision


class Port(Struct, frozen=True, kw_only=True):
    """A port of a workload, as the host that is served there declares it.

    Attributes:
        asked: what policies say of it.  Where that is STRICT, callers use mutual TLS all the same,
            and nobody answers: see `security.takes_tls`.
    """

    namespace: str
    workload: str
    number: int
    protocol: ir.Protocol
    asked: Decision


def ports(q: Query, owner: Key) -> tuple[Port, ...]:
    """The ports of a Service's or ServiceEntry's endpoints that do not say they take mutual TLS.

    In the order of its endpoints; hosts outside the mesh have none.
    """
    found = q(visibility.definition, owner)
    ids = [ir.HostId(name=name, owners=(owner,)) for name in (found.hosts if found else ())]
    return tuple(dict.fromkeys(port for one in ids for port in q(_of_host, one)))


def _of_host(q: Query, host_id: ir.HostId) -> tuple[Port, ...]:
    host = q(host_query, host_id)
    if host.external:
        return ()
    protocols = {port.name: port.protocol for port in host.ports}
    found = []
    for one in q(endpoints, host_id):
        if workloads.takes_tls(one.labels):
            continue
        policies = q(security.in_force, one.namespace, workloads.pairs(one.labels))
        found += [
            Port(
                namespace=one.namespace,
                workload=one.workload or one.address,
                number=number,
                protocol=protocols[name],
                asked=q(security.decision, policies, number),
            )
            for name, number in one.ports.items()
        ]
    return tuple(found)
