"""What a host is: the objects that define it, merged."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from plait.base.query import Query
from plait.config import names
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.kinds import core, service_entry
from plait.config.meta import Key, Object
from plait.mesh import ir, protocols

EXTERNAL_NAME = "ExternalName"
HEADLESS = "None"

_RESOLUTIONS = {
    service_entry.Resolution.NONE: ir.Resolution.ORIGINAL,
    service_entry.Resolution.STATIC: ir.Resolution.ENDPOINTS,
    service_entry.Resolution.DNS: ir.Resolution.DNS,
    service_entry.Resolution.DNS_ROUND_ROBIN: ir.Resolution.DNS_ROUND_ROBIN,
    # Not enforced yet: names of a wildcard are not resolved, the caller's address is kept.
    service_entry.Resolution.DYNAMIC_DNS: ir.Resolution.ORIGINAL,
}


class Part(Struct, frozen=True, kw_only=True):
    """What one object says about the hosts it defines."""

    ports: tuple[ir.Port, ...]
    addresses: tuple[str, ...]
    resolution: ir.Resolution
    headless: bool = False
    external: bool = False
    identities: tuple[str, ...] = ()
    created: float


def part(q: Query, key: Key) -> Part | None:
    """What the Service or ServiceEntry `key` says; None: there is none."""
    found: Object[Any] | None = q.row(key.kind, key)
    if found is None:
        return None
    return _of_service(found) if key.kind == "Service" else _of_entry(found)


def _of_service(found: Object[core.Service]) -> Part:
    spec = found.spec
    external = spec.type == EXTERNAL_NAME
    headless = not external and spec.cluster_ip == HEADLESS
    resolution = ir.Resolution.ENDPOINTS
    if external:
        resolution = ir.Resolution.DNS
    elif headless:
        # Istio's rule: whoever asks the DNS for a headless Service chooses the endpoint himself.
        resolution = ir.Resolution.ORIGINAL
    return Part(
        ports=tuple(_service_port(port) for port in spec.ports),
        addresses=() if external else service_addresses(spec),
        resolution=resolution,
        headless=headless,
        external=external,
        created=found.created,
    )


def service_addresses(spec: core.Service) -> tuple[str, ...]:
    """Virtual IPs of a Service; none where it is headless or has not got one yet."""
    written = spec.cluster_ips or (spec.cluster_ip,)
    return tuple(names.address(one) for one in written if one and one != HEADLESS)


def _service_port(port: core.ServicePort) -> ir.Port:
    protocol = protocols.of_service_port(port.name, port.port, port.protocol, port.app_protocol)
    target = port.target_port if port.target_port not in (None, 0, "") else None
    return ir.Port(number=port.port, name=port.name, protocol=protocol, target=target)


def _of_entry(found: Object[service_entry.ServiceEntry]) -> Part:
    spec = found.spec
    return Part(
        ports=tuple(
            ir.Port(
                number=port.number,
                name=port.name,
                protocol=protocols.of_entry_port(port.name, port.number, port.protocol),
                target=port.target_port or None,
            )
            for port in spec.ports
        ),
        addresses=tuple(map(names.address, spec.addresses)),
        resolution=_RESOLUTIONS[spec.resolution],
        external=spec.location is service_entry.Location.MESH_EXTERNAL,
        identities=spec.subject_alt_names,
        created=found.created,
    )


def host(q: Query, host_id: ir.HostId) -> ir.Host:
    """A host with all that its owners say, the first owner's word first.

    Ports and addresses are joined; of a port number that two owners declare differently the first
    one's is in force, and the other is told: PLT3003.  A host whose owners are gone has no ports.
    """
    parts = [(key, one) for key in host_id.owners if (one := q(part, key))]
    if not parts:
        return ir.Host(name=host_id.name, namespace=host_id.namespace, ports=())
    first = parts[0][1]
    return ir.Host(
        name=host_id.name,
        namespace=host_id.namespace,
        ports=_joined_ports(q, host_id.name, parts),
        addresses=tuple(dict.fromkeys(a for _, one in parts for a in one.addresses)),
        resolution=first.resolution,
        headless=first.headless,
        external=first.external,
        identities=tuple(dict.fromkeys(name for _, one in parts for name in one.identities)),
        created=min(one.created for _, one in parts),
    )


def _joined_ports(q: Query, name: str, parts: list[tuple[Key, Part]]) -> tuple[ir.Port, ...]:
    ports: dict[int, tuple[Key, ir.Port]] = {}
    for key, one in parts:
        for i, port in enumerate(one.ports):
            if port.protocol is ir.Protocol.UDP and port.number in ports:
                continue  # DNS and the like: one number for both transports
            owner, known = ports.get(port.number, (key, port))
            if known.protocol is ir.Protocol.UDP:
                owner, known = key, port
            if known.protocol is not port.protocol:
                q.report(_conflict(name, key, i, port, (owner, known)))
            ports[port.number] = (owner, known)
    return tuple(port for _, port in ports.values())


def _conflict(name: str, key: Key, i: int, port: ir.Port, known: tuple[Key, ir.Port]) -> Diagnostic:
    owner, other = known
    return Diagnostic(
        code="PLT3003",
        severity=Severity.WARNING,
        subject=key,
        path=f"spec.ports[{i}]",
        message=(
            f"port {port.number} of {name} is {_said(other)} by {owner}; {_said(port)} here "
            "is not in force"
        ),
        hint="Declare the same protocol in both, or another number",
        related=(owner,),
    )


def _said(port: ir.Port) -> str:
    return port.protocol.value or "of no declared protocol"
