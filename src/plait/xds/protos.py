"""The only door to generated protobuf.

Importing this module costs about 0.25 s: the CLI must not reach it for what it prints often.
The classes come without type stubs, so to mypy they are `Any`; an encoder gives its result a type
by serialising it at once.
"""

from __future__ import annotations

from typing import Any

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.base_pb2 import Locality, Metadata, Node, TransportSocket
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ConfigSource
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.data.dns.v3.dns_table_pb2 import DnsTable
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from envoy.extensions.access_loggers.grpc.v3.als_pb2 import (
    HttpGrpcAccessLogConfig,
    TcpGrpcAccessLogConfig,
)
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from envoy.extensions.filters.listener.proxy_protocol.v3.proxy_protocol_pb2 import ProxyProtocol
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (  # noqa: E501
    HttpConnectionManager,
    Rds,
)
from envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import (
    Config as SetFilterState,
)
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import (
    PreviousHostsPredicate,
)
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    DownstreamTlsContext,
    UpstreamTlsContext,
)
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct

__all__ = [
    "AccessLog",
    "Address",
    "AggregatedConfigSource",
    "AnyMessage",
    "CertificateValidationContext",
    "Cluster",
    "ClusterLoadAssignment",
    "ConfigSource",
    "DecodeError",
    "DeltaDiscoveryRequest",
    "DeltaDiscoveryResponse",
    "DiscoveryRequest",
    "DiscoveryResponse",
    "DnsTable",
    "DownstreamTlsContext",
    "Duration",
    "FileAccessLog",
    "FilterChain",
    "HeaderMutation",
    "HttpConnectionManager",
    "HttpGrpcAccessLogConfig",
    "HttpInspector",
    "HttpProtocolOptions",
    "LbEndpoint",
    "Listener",
    "ListenerFilter",
    "Locality",
    "LocalityLbEndpoints",
    "MessageToDict",
    "Metadata",
    "Node",
    "OriginalDst",
    "ParseDict",
    "PreviousHostsPredicate",
    "ProxyProtocol",
    "RawBuffer",
    "Rds",
    "Route",
    "RouteConfiguration",
    "Router",
    "Secret",
    "SetFilterState",
    "SocketAddress",
    "StreamAccessLogsMessage",
    "Struct",
    "TcpGrpcAccessLogConfig",
    "TcpProxy",
    "TlsInspector",
    "TransportSocket",
    "TypedExtensionConfig",
    "UpstreamTlsContext",
    "VirtualHost",
    "duration",
    "encode",
    "packed",
]


def encode(message: Any) -> bytes:
    """Serialised with maps in key order, so that equal messages give equal bytes."""
    body: bytes = message.SerializeToString(deterministic=True)
    return body


def packed(message: Any) -> Any:
    """`message` inside an ``Any``."""
    return AnyMessage(
        type_url="type.googleapis.com/" + message.DESCRIPTOR.full_name, value=encode(message)
    )


def duration(seconds: float) -> Any:
    """A protobuf Duration, exact to the nanosecond."""
    nanos = round(seconds * 1e9)
    return Duration(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)
