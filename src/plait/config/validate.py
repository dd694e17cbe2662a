"""Rules about one object alone; every finding refuses the object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from plait.config import (
    syntax,
    validate_core,
    validate_hosts,
    validate_pods,
    validate_routes,
    validate_rules,
    validate_security,
)
from plait.config.document import Path
from plait.config.meta import Object
from plait.config.syntax import Findings

_ISTIO: Final = "networking.istio.io"
_RULES: Final[Mapping[tuple[str, str], Callable[[Object[Any], Path], Findings]]] = {
    ("", "Service"): validate_core.service,
    ("", "ConfigMap"): validate_pods.config_map,
    ("", "Pod"): validate_pods.pod,
    ("apps", "Deployment"): validate_pods.workload,
    ("apps", "ReplicaSet"): validate_pods.workload,
    ("discovery.k8s.io", "EndpointSlice"): validate_core.endpoint_slice,
    (_ISTIO, "VirtualService"): validate_routes.virtual_service,
    (_ISTIO, "DestinationRule"): validate_rules.destination_rule,
    (_ISTIO, "Gateway"): validate_hosts.gateway,
    (_ISTIO, "ServiceEntry"): validate_hosts.service_entry,
    (_ISTIO, "WorkloadEntry"): validate_hosts.workload_entry,
    (_ISTIO, "Sidecar"): validate_hosts.sidecar,
    ("", "Secret"): validate_security.secret,
    ("security.istio.io", "PeerAuthentication"): validate_security.peer_authentication,
}


def findings(found: Object[Any], path: Path) -> Findings:
    """All that is wrong with an object; `path` leads to its body."""
    key = found.key
    if key.group == "" and key.kind in ("Service", "Namespace"):
        yield from syntax.label(key.name, ("metadata", "name"), "name")
    else:
        yield from syntax.subdomain(key.name, ("metadata", "name"))
    if key.namespace:
        yield from syntax.label(key.namespace, ("metadata", "namespace"), "namespace")
    yield from syntax.labels(found.labels, ("metadata", "labels"))
    yield from syntax.annotation_keys(found.annotations, ("metadata", "annotations"))
    rule = _RULES.get((key.group, key.kind))
    if rule is not None:
        yield from rule(found, path)
