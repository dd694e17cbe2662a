"""Which proxy a Pod has: Istio's rules of injection, as far as they are about labels and names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from plait.config.kinds import pod
from plait.config.meta import Object

INJECT: Final = "sidecar.istio.io/inject"
"""Label, or annotation, by which a Pod refuses its sidecar: ``false``."""
TEMPLATES: Final = "inject.istio.io/templates"
"""Annotation by which a Pod is a gateway: ``gateway``."""
AUTO: Final = "auto"
"""The image of a container that becomes the proxy itself."""
TLS_MODE: Final = "security.istio.io/tlsMode"
"""Label of workloads whose sidecar takes mutual TLS: ``istio``."""
EXCLUDED_INBOUND: Final = "traffic.sidecar.istio.io/excludeInboundPorts"
"""Annotation of Pods with the ports, separated by commas, that are reached past their sidecar."""
PROXY: Final = "istio-proxy"
"""Name of the proxy's container."""
_PORT: Final = re.compile(r"[0-9]{1,5}")


class Proxy(Enum):
    """What proxy a Pod has."""

    NONE = "none"
    SIDECAR = "sidecar"
    GATEWAY = "router"


def proxy(found: Object[pod.Pod]) -> Proxy:
    """The proxy of a Pod."""
    return of(found.labels, found.annotations, found.spec.spec)


def of(labels: Mapping[str, str], annotations: Mapping[str, str], spec: pod.PodSpec) -> Proxy:
    """The proxy of Pods with these labels, annotations and containers.

    The label beats the annotation, and who is on the machine's own network has none.
    """
    if is_gateway(annotations, spec):
        return Proxy.GATEWAY
    refused = (labels.get(INJECT) or annotations.get(INJECT, "")).lower() == "false"
    return Proxy.NONE if refused or spec.host_network else Proxy.SIDECAR


def is_gateway(annotations: Mapping[str, str], spec: pod.PodSpec) -> bool:
    """Whether Pods are nothing but a proxy: Istio's gateway injection."""
    templates = (part.strip() for part in annotations.get(TEMPLATES, "").split(","))
    return "gateway" in templates and any(
        one.name == PROXY and one.image == AUTO for one in spec.containers
    )


def gateways(row: Object[Any]) -> tuple[bool, ...]:
    """An index: one bucket for all gateways among Pods."""
    return (True,) if proxy(row) is Proxy.GATEWAY else ()


def uncaptured(annotations: Mapping[str, str]) -> tuple[int, ...]:
    """The ports at which a Pod is reached past its sidecar; what is no port counts for nothing."""
    words = (word.strip() for word in annotations.get(EXCLUDED_INBOUND, "").split(","))
    return tuple(sorted({int(word) for word in words if _PORT.fullmatch(word)}))
