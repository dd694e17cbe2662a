"""Settings of the mesh as a whole, in the form of Istio's MeshConfig."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from plait.config.kinds.sidecar import OutboundTrafficPolicyMode
from plait.config.kinds.units import Seconds


class AccessLogEncoding(Enum):
    """Form of a line of the access log."""

    TEXT = "TEXT"
    JSON = "JSON"


class OutboundTrafficPolicy(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What happens to traffic for hosts that are not known."""

    mode: OutboundTrafficPolicyMode = OutboundTrafficPolicyMode.ALLOW_ANY


class ProxyConfig(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Settings of each proxy; durations in seconds.

    Attributes:
        concurrency: worker threads; None or 0: as many as processors.
        drain_duration: how long connections may last after a hot restart or a listener's end.
        termination_drain_duration: how long they may last when the proxy is told to stop.
    """

    concurrency: int | None = None
    drain_duration: Seconds = 45.0
    termination_drain_duration: Seconds = 5.0
    proxy_metadata: Mapping[str, str] = {}


class MeshConfig(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The mesh's settings; durations in seconds.

    Attributes:
        access_log_file: such as ``/dev/stdout``; empty: no access log.
        access_log_format: Envoy's format string, or JSON text of an object; empty: the default.
        protocol_detection_timeout: how long to wait for a caller's first bytes; 0: for ever.
        default_service_export_to: who sees a Service or ServiceEntry that says nothing.
    """

    outbound_traffic_policy: OutboundTrafficPolicy = OutboundTrafficPolicy()
    access_log_file: str = ""
    access_log_format: str = ""
    access_log_encoding: AccessLogEncoding = AccessLogEncoding.TEXT
    connect_timeout: Seconds = 10.0
    protocol_detection_timeout: Seconds = 0.0
    default_config: ProxyConfig = ProxyConfig()
    default_service_export_to: tuple[str, ...] = ("*",)
    default_virtual_service_export_to: tuple[str, ...] = ("*",)
    default_destination_rule_export_to: tuple[str, ...] = ("*",)
