"""Which lists of Kubernetes kinds are maps in disguise, and which maps are replaced whole.

The facts are those of the published OpenAPI documents (``x-kubernetes-list-map-keys``,
``x-kubernetes-patch-merge-key``).  Istio's kinds have none: their lists are replaced whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Names = tuple[str, ...]  # field names from the root; list items add none

_CONTAINER: dict[str, Names] = {
    "ports": ("containerPort", "protocol"),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
}

_POD: dict[str, Names] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    **{
        f"{where}.{field}": keys
        for where in ("containers", "initContainers", "ephemeralContainers")
        for field, keys in _CONTAINER.items()
    },
}

_ANY: dict[str, Names] = {
    "metadata.ownerReferences": ("uid",),
    "metadata.finalizers": (),
    "status.conditions": ("type",),
}


def _below(prefix: str) -> dict[str, Names]:
    return {f"{prefix}.{field}": keys for field, keys in _POD.items()}


_BUILT_IN: dict[str, dict[str, Names]] = {
    "Service": {"spec.ports": ("port", "protocol")},
    "ServiceAccount": {"secrets": ("name",), "imagePullSecrets": ("name",)},
    "Pod": _below("spec"),
    "Gateway.gateway.networking.k8s.io": {
        "spec.listeners": ("name",),
        "status.listeners": ("name",),
    },
}

_WORKLOADS: dict[str, dict[str, Names]] = {
    kind: _below("spec.template.spec")
    for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job")
}

_KINDS = {**_BUILT_IN, **_WORKLOADS}

_ATOMIC: dict[str, frozenset[str]] = {
    "Service": frozenset({"spec.selector"}),
    **{
        kind: frozenset({"spec.selector", "spec.template.spec.nodeSelector"})
        for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")
    },
    "Pod": frozenset({"spec.nodeSelector"}),
}

_DEFAULTS: dict[str, Any] = {"protocol": "TCP"}

STRATEGIC = frozenset({"", "apps", "batch", "discovery.k8s.io", "coordination.k8s.io"})
"""Groups whose kinds take strategic merge patches; custom resources answer 415."""


def keys(table: str, names: Names) -> Names | None:
    """Fields that name the items of the list at `names`; (): a set; None: it is replaced whole."""
    path = ".".join(names)
    found = _ANY.get(path)
    return _KINDS.get(table, {}).get(path) if found is None else found


def is_atomic(table: str, names: Names) -> bool:
    """Is the map at `names` replaced whole?"""
    return ".".join(names) in _ATOMIC.get(table, frozenset())


def key_of(item: Any, fields: Names) -> str:
    """The path element that names a list item, such as ``k:{"port":80,"protocol":"TCP"}``.

    A key that the item leaves out has its default; an item that is no map names itself.
    """
    if not fields or not isinstance(item, Mapping):
        return "v:" + _text(item)
    found = {field: item.get(field, _DEFAULTS.get(field)) for field in sorted(fields)}
    return "k:" + _text({field: value for field, value in found.items() if value is not None})


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
