"""What names mean, to the agent: one resource for each host that its proxy sees."""

from __future__ import annotations

from plait.base.digest import digest
from plait.base.query import Query
from plait.mesh import dns, ir, visibility
from plait.xds import dns_table
from plait.xds.resource import HOSTS, Absent, Answer, Child, Named, Present, leaf


def visible_names(q: Query, view: ir.View) -> tuple[Named, ...]:
    """The hosts that proxies of `view` see."""
    if view.scope is None:
        return q(_exported, q(visibility.audience, view.namespace), view.addressing)
    return _named(q(visibility.visible, view), view.addressing)


def _exported(q: Query, audience: str, addressing: ir.Addressing) -> tuple[Named, ...]:
    """The same for all views without a Sidecar that see the same hosts."""
    return _named(q(visibility.exported, audience), addressing)


def _named(found: tuple[ir.HostId, ...], addressing: ir.Addressing) -> tuple[Named, ...]:
    return tuple(Named(one.name, host, (one, addressing)) for one in found)


def host(q: Query, host_id: ir.HostId, addressing: ir.Addressing) -> Answer:
    """The names of one host; Absent: they are not the mesh's to answer."""
    records = q(dns.records, host_id, addressing)
    if not records:
        return Absent()
    body = dns_table.encode(records)
    child = Child(name=host_id.name, digest=digest(body), body=body, origin=host_id.owners)
    return Present(resource=leaf(HOSTS, child))
