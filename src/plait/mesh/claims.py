"""Who has an address, where several hosts want it for their bytes: the oldest.

`listener_plans` decides it for all hosts of a port at once.  The queries here answer for one
address and read none but the hosts that want it; both agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plait.base.query import Query
from plait.config import names
from plait.config.diagnostics import Diagnostic, Severity
from plait.mesh import called as calls
from plait.mesh import endpoints, hosts, ir, visibility
from plait.mesh.called import Called
from plait.mesh.visibility import Definition

EVERYWHERE = "0.0.0.0"  # noqa: S104 - where listeners of all hosts of a port are
RESERVED = frozenset({15001, 15006, 15021, 15090})
"""Ports of proxies themselves, as in Istio: capture, outbound and inbound; health; statistics."""


def addresses(q: Query, one: Called) -> tuple[str, ...]:
    """Where the bytes of a host are told by where they go; a headless one's at its endpoints.

    Also those of a headless one whose protocol is detected: each endpoint has a listener (Istio's
    rule), or bytes for it would be for nobody known.
    """
    if not one.headless or one.port.protocol.is_http:
        return one.addresses
    found = {endpoint.address for endpoint in q(endpoints.endpoints, one.host)}
    return (*one.addresses, *sorted(filter(names.is_address, found)))


def owner(q: Query, view: ir.View, address: str, number: int) -> Called | None:
    """The host that has an address on a port; None: no bytes go by it there."""
    defined = visibility.definitions(q, "virtual_address", address)
    found = [one for one in _called(q, view, defined, number) if address in one.addresses]
    if headless := q(headless_owners, view, number).get(address):
        found.append(headless)
    return min(found, key=lambda one: one.age, default=None)


def headless_owners(q: Query, view: ir.View, number: int) -> Mapping[str, Called]:
    """By address, the headless host that has an endpoint there, as long as no other is older."""
    found: dict[str, Called] = {}
    defined = visibility.definitions(q, "virtual_address", hosts.HEADLESS)
    for one in sorted(_called(q, view, defined, number), key=lambda one: one.age):
        if one.headless:
            for address in addresses(q, one):
                found.setdefault(address, one)
    return found


def remainder(q: Query, view: ir.View, number: int) -> Called | None:
    """The host that takes what is left of a port: the oldest of those that `takes_rest`."""
    defined = visibility.definitions(q, "bare_port", number)
    found = [one for one in _called(q, view, defined, number) if takes_rest(one)]
    return min(found, key=lambda one: one.age, default=None)


def takes_rest(one: Called) -> bool:
    """Whether a host is declared as bytes that nothing but their port tells from others."""
    is_bare = not one.addresses and not one.headless
    return is_bare and one.port.protocol is ir.Protocol.TCP


def is_reserved(address: str, number: int) -> bool:
    """Whether proxies listen there themselves: Envoy takes no second listener of one address."""
    return address == EVERYWHERE and number in RESERVED


def reserved(one: Called) -> Diagnostic | None:
    """PLT3001: what is told by its port alone is not reached at a port of proxies themselves."""
    number = one.port.number
    shares = one.port.protocol.is_http or not (one.addresses or one.headless)
    if not shares or not is_reserved(EVERYWHERE, number):
        return None
    return Diagnostic(
        code="PLT3001",
        severity=Severity.WARNING,
        subject=one.host.owners[0],
        message=f"port {number} of {one.host.name} has no routes: proxies listen there themselves",
        hint=f"Give it another port than {', '.join(map(str, sorted(RESERVED)))}",
    )


def conflict(loser: Called, winner: Called, address: str) -> Diagnostic:
    """PLT3001: two hosts want one address."""
    number, first = loser.port.number, winner.host.owners[0]
    return Diagnostic(
        code="PLT3001",
        severity=Severity.ERROR,
        subject=loser.host.owners[0],
        message=f"port {number} of {loser.host.name} is not reached at {address}:{number}: "
        f"it belongs to the older {first}",
        hint="Give it an address or a port of its own",
        related=(first,),
    )


def _called(q: Query, view: ir.View, defined: Iterable[Definition], number: int) -> list[Called]:
    """The hosts that any of the objects define, as a view calls them on a port for bytes."""
    names = sorted({name for one in defined for name in one.hosts if q(has_bytes, name, number)})
    known = [host for name in names if (host := q(calls.called_host, view, name))]
    return [
        one
        for host in known
        for one in q(calls.ports, host, view.addressing)
        if one.port.number == number and not one.port.protocol.is_http
    ]


def has_bytes(q: Query, name: str, number: int) -> bool:
    """Whether anybody declares a port of the host `name` for other than requests."""
    parts = [q(hosts.part, one.key) for one in q(visibility.definitions_of, name)]
    ports = [port for part in parts if part for port in part.ports]
    return any(port.number == number and not port.protocol.is_http for port in ports)
