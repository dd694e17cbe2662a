"""Kubernetes' Namespace, ServiceAccount, Service and ConfigMap."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from plait.config.kinds.units import IntOrString, Octets


class Namespace(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A space of names."""

    finalizers: tuple[str, ...] = ()


class LocalObjectReference(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Another object of the same namespace."""

    name: str = ""


class ObjectReference(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Another object."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""
    field_path: str = ""


class ServiceAccount(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An identity of workloads."""

    secrets: tuple[ObjectReference, ...] = ()
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    automount_service_account_token: bool | None = None


class ConfigMap(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Texts and bytes by name."""

    data: Mapping[str, str] = {}
    binary_data: Mapping[str, Octets] = {}
    immutable: bool | None = None


class ServicePort(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A port of a Service.

    Attributes:
        protocol: TCP, UDP or SCTP.
        app_protocol: what is spoken; empty: told by the name's prefix, or detected.
        target_port: number, or name of a container's port; None: the same number.
    """

    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""
    port: int = 0
    target_port: IntOrString | None = None
    node_port: int = 0


class ClientIPConfig(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How long a client stays with one endpoint, in seconds."""

    timeout_seconds: int | None = None


class SessionAffinityConfig(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Settings of session affinity."""

    client_ip: ClientIPConfig | None = field(default=None, name="clientIP")


class Service(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A name for a set of Pods.

    Attributes:
        selector: labels of the Pods; empty: its EndpointSlices are somebody else's work.
        cluster_ip: ``None``: headless; empty: not allocated yet.
        type: ClusterIP, NodePort, LoadBalancer or ExternalName.
        external_name: DNS name that an ExternalName stands for.
    """

    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] = {}
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")
    type: str = "ClusterIP"
    external_ips: tuple[str, ...] = field(default=(), name="externalIPs")
    session_affinity: str = ""
    load_balancer_ip: str = field(default="", name="loadBalancerIP")
    load_balancer_source_ranges: tuple[str, ...] = ()
    external_name: str = ""
    external_traffic_policy: str = ""
    health_check_node_port: int = 0
    publish_not_ready_addresses: bool = False
    session_affinity_config: SessionAffinityConfig | None = None
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str = ""
    allocate_load_balancer_node_ports: bool | None = None
    load_balancer_class: str = ""
    internal_traffic_policy: str = ""
    traffic_distribution: str = ""
