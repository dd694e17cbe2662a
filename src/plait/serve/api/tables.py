"""Tables as ``kubectl get`` prints them: the server chooses columns and cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from plait.config.record import seconds
from plait.serve.api import pod_cells

Cell = Callable[[Mapping[str, Any]], Any]


class Column(Struct, frozen=True, kw_only=True):
    """One column.

    Attributes:
        wide: shown with ``-o wide`` only.
    """

    name: str
    cell: Cell
    kind: str = "string"
    wide: bool = False


def at(path: str, default: Any = None) -> Cell:
    """The value at a path such as ``spec.host``; lists as JSON, as Kubernetes prints them."""
    names = path.split(".")

    def cell(document: Mapping[str, Any]) -> Any:
        value: Any = document
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            return default
        return json.dumps(value, separators=(",", ":")) if isinstance(value, list) else value

    return cell


def condition(kind: str) -> Cell:
    """Status of a condition, with its reason unless it holds."""

    def cell(document: Mapping[str, Any]) -> str:
        for found in document.get("status", {}).get("conditions") or ():
            if found.get("type") == kind:
                reason = "" if found["status"] == "True" else found.get("reason", "")
                return f"{found['status']} {reason}".strip()
        return "<unknown>"

    return cell


def count(path: str) -> Cell:
    """How many entries a list or map has."""
    names = path.split(".")

    def cell(document: Mapping[str, Any]) -> int:
        value: Any = document
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return len(value or ())

    return cell


def _first(*cells: Cell, default: Any = None) -> Cell:
    def cell(document: Mapping[str, Any]) -> Any:
        return next((value for c in cells if (value := c(document)) not in (None, "")), default)

    return cell


def _service_ports(document: Mapping[str, Any]) -> str:
    ports = []
    for port in document.get("spec", {}).get("ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        ports.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(ports) or "<none>"


def _selector(path: str) -> Cell:
    inner = at(path)

    def cell(document: Mapping[str, Any]) -> str:
        labels = inner(document) or {}
        return ",".join(f"{k}={v}" for k, v in labels.items()) or "<none>"

    return cell


def _external(document: Mapping[str, Any]) -> str:
    spec = document.get("spec", {})
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", "<none>"))
    return ",".join(spec.get("externalIPs") or ()) or "<none>"


def _replicas(document: Mapping[str, Any]) -> str:
    ready = document.get("status", {}).get("readyReplicas", 0)
    return f"{ready}/{document.get('spec', {}).get('replicas', 1)}"


def _each_container(field: str) -> Cell:
    """A field of each container of a template."""

    def cell(document: Mapping[str, Any]) -> str:
        template = document.get("spec", {}).get("template", {})
        containers = template.get("spec", {}).get("containers") or ()
        return ",".join(str(one.get(field, "")) for one in containers)

    return cell


def _slice_ports(document: Mapping[str, Any]) -> str:
    ports = (str(port.get("port", "")) for port in document.get("ports") or ())
    return ",".join(ports) or "<unset>"


def _slice_addresses(document: Mapping[str, Any]) -> str:
    found = [a for e in document.get("endpoints") or () for a in e.get("addresses") or ()]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more or "<unset>"


def _text(name: str, path: str, default: Any = None) -> Column:
    return Column(name=name, cell=at(path, default))


def _wide(name: str, cell: Cell) -> Column:
    return Column(name=name, cell=cell, wide=True)


_IN_MESH = (
    _wide("Accepted", condition("Accepted")),
    _wide("Resolved", condition("Resolved")),
    _wide("In Force", condition("Delivered")),
)

_CONTAINERS = (
    _wide("Containers", _each_container("name")),
    _wide("Images", _each_container("image")),
)
_ROUTES = (_text("Hostnames", "spec.hostnames"),)

_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "VirtualService": (_text("Gateways", "spec.gateways"), _text("Hosts", "spec.hosts")),
    "DestinationRule": (_text("Host", "spec.host"),),
    "ServiceEntry": (
        _text("Hosts", "spec.hosts"),
        _text("Location", "spec.location"),
        _text("Resolution", "spec.resolution"),
    ),
    "WorkloadEntry": (_text("Address", "spec.address"),),
    "PeerAuthentication": (_text("Mode", "spec.mtls.mode"),),
    "AuthorizationPolicy": (_text("Action", "spec.action"),),
    "WasmPlugin": (_text("URL", "spec.url"),),
    "HTTPRoute": _ROUTES,
    "GRPCRoute": _ROUTES,
    "GatewayClass": (_text("Controller", "spec.controllerName"),),
    "Gateway.gateway.networking.k8s.io": (_text("Class", "spec.gatewayClassName"),),
    "Namespace": (_text("Status", "status.phase", "Active"),),
    "ServiceAccount": (Column(name="Secrets", cell=count("secrets"), kind="integer"),),
    "Service": (
        _text("Type", "spec.type", "ClusterIP"),
        _text("Cluster-IP", "spec.clusterIP", "<none>"),
        Column(name="External-IP", cell=_external),
        Column(name="Port(s)", cell=_service_ports),
        _wide("Selector", _selector("spec.selector")),
    ),
    "ConfigMap": (
        Column(
            name="Data",
            cell=lambda d: len(d.get("data") or ()) + len(d.get("binaryData") or ()),
            kind="integer",
        ),
    ),
    "Secret": (
        _text("Type", "type", "Opaque"),
        Column(name="Data", cell=count("data"), kind="integer"),
    ),
    "Pod": (
        Column(name="Ready", cell=pod_cells.ready),
        Column(name="Status", cell=pod_cells.word),
        Column(name="Restarts", cell=pod_cells.restarts),
        _wide("IP", at("status.podIP", "<none>")),
        _wide("Node", at("spec.nodeName", "<none>")),
    ),
    "Deployment": (
        Column(name="Ready", cell=_replicas),
        Column(name="Up-to-date", cell=at("status.updatedReplicas", 0), kind="integer"),
        Column(name="Available", cell=at("status.availableReplicas", 0), kind="integer"),
        *_CONTAINERS,
        _wide("Selector", _selector("spec.selector.matchLabels")),
    ),
    "ReplicaSet": (
        Column(name="Desired", cell=at("spec.replicas", 1), kind="integer"),
        Column(name="Current", cell=at("status.replicas", 0), kind="integer"),
        Column(name="Ready", cell=at("status.readyReplicas", 0), kind="integer"),
        *_CONTAINERS,
        _wide("Selector", _selector("spec.selector.matchLabels")),
    ),
    "EndpointSlice": (
        _text("AddressType", "addressType"),
        Column(name="Ports", cell=_slice_ports),
        Column(name="Endpoints", cell=_slice_addresses),
    ),
}

_WORKLOADS = frozenset(
    ("Namespace", "ServiceAccount", "ConfigMap", "Secret", "Pod", "Deployment", "ReplicaSet")
)  # kinds that are not told to proxies


def columns(table: str) -> tuple[Column, ...]:
    """The columns of a kind between its name and its age, and those after it."""
    return _COLUMNS.get(table, ())


def definitions(table: str) -> list[dict[str, Any]]:
    """How a Table names its columns, in the order of `cells`."""
    found = [_definition("Name", "string", "name", wide=False)]
    shown, wide = _split(table)
    found += [_definition(c.name, c.kind, "", wide=False) for c in shown]
    found.append(_definition("Age", "string", "", wide=False))
    found += [_definition(c.name, c.kind, "", wide=True) for c in wide]
    found.append(_definition("Source", "string", "", wide=True))
    return found


def cells(table: str, document: Mapping[str, Any], origin: str, now: float) -> list[Any]:
    """One row; `origin` is where the object was read, `now` seconds since the epoch."""
    shown, wide = _split(table)
    metadata = document["metadata"]
    created = metadata.get("creationTimestamp", "")
    age = duration(now - seconds(created)) if created else "<unknown>"
    front = [metadata["name"], *(column.cell(document) for column in shown)]
    return [*front, age, *(column.cell(document) for column in wide), origin]


def _split(table: str) -> tuple[Sequence[Column], Sequence[Column]]:
    found = columns(table)
    shown = [column for column in found if not column.wide]
    wide = [column for column in found if column.wide]
    return shown, wide if table in _WORKLOADS else [*wide, *_IN_MESH]


def _definition(name: str, kind: str, form: str, *, wide: bool) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "format": form,
        "description": name,
        "priority": 1 if wide else 0,
    }


_AGES: tuple[tuple[int, int, str, int, str], ...] = (
    # below this many seconds: size and name of the unit, then of the one after it, if any
    (120, 1, "s", 0, ""),
    (600, 60, "m", 1, "s"),
    (3 * 3600, 60, "m", 0, ""),
    (8 * 3600, 3600, "h", 60, "m"),
    (2 * 86_400, 3600, "h", 0, ""),
    (8 * 86_400, 86_400, "d", 3600, "h"),
    (2 * 31_536_000, 86_400, "d", 0, ""),
    (8 * 31_536_000, 31_536_000, "y", 86_400, "d"),
)


def duration(span: float) -> str:
    """An age of `span` seconds as kubectl prints it: ``95s``, ``3m20s``, ``5h``, ``2y13d``."""
    left = max(0, int(span))
    last = (0, 31_536_000, "y", 0, "")
    _, size, name, small, rest = next((age for age in _AGES if left < age[0]), last)
    more = left % size // small if small else 0
    return f"{left // size}{name}" + (f"{more}{rest}" if more else "")
