"""Pods and WorkloadEntries as endpoints see them, and which of them a selector picks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from plait.base.query import Query
from plait.config import injection
from plait.config.injection import TLS_MODE
from plait.config.kinds import pod, workload_entry
from plait.config.meta import Key, Object
from plait.mesh import ir, trust

LOCALITY: Final = "istio-locality"  # region.zone.subzone: a label cannot hold a slash
_CANONICAL_NAMES: Final = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
_CANONICAL_REVISIONS: Final = (
    "service.istio.io/canonical-revision",
    "app.kubernetes.io/version",
    "version",
)

Pairs = tuple[tuple[str, str], ...]
"""A selector: labels with their values, sorted."""


class Workload(Struct, frozen=True, kw_only=True):
    """What of a Pod or WorkloadEntry its endpoints need.

    Attributes:
        address: empty: it has none yet.
        ports: a WorkloadEntry's numbers, by name of the service's port.
        container_ports: a Pod's, by name.
        ready: a Pod's own word; EndpointSlices have theirs.
        uncaptured: ports that are reached past its sidecar.
    """

    address: str
    labels: Mapping[str, str]
    namespace: str
    workload: str
    ports: Mapping[str, int] = {}
    container_ports: Mapping[str, int] = {}
    network: str = ""
    locality: ir.Locality = ir.Locality()
    weight: int = 1
    ready: bool = True
    identity: str = ""
    uncaptured: tuple[int, ...] = ()


def pairs(labels: Mapping[str, str]) -> Pairs:
    """Labels as an argument of queries."""
    return tuple(sorted(labels.items()))


def canonical_name(labels: Mapping[str, str], workload: str) -> str:
    """Name of the service that telemetry counts a workload under; without a label, its own."""
    return next((labels[key] for key in _CANONICAL_NAMES if labels.get(key)), workload)


def canonical_revision(labels: Mapping[str, str]) -> str:
    """Version that telemetry counts a workload under; ``latest`` without a label."""
    return next((labels[key] for key in _CANONICAL_REVISIONS if labels.get(key)), "latest")


def takes_tls(labels: Mapping[str, str]) -> bool:
    """Whether a workload says that its sidecar accepts mutual TLS."""
    return labels.get(TLS_MODE) == "istio"


def locality(written: str) -> ir.Locality:
    """Parse ``region/zone/subzone``; what is left out is unknown."""
    region, zone, subzone, *_ = (*written.split("/"), "", "", "")
    return ir.Locality(region, zone, subzone)


def identity(q: Query, namespace: str, account: str) -> str:
    """SPIFFE id of a service account in the mesh's trust domain; empty: none."""
    return f"spiffe://{q(trust.domain)}/ns/{namespace}/sa/{account}" if account else ""


# Pods


def of_pod(q: Query, key: Key) -> Workload | None:
    """A Pod; None: there is none.  What else changes in it is no change of this value."""
    found: Object[pod.Pod] | None = q.row("Pod", key)
    if found is None:
        return None
    spec, status = found.spec.spec, found.spec.status or pod.PodStatus()
    ports = {p.name: p.container_port for c in spec.containers for p in c.ports if p.name}
    return Workload(
        address=status.pod_ip,
        labels=found.labels,
        namespace=key.namespace,
        workload=_workload_name(found),
        container_ports=ports,
        locality=_pod_locality(found.labels),
        ready=_is_ready(found, status),
        identity=identity(
            q, key.namespace, spec.service_account_name or spec.service_account or "default"
        ),
        uncaptured=injection.uncaptured(found.annotations),
    )


def _is_ready(found: Object[pod.Pod], status: pod.PodStatus) -> bool:
    if found.deleted is not None or status.phase in ("Succeeded", "Failed"):
        return False
    return any(one.type == "Ready" and one.status == "True" for one in status.conditions)


def _workload_name(found: Object[pod.Pod]) -> str:
    """The Deployment that a Pod's ReplicaSet belongs to, another controller, or the Pod itself."""
    owner = next((one.key for one in found.owners if one.controller), None)
    if owner is None:
        return found.key.name
    template = found.labels.get("pod-template-hash")
    if owner.kind == "ReplicaSet" and template:
        return owner.name.removesuffix(f"-{template}")
    return owner.name


def _pod_locality(labels: Mapping[str, str]) -> ir.Locality:
    if written := labels.get(LOCALITY):
        return locality(written.replace(".", "/") if "/" not in written else written)
    return ir.Locality(
        labels.get("topology.kubernetes.io/region", ""),
        labels.get("topology.kubernetes.io/zone", ""),
        labels.get("topology.istio.io/subzone", ""),
    )


# WorkloadEntries


def of_entry(q: Query, key: Key) -> Workload | None:
    """A WorkloadEntry; None: there is none.  Labels of its metadata beat those of its spec."""
    found: Object[workload_entry.WorkloadEntry] | None = q.row("WorkloadEntry", key)
    if found is None:
        return None
    return written(q, found.spec, key.namespace, key.name, found.labels)


def written(
    q: Query,
    spec: workload_entry.WorkloadEntry,
    namespace: str,
    name: str,
    labels: Mapping[str, str],
) -> Workload:
    """A WorkloadEntry, or an endpoint written in a ServiceEntry, which has the same form."""
    together = {**spec.labels, **labels}
    place = locality(spec.locality) if spec.locality else _pod_locality(together)
    return Workload(
        address=spec.address,
        labels=together,
        namespace=namespace,
        workload=name,
        ports=spec.ports,
        network=spec.network,
        locality=place,
        weight=max(spec.weight, 1),
        identity=identity(q, namespace, spec.service_account),
    )


# Selection


def selected(q: Query, table: str, namespace: str, selector: Pairs) -> tuple[Key, ...]:
    """Pods or WorkloadEntries of a namespace that have all labels of `selector`, by key."""
    return tuple(
        key
        for key in q.keys(table, "namespace", namespace)
        if (labels := q(_labels, table, key)) is not None and has(labels, selector)
    )


def has(labels: Mapping[str, str], selector: Pairs) -> bool:
    """Whether `labels` hold every pair of `selector`."""
    return all(labels.get(name) == value for name, value in selector)


def _labels(q: Query, table: str, key: Key) -> Mapping[str, str] | None:
    found: Object[Any] | None = q.row(table, key)
    if found is None:
        return None
    return {**found.spec.labels, **found.labels} if table == "WorkloadEntry" else found.labels
