"""Objects for tests, and an engine that holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from plait.base.query import Change, Engine
from plait.config import catalog
from plait.config.kinds.observed import Rejection
from plait.config.kinds.pod import Pod
from plait.config.mesh_config import MeshConfig
from plait.config.meta import Key, Object, Owner
from plait.mesh import ir


def engine(*rows: Object[Any]) -> Engine:
    """An engine with every table, and these objects."""
    made = Engine(catalog.tables())
    made.commit([put(row) for row in rows])
    return made


def put(row: Object[Any]) -> Change:
    """The change that brings `row`."""
    return (catalog.table(row.key), row.key, row)


def gone(row: Object[Any]) -> Change:
    """The change that takes `row` away."""
    return (catalog.table(row.key), row.key, None)


def ran(engine: Engine, *changes: Change) -> dict[str, int]:
    """Which queries run, and how often, when `changes` are committed."""
    before = Counter(engine.runs)
    engine.commit(changes)
    found: Counter[str] = Counter()
    for query, number in engine.runs.items():
        found[query.__name__] += number - before[query]
    return dict(+found)


def settings(**fields: Any) -> Change:
    """The change that sets the mesh's settings."""
    return ("MeshConfig", "mesh", MeshConfig(**fields))


def refused(digest: str, accepted: bytes | None = None) -> Change:
    """The change that says that Envoy refused a child."""
    row = Rejection(digest=digest, name="", proxy="p", error="no", accepted=accepted)
    return ("Rejection", digest, row)


def made(
    kind: str, name: str, spec: Mapping[str, Any], namespace: str = "demo", **meta: Any
) -> Object[Any]:
    """An object of a kind of the catalog; `spec` in JSON form, durations in seconds."""
    found = catalog.KINDS[kind]
    return Object(key=found.key(namespace, name), spec=msgspec.convert(spec, found.spec), **meta)


def service(
    name: str = "reviews",
    namespace: str = "demo",
    *,
    ports: Sequence[Mapping[str, Any]] = ({"name": "http", "port": 9080},),
    ip: str = "10.96.0.1",
    export_to: str = "",
    created: float = 0.0,
    **spec: Any,
) -> Object[Any]:
    """A Service with one HTTP port, 9080."""
    annotations = {"networking.istio.io/exportTo": export_to} if export_to else {}
    body = {"clusterIP": ip, "ports": list(ports), **spec}
    return made("Service", name, body, namespace, annotations=annotations, created=created)


def entry(
    name: str = "external",
    namespace: str = "demo",
    *,
    hosts: Sequence[str] = ("api.example.com",),
    ports: Sequence[Mapping[str, Any]] = ({"number": 80, "name": "http", "protocol": "HTTP"},),
    created: float = 0.0,
    **spec: Any,
) -> Object[Any]:
    """A ServiceEntry."""
    body = {"hosts": list(hosts), "ports": list(ports), **spec}
    return made("ServiceEntry", name, body, namespace, created=created)


def endpoint_slice(
    service: str = "reviews",
    addresses: Sequence[str] = ("10.0.0.1",),
    namespace: str = "demo",
    *,
    ports: Mapping[str, int] = {"http": 9080},
    unready: Sequence[str] = (),
    zone: str = "",
    suffix: str = "a",
) -> Object[Any]:
    """An EndpointSlice whose endpoints are the Pods ``pod-ADDRESS``."""
    endpoints = [
        {
            "addresses": [address],
            "conditions": {"ready": address not in unready},
            "targetRef": {"kind": "Pod", "name": f"pod-{address}", "namespace": namespace},
            "zone": zone,
        }
        for address in addresses
    ]
    numbers = [{"name": name, "port": number} for name, number in ports.items()]
    return made(
        "EndpointSlice",
        f"{service}-{suffix}",
        {"endpoints": endpoints, "ports": numbers},
        namespace,
        labels={"kubernetes.io/service-name": service},
    )


def pod(
    address: str = "10.0.0.1",
    namespace: str = "demo",
    *,
    labels: Mapping[str, str] = {},
    ready: bool = True,
    account: str = "",
    owner: Owner | None = None,
    containers: Sequence[Mapping[str, Any]] = (),
) -> Object[Pod]:
    """The Pod ``pod-ADDRESS``."""
    state = "True" if ready else "False"
    body = {
        "spec": {"serviceAccountName": account, "containers": list(containers)},
        "status": {"podIP": address, "conditions": [{"type": "Ready", "status": state}]},
    }
    owners = (owner,) if owner else ()
    return made("Pod", f"pod-{address}", body, namespace, labels=labels, owners=owners)


def replica_set(name: str, namespace: str = "demo") -> Owner:
    """An owner reference to a ReplicaSet."""
    key = Key(group="apps", kind="ReplicaSet", namespace=namespace, name=name)
    return Owner(key=key, controller=True)


def workload(
    name: str = "vm1", namespace: str = "demo", *, labels: Mapping[str, str] = {}, **spec: Any
) -> Object[Any]:
    """A WorkloadEntry; `labels` are those of its metadata."""
    return made("WorkloadEntry", name, spec, namespace, labels=labels)


def rule(
    name: str = "reviews",
    namespace: str = "demo",
    *,
    host: str = "reviews",
    subsets: Mapping[str, Mapping[str, str]] = {},
    created: float = 0.0,
    **spec: Any,
) -> Object[Any]:
    """A DestinationRule; `subsets`: name → labels."""
    named = [{"name": subset, "labels": labels} for subset, labels in subsets.items()]
    body = {"host": host, "subsets": named, **spec}
    return made("DestinationRule", name, body, namespace, created=created)


def sidecar(
    *hosts: str, name: str = "default", namespace: str = "demo", **spec: Any
) -> Object[Any]:
    """A Sidecar with one egress listener."""
    return made("Sidecar", name, {"egress": [{"hosts": list(hosts)}], **spec}, namespace)


def view(namespace: str = "demo", scope: Object[Any] | None = None) -> ir.View:
    """The view of sidecars of a namespace."""
    return ir.View(ir.Role.SIDECAR, namespace, scope=scope.key if scope else None)
