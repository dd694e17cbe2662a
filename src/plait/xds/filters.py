"""Network filters: requests and bytes of a chain, and what is logged of them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from plait.mesh import extensions, ir
from plait.xds import protos
from plait.xds.routes import virtual_host_message
from plait.xds.tls import SDS_CLUSTER

PLAIN_LOG: Final = "plaintext"
"""Name of the log of calls that come in plain text though the port takes mutual TLS."""
PROTO: Final = "type.googleapis.com/"
EXTENSION_TYPES: Final = (
    "envoy.extensions.filters.http.wasm.v3.Wasm",
    "envoy.extensions.filters.http.lua.v3.Lua",
    "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
    "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
    "envoy.extensions.filters.http.rbac.v3.RBAC",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
    "envoy.extensions.filters.http.fault.v3.HTTPFault",
    "envoy.extensions.filters.http.cors.v3.Cors",
    "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    "envoy.extensions.filters.http.composite.v3.Composite",
)
"""What may fill a slot; Envoy refuses others."""

TEXT_FORMAT: Final = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% '
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% '
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
"""Istio's default line."""

JSON_FORMAT: Final = {
    "start_time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "route_name": "%ROUTE_NAME%",
}
"""Istio's keys."""

_SANITIZE_SET, _APPEND_FORWARD = 3, 2  # ForwardClientCertDetails
_PASS_THROUGH = 2  # ServerHeaderTransformation: the application's own header stays
_ONCE = 1  # FilterStateValue.SharedWithUpstream
_DECODE = 4  # PathWithEscapedSlashesAction.UNESCAPE_AND_FORWARD
_DROP_HEADER = 2  # HeadersWithUnderscoresAction
_HEADERS = 15.0  # seconds that a client at an edge has for the headers of a request
_EMPTY = protos.HeaderMutation()


def access_logs(log: ir.AccessLog | None, *, unmatched: bool = False) -> list[Any]:
    """The logger, or none.

    `unmatched`: the listener's own, which tells only of connections that no chain took.
    """
    if log is None:
        return []
    config = protos.FileAccessLog(path=log.path)
    if log.json:
        config.log_format.json_format.update(_json_format(log.format))
    else:
        written = log.format or TEXT_FORMAT
        config.log_format.text_format_source.inline_string = written.removesuffix("\n") + "\n"
    message = protos.AccessLog(name="envoy.access_loggers.file", typed_config=protos.packed(config))
    if unmatched:
        message.filter.response_flag_filter.flags.append("NR")
    return [message]


def _told(config: Any) -> Any:
    """The logger that tells the agent; it may be a second late."""
    common = config.common_config
    common.log_name = PLAIN_LOG
    common.transport_api_version = 2
    common.grpc_service.envoy_grpc.cluster_name = SDS_CLUSTER
    kind = "http_grpc" if hasattr(config, "additional_request_headers_to_log") else "tcp_grpc"
    return protos.AccessLog(name=f"envoy.access_loggers.{kind}", typed_config=protos.packed(config))


def _json_format(written: str) -> dict[str, Any]:
    """The user's keys; what is not an object of JSON is one key, ``message``."""
    if not written:
        return dict(JSON_FORMAT)
    try:
        return msgspec.json.decode(written, type=dict[str, Any])
    except msgspec.DecodeError:
        return {"message": written}


def http(
    chain: ir.HttpChain,
    log: ir.AccessLog | None,
    paths: ir.Paths = ir.Paths.RESOLVED,
    *,
    told: bool = False,
) -> Any:
    """The filter of a chain of requests; `told`: each is told to the agent."""
    manager = protos.HttpConnectionManager(
        stat_prefix=chain.stat_prefix,
        http_filters=[_http_filter(one) for one in chain.filters],
        access_log=access_logs(log),
        use_remote_address={"value": chain.edge},
        normalize_path={"value": paths is not ir.Paths.AS_WRITTEN},
        merge_slashes=paths in (ir.Paths.MERGED, ir.Paths.DECODED),
        proxy_100_continue=True,
        generate_request_id={"value": True},
        upgrade_configs=[{"upgrade_type": "websocket"}],
        stream_idle_timeout=protos.duration(0),
        http2_protocol_options=_http2(chain),
    )
    if told:
        manager.access_log.append(_told(protos.HttpGrpcAccessLogConfig()))
    if paths is ir.Paths.DECODED:
        manager.path_with_escaped_slashes_action = _DECODE
    if chain.edge:
        _guard(manager)
    if chain.inbound or chain.edge:
        manager.server_name = "istio-envoy"
        manager.forward_client_cert_details = _SANITIZE_SET if chain.edge else _APPEND_FORWARD
        manager.set_current_client_cert_details.subject.value = True
        manager.set_current_client_cert_details.uri = True
        manager.set_current_client_cert_details.dns = chain.edge  # sought anew each time: ADR 0011
    else:
        manager.server_header_transformation = _PASS_THROUGH
    _route_source(manager, chain)
    return _filter("envoy.filters.network.http_connection_manager", manager)


def _http2(chain: ir.HttpChain) -> dict[str, Any]:
    """Bounds of a connection; at an edge those that Envoy advises for clients nobody knows."""
    streams, window = (100, 256 << 10) if chain.edge else (1024, 1 << 20)
    return {
        "max_concurrent_streams": {"value": streams},
        "initial_stream_window_size": {"value": window},
        "initial_connection_window_size": {"value": 4 * window},
    }


def _guard(manager: Any) -> None:
    """What clients that nobody knows may not do to an edge.

    Headers must be there in time, and those that some servers take for others are dropped:
    ``x_y`` is ``X-Y`` to them, so it could be forged.
    """
    manager.request_headers_timeout.CopyFrom(protos.duration(_HEADERS))
    manager.common_http_protocol_options.headers_with_underscores_action = _DROP_HEADER


def _route_source(manager: Any, chain: ir.HttpChain) -> None:
    if chain.table:
        manager.rds.route_config_name = chain.table
        manager.rds.config_source.ads.SetInParent()
        manager.rds.config_source.resource_api_version = 2
        manager.rds.config_source.initial_fetch_timeout.CopyFrom(protos.duration(0))
        return
    manager.route_config.name = chain.routes[0].name
    manager.route_config.validate_clusters.value = False
    manager.route_config.virtual_hosts.extend(
        virtual_host_message(host, inbound=chain.inbound) for host in chain.routes
    )


def _http_filter(one: ir.HttpFilter) -> dict[str, Any]:
    if one.slot:
        return {"name": one.name, "config_discovery": _slot()}
    if one.name == extensions.ROUTER:
        return {"name": one.name, "typed_config": protos.packed(protos.Router())}
    raise ValueError(one.name)


def _slot() -> dict[str, Any]:
    """Extension discovery; while nothing fills the slot, a filter that changes nothing."""
    return {
        "config_source": {
            "ads": {},
            "resource_api_version": 2,
            "initial_fetch_timeout": protos.duration(0),
        },
        "default_config": protos.packed(_EMPTY),
        "apply_default_config_without_warming": True,
        "type_urls": [PROTO + name for name in EXTENSION_TYPES],
    }


def tcp(chain: ir.TcpChain, log: ir.AccessLog | None, *, told: bool = False) -> list[Any]:
    """The filters of a chain of bytes; no idle timeout means Envoy's hour.

    `told`: each connection is told to the agent, when it begins and when it ends.
    """
    proxy = protos.TcpProxy(stat_prefix=chain.stat_prefix, access_log=access_logs(log))
    if told:
        proxy.access_log.append(_told(protos.TcpGrpcAccessLogConfig()))
        proxy.access_log_options.flush_access_log_on_connected = True
    if len(chain.to) == 1:
        proxy.cluster = chain.to[0].cluster
    for to in chain.to if len(chain.to) > 1 else ():
        proxy.weighted_clusters.clusters.add(name=to.cluster, weight=to.weight)
    if chain.idle_timeout is not None:
        proxy.idle_timeout.CopyFrom(protos.duration(chain.idle_timeout))
    found = _filter("envoy.filters.network.tcp_proxy", proxy)
    if not chain.marked:
        return [found]
    return [_filter("envoy.filters.network.set_filter_state", _mark()), found]


def _mark() -> Any:
    """Offers the ALPN of bytes inside mutual TLS, in place of the cluster's."""
    config = protos.SetFilterState()
    value = config.on_new_connection.add(object_key="envoy.network.application_protocols")
    value.format_string.text_format_source.inline_string = "istio"
    value.shared_with_upstream = _ONCE
    return config


def _filter(name: str, message: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": protos.packed(message)}
