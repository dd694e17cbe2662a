"""What DNS names mean to the callers of a mesh, as their own resolver answers them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from plait.base.query import Query
from plait.config import names
from plait.mesh import ir
from plait.mesh.addresses import addresses
from plait.mesh.endpoints import endpoints
from plait.mesh.hosts import host as host_query


def records(
    q: Query, host_id: ir.HostId, addressing: ir.Addressing
) -> Mapping[str, tuple[str, ...]]:
    """The names of a host, in lower case, with what each means; none: others are to be asked.

    A host means its virtual addresses.  A headless Service means its endpoints that are ready,
    perhaps none, and each of these has a name of its own if it says so.  An ExternalName is
    another word for its target, unless it has ports and an address to be reached at.
    """
    host = q(host_query, host_id)
    name = host.name.lower()
    if host.headless:
        return _headless(name, q(endpoints, host_id))
    found = tuple(one for one in q(addresses, host_id, addressing) if names.is_address(one))
    if not found and _is_alias(host, host_id):
        found = tuple(one.address for one in q(endpoints, host_id))[:1]
    return {name: found} if found and name != "*" else {}


def _headless(name: str, found: tuple[ir.Endpoint, ...]) -> Mapping[str, tuple[str, ...]]:
    meant: defaultdict[str, set[str]] = defaultdict(set)
    for one in found:
        if one.ready and names.is_address(one.address):
            meant[name].add(one.address)
            if one.hostname:
                meant[f"{one.hostname.lower()}.{name}"].add(one.address)
    return {name: ()} | {each: tuple(sorted(meant[each])) for each in sorted(meant)}


def _is_alias(host: ir.Host, host_id: ir.HostId) -> bool:
    return host_id.owners[0].kind == "Service" and host.resolution is ir.Resolution.DNS
