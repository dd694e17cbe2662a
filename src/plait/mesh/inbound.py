"""The ports on which a workload serves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct, structs

from plait.base.query import Query
from plait.config import names
from plait.config.kinds import core, pod, service_entry, sidecar, workload_entry
from plait.config.meta import Key, Object
from plait.mesh import ir, protocols
from plait.mesh.hosts import host as host_query
from plait.mesh.virtual_services import selects

Labels = tuple[tuple[str, str], ...]

_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - Istio's default for what a Sidecar binds


class Offer(Struct, frozen=True, kw_only=True):
    """A host that a workload may serve.

    Attributes:
        labels: of the workloads it selects; None: it selects none.
    """

    key: Key
    created: float
    hosts: tuple[ir.HostId, ...]
    labels: Labels | None


def accepted(q: Query, identity: ir.Identity, scope: Key | None) -> tuple[ir.InboundPort, ...]:
    """Ports that a workload serves, by number; the older host names a port that two share.

    A Sidecar with `ingress` replaces what Services and ServiceEntries say.
    """
    written = q(ingress, scope, identity.interception) if scope else ()
    if written:
        return tuple(_apart(_led(port, identity), identity) for port in written)
    found: dict[int, ir.InboundPort] = {}
    offers = sorted(_offers(q, identity), key=lambda pair: (pair[0].created, pair[0].key))
    for offer, overrides in offers:
        for port in _ports(q, identity, offer, overrides):
            found.setdefault(port.number, port)
    return tuple(found[number] for number in sorted(found))


def _led(port: ir.InboundPort, identity: ir.Identity) -> ir.InboundPort:
    """The same, led to the workload's own address where 0.0.0.0 or [::] is said (Istio's rule)."""
    address, _, number = port.endpoint.rpartition(":")
    if address not in (_EVERYWHERE, "[::]"):
        return port
    is_six = address == "[::]"
    own = next((one for one in identity.addresses if (":" in one) is is_six), "")
    if not own:
        return port
    return structs.replace(port, endpoint=f"[{own}]:{number}" if is_six else f"{own}:{number}")


def _apart(port: ir.InboundPort, identity: ir.Identity) -> ir.InboundPort:
    """The same at the workload's own address where all are meant and calls are captured.

    A socket at every address would be in the way of calls to that port of other hosts, which are
    handed over to a listener of the same address.
    """
    captured = identity.interception is ir.Interception.REDIRECT
    if captured and port.bind == _EVERYWHERE and identity.addresses:
        return structs.replace(port, bind=identity.addresses[0])
    return port


def ingress(q: Query, scope: Key, interception: ir.Interception) -> tuple[ir.InboundPort, ...]:
    """What a Sidecar says its workloads accept; empty: it says nothing.

    `bind` is set where a socket is opened: in capture mode NONE, or where nothing is captured.
    """
    found: Object[sidecar.Sidecar] | None = q.row("Sidecar", scope)
    if found is None:
        return ()
    return tuple(
        ir.InboundPort(
            number=written.port.number,
            protocol=protocols.named(written.port.protocol),
            endpoint=_endpoint(written),
            bind=_bind(written, interception),
            origin=(scope,),
        )
        for written in found.spec.ingress
    )


def _endpoint(written: sidecar.IstioIngressListener) -> str:
    return written.default_endpoint or f"127.0.0.1:{written.port.number}"


def _bind(written: sidecar.IstioIngressListener, interception: ir.Interception) -> str:
    captured = written.capture_mode is not sidecar.CaptureMode.NONE
    if captured and interception is ir.Interception.REDIRECT:
        return ""
    return names.address(written.bind) or _EVERYWHERE


def _offers(q: Query, identity: ir.Identity) -> Iterator[tuple[Offer, tuple[tuple[str, int], ...]]]:
    """Hosts that this workload serves, with the port numbers that its entry overrides."""
    namespace, labels = identity.namespace, dict(identity.labels)
    for offer in q(selecting, namespace):
        if offer.labels is not None and selects(offer.labels, labels):
            yield offer, _entry_ports(q, namespace, identity.addresses)
    for address in identity.addresses:
        for key in q.keys("ServiceEntry", "address", (namespace, address)):
            written = q(entry_offer, key)
            if written is not None:
                yield written, q(endpoint_ports, key, address)


def selecting(q: Query, namespace: str) -> tuple[Offer, ...]:
    """Services and ServiceEntries of a namespace that select workloads by labels."""
    services = (q(service_offer, key) for key in q.keys("Service", "selected", namespace))
    entries = (q(entry_offer, key) for key in q.keys("ServiceEntry", "selected", namespace))
    return tuple(offer for offer in (*services, *entries) if offer is not None)


def service_offer(q: Query, key: Key) -> Offer | None:
    """A Service as an offer; None: there is none."""
    found: Object[core.Service] | None = q.row("Service", key)
    if found is None:
        return None
    host = ir.HostId(name=names.service_host(key), owners=(key,))
    labels = tuple(sorted(found.spec.selector.items()))
    return Offer(key=key, created=found.created, hosts=(host,), labels=labels or None)


def entry_offer(q: Query, key: Key) -> Offer | None:
    """A ServiceEntry as an offer; None: there is none."""
    found: Object[service_entry.ServiceEntry] | None = q.row("ServiceEntry", key)
    if found is None:
        return None
    selector = found.spec.workload_selector
    return Offer(
        key=key,
        created=found.created,
        hosts=tuple(ir.HostId(name=host, owners=(key,)) for host in found.spec.hosts),
        labels=tuple(sorted(selector.labels.items())) if selector else None,
    )


def endpoint_ports(q: Query, key: Key, address: str) -> tuple[tuple[str, int], ...]:
    """Port numbers that a ServiceEntry writes for its endpoint at `address`, by port name."""
    found: Object[service_entry.ServiceEntry] | None = q.row("ServiceEntry", key)
    written = found.spec.endpoints if found else ()
    return tuple(
        sorted(pair for one in written if one.address == address for pair in one.ports.items())
    )


def _entry_ports(
    q: Query, namespace: str, addresses: tuple[str, ...]
) -> tuple[tuple[str, int], ...]:
    """Port numbers that WorkloadEntries at these addresses write, by port name."""
    found: dict[str, int] = {}
    for address in addresses:
        for key in q.keys("WorkloadEntry", "address", (namespace, address)):
            row: Object[workload_entry.WorkloadEntry] | None = q.row("WorkloadEntry", key)
            found.update(row.spec.ports if row else {})
    return tuple(sorted(found.items()))


def _ports(
    q: Query, identity: ir.Identity, offer: Offer, overrides: tuple[tuple[str, int], ...]
) -> Iterator[ir.InboundPort]:
    written = dict(overrides)
    for host_id in offer.hosts:
        for port in q(host_query, host_id).ports:
            target = written.get(port.name) or port.target or port.number
            number = _number(q, identity, target)
            if number and port.protocol is not ir.Protocol.UDP:
                yield ir.InboundPort(
                    number=number,
                    protocol=port.protocol,
                    host=host_id.name,
                    service_port=port.number,
                    origin=(offer.key,),
                )


def _number(q: Query, identity: ir.Identity, target: int | str) -> int:
    """The number of a port that may be a name of a container's port; 0: not found."""
    if isinstance(target, int):
        return target
    for address in identity.addresses:
        named = dict(q(container_ports, identity.namespace, address))
        if target in named:
            return named[target]
    return 0


def container_ports(q: Query, namespace: str, address: str) -> tuple[tuple[str, int], ...]:
    """Names and numbers of the ports of the Pods at an address."""
    found: dict[str, int] = {}
    for key in q.keys("Pod", "address", (namespace, address)):
        row: Object[pod.Pod] | None = q.row("Pod", key)
        for container in row.spec.spec.containers if row else ():
            found.update((port.name, port.container_port) for port in container.ports if port.name)
    return tuple(sorted(found.items()))
