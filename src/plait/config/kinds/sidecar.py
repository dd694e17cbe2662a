"""Istio's Sidecar: what workloads see and accept."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from plait.config.kinds.destination_rule import ConnectionPoolSettings
from plait.config.kinds.gateway import ServerTLSSettings
from plait.config.kinds.port import Port
from plait.config.kinds.selector import WorkloadSelector
from plait.config.kinds.virtual_service import Destination


class CaptureMode(Enum):
    """How traffic reaches a listener."""

    DEFAULT = "DEFAULT"
    IPTABLES = "IPTABLES"
    NONE = "NONE"  # it binds the port


class OutboundTrafficPolicyMode(Enum):
    """What happens to traffic for hosts that are not known."""

    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"


class OutboundTrafficPolicy(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Traffic for hosts that are not known.

    Attributes:
        mode: REGISTRY_ONLY where the block is written without it, as Istio has it.
        egress_proxy: where it is sent instead.
    """

    mode: OutboundTrafficPolicyMode = OutboundTrafficPolicyMode.REGISTRY_ONLY
    egress_proxy: Destination | None = None


class IstioIngressListener(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A port that the workload serves.

    Attributes:
        bind: address; empty: all.
        default_endpoint: ``127.0.0.1:port``, ``unix:///path`` or, at the workload's own
            address, ``0.0.0.0:port`` of the application; empty: the same port of 127.0.0.1.
    """

    port: Port = Port()
    bind: str = ""
    capture_mode: CaptureMode = CaptureMode.DEFAULT
    default_endpoint: str = ""
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None


class IstioEgressListener(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Hosts that the workload sees, and through which port.

    Attributes:
        port: None: the hosts' own ports.
        bind: address or ``unix://`` path; empty: by capture mode.
        hosts: ``namespace/host``; ``.`` own namespace, ``*`` any, ``~`` none, ``~ns`` not that.
    """

    port: Port | None = None
    bind: str = ""
    capture_mode: CaptureMode = CaptureMode.DEFAULT
    hosts: tuple[str, ...] = ()


class Sidecar(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The scope of the proxies of a namespace, or of selected workloads in it.

    Attributes:
        workload_selector: None: all of the namespace (of the mesh, in the root namespace).
        ingress: empty: as the Services say.
        egress: empty: everything exported.
        outbound_traffic_policy: None: as the mesh says.
    """

    workload_selector: WorkloadSelector | None = None
    ingress: tuple[IstioIngressListener, ...] = ()
    egress: tuple[IstioEgressListener, ...] = ()
    inbound_connection_pool: ConnectionPoolSettings | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
