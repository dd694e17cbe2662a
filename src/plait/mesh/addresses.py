"""Virtual addresses: those that were written, and those made up for hosts without one.

With an address of its own a host can be told from others by where a connection goes, which is
all that there is to tell bytes by.  It works where the caller's resolver gives that address out.
"""

from __future__ import annotations

from collections.abc import Mapping

from plait.base.digest import digest
from plait.base.query import Query
from plait.mesh import ir, visibility
from plait.mesh.hosts import host as host_query

_NETWORK = "240.240"  # Istio's: reserved, so nobody else is there
_LAST_BYTES = 254  # 1 … 254: no address that looks like a network's or a broadcast
_ROOM = 256 * _LAST_BYTES


def addresses(q: Query, host_id: ir.HostId, addressing: ir.Addressing) -> tuple[str, ...]:
    """Virtual IPs and CIDRs of a host.

    A host without any is given one of 240.240.0.0/16 if the caller asks for it, unless the host
    is where the caller was going anyway, or a wildcard.
    """
    host = q(host_query, host_id)
    wanted = not host.addresses and host.resolution is not ir.Resolution.ORIGINAL
    if addressing is ir.Addressing.WRITTEN or not wanted:
        return host.addresses
    found = q(automatic, host.name)
    return (found,) if found else ()


def automatic(q: Query, name: str) -> str:
    """The address made up for a host; empty: it needs none."""
    return q(assigned).get(name, "")


def assigned(q: Query) -> Mapping[str, str]:
    """The addresses of all hosts that need one, by name.

    It is the name that decides, whoever defines the host, so an address is the same on every
    replica and after a restart.  Of two names that want the same, the older keeps it; when more
    than 65,024 hosts need one, the youngest have none.
    """
    found: dict[int, str] = {}
    for name in q(_unaddressed)[:_ROOM]:
        place = int(digest(name.encode()), 16) % _ROOM
        while place in found:
            place = (place + 1) % _ROOM
        found[place] = name
    return {name: _address(place) for place, name in found.items()}


def _address(place: int) -> str:
    third, last = divmod(place, _LAST_BYTES)
    return f"{_NETWORK}.{third}.{last + 1}"


def _unaddressed(q: Query) -> tuple[str, ...]:
    """Names of hosts that are defined without an address, the oldest first."""
    created: dict[str, float] = {}
    for one in visibility.definitions(q, "unaddressed", True):  # noqa: FBT003 - the one bucket
        for name in one.hosts:
            if not name.startswith("*"):
                created[name] = min(one.created, created.get(name, one.created))
    return tuple(sorted(created, key=lambda name: (created[name], name)))
