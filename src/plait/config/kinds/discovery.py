"""Kubernetes' EndpointSlice: addresses of a Service."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from plait.config.kinds.core import ObjectReference


class EndpointConditions(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """State of an endpoint; None: unknown, which counts as ready and serving."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A zone whose callers should use an endpoint."""

    name: str = ""


class ForNode(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A node whose callers should use an endpoint."""

    name: str = ""


class EndpointHints(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Who should use an endpoint."""

    for_zones: tuple[ForZone, ...] = ()
    for_nodes: tuple[ForNode, ...] = ()


class Endpoint(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One endpoint; the first address is the one used.

    Attributes:
        target_ref: the Pod.
    """

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str = ""
    target_ref: ObjectReference | None = None
    deprecated_topology: Mapping[str, str] = {}
    node_name: str = ""
    zone: str = ""
    hints: EndpointHints | None = None


class EndpointPort(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A port of all endpoints of a slice; `name` is the Service's port's, `port` theirs."""

    name: str = ""
    protocol: str = "TCP"
    port: int | None = None
    app_protocol: str = ""


class EndpointSlice(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Some of the endpoints of the Service that the label ``kubernetes.io/service-name`` names.

    Attributes:
        address_type: IPv4, IPv6 or FQDN.
    """

    address_type: str = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()
