"""Envoy's bootstrap file: who the proxy is, where its configuration comes from, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from plait.config.names import DOMAIN
from plait.mesh import ir
from plait.xds.tls import SDS_CLUSTER

XDS_CLUSTER: Final = "xds-grpc"
ADMIN_CLUSTER: Final = "admin"
WINDOW: Final = "window"
PAGES: Final = ("stats", "health", WINDOW)
"""Names of the static listeners."""
ISTIO_VERSION: Final = "1.29.1"
"""The Istio whose behaviour other tools may expect of a proxy."""

STATS: Final = (
    "cluster_manager",
    "listener_manager",
    "server",
    f"cluster.{XDS_CLUSTER}",
    f"cluster.{SDS_CLUSTER}",
    "http.inbound",
    "http.outbound",
    "istio",
    "wasm",
)
"""Prefixes of the statistics that are kept: with all of them 1,000 clusters cost 25 MB more."""

SHOWN: Final = ("/stats", "/stats/prometheus", "/server_info", "/ready", "/clusters", "/listeners")
"""Envoy's own pages that change nothing and show no configuration."""

Role = ir.Role
Interception = ir.Interception

_TYPES: Final = "type.googleapis.com/envoy."
_HEAP: Final = "envoy.resource_monitors.fixed_heap"
_NO_LIMIT: Final = 2**31 - 1
_PAGES: Final = 100  # connections at a time to each listener of pages


class Proxy(Struct, frozen=True, kw_only=True):
    """Who a proxy is; it says so to the control plane, which places it by that.

    Attributes:
        name: of the workload's instance, such as the Pod.
        addresses: IP addresses of the instance, the main one first; never empty.
        workload: what the instance is one of, such as the Deployment; empty: `name`.
        metadata: more of what the proxy says of itself; beats what is made here.
    """

    role: ir.Role = ir.Role.SIDECAR
    name: str
    namespace: str
    addresses: tuple[str, ...]
    labels: Mapping[str, str] = {}
    interception: ir.Interception = ir.Interception.REDIRECT
    workload: str = ""
    service_account: str = "default"
    locality: ir.Locality = ir.Locality()
    cluster: str = "Kubernetes"
    mesh: str = DOMAIN
    network: str = ""
    metadata: Mapping[str, Any] = {}

    @property
    def id(self) -> str:
        """``sidecar~10.0.0.1~reviews-v1-abc.demo~demo.svc.cluster.local``, Istio's node id."""
        place = f"{self.namespace}.svc.{DOMAIN}"
        return "~".join(
            (self.role.value, self.addresses[0], f"{self.name}.{self.namespace}", place)
        )


class Settings(Struct, frozen=True, kw_only=True):
    """What a bootstrap depends on; addresses are ``HOST:PORT`` or ``unix:PATH``.

    Attributes:
        xds: of the control plane, or of an agent between.
        sds: of the agent that hands out keys and certificates; empty: there is none.
        admin: of Envoy's own pages.
        stats: where they are offered to Prometheus under ``/stats/prometheus``; empty: nowhere.
        health: where ``/healthz/ready`` answers 200 once Envoy is ready; empty: nowhere.
        window: where `SHOWN` of Envoy's own pages may be looked at by who may not enter `admin`;
            empty: nowhere.
        stats_prefixes: statistics that are kept; empty: all.
        max_connections: from clients, over all listeners; 0: no limit.
        max_heap: bytes near which memory is given back and new requests are refused; 0: no limit.
        max_regex_size: program size up to which RE2 expressions are taken.
    """

    proxy: Proxy
    xds: str
    sds: str = ""
    admin: str = "127.0.0.1:15000"
    stats: str = ""
    health: str = ""
    window: str = ""
    stats_prefixes: tuple[str, ...] = STATS
    max_connections: int = 0
    max_heap: int = 2 << 30
    max_regex_size: int = 32768


def with_admin(settings: Settings, admin: str) -> Settings:
    """The same, with Envoy's own pages at another address."""
    return replace(settings, admin=admin)


def bootstrap(settings: Settings) -> dict[str, Any]:
    """The bootstrap as a document for Envoy's ``-c``.

    Nothing in it forbids a hot restart: concurrency, base id and epoch are flags, and a second
    Envoy may be given the same document.
    """
    return {
        "node": node(settings.proxy, is_certified=bool(settings.sds)),
        "admin": {
            "address": _address(settings.admin, mode=0o600),
            "ignore_global_conn_limit": True,
        },
        "dynamic_resources": _dynamic(),
        "static_resources": {"clusters": _clusters(settings), "listeners": _listeners(settings)},
        "cluster_manager": {"enable_deferred_cluster_creation": True},
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "stats_config": _stats(settings.stats_prefixes),
        "layered_runtime": _runtime(settings.max_regex_size),
        "overload_manager": _overload(settings.max_connections or _NO_LIMIT, settings.max_heap),
    }


def node(proxy: Proxy, *, is_certified: bool = False) -> dict[str, Any]:
    """Envoy's node, with Istio's metadata; `is_certified`: it is given an identity."""
    place = proxy.locality
    workload = proxy.workload or proxy.name
    app = proxy.labels.get("app") or workload
    metadata = {
        "NAME": proxy.name,
        "NAMESPACE": proxy.namespace,
        "LABELS": dict(proxy.labels),
        "INSTANCE_IPS": ",".join(proxy.addresses),
        "INTERCEPTION_MODE": proxy.interception.value,
        "WORKLOAD_NAME": workload,
        "SERVICE_ACCOUNT": proxy.service_account,
        "CLUSTER_ID": proxy.cluster,
        "MESH_ID": proxy.mesh,
        "NETWORK": proxy.network,
        "ISTIO_VERSION": ISTIO_VERSION,
        **({"PLAIT_SDS": "true", "PLAIT_CRL": "true"} if is_certified else {}),
        **proxy.metadata,
    }
    return {
        "id": proxy.id,
        "cluster": f"{app}.{proxy.namespace}",
        "metadata": metadata,
        "locality": {"region": place.region, "zone": place.zone, "sub_zone": place.subzone},
    }


def _address(written: str, *, mode: int = 0) -> dict[str, Any]:
    """An Address; `mode` is that of the file where it is a socket's."""
    if written.startswith("unix:"):
        pipe = {"path": written.removeprefix("unix:").removeprefix("//")}
        return {"pipe": {**pipe, "mode": mode} if mode else pipe}
    host, _, port = written.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


_COMING_BACK = {
    "retry_policy": {"retry_back_off": {"base_interval": "0.500s", "max_interval": "2s"}}
}
"""How soon Envoy begins a stream anew.

It begins with the least only after it was sent something, and who holds all is sent nothing: with
its own limit of 30 s a proxy of a quiet mesh is away for so long after a few restarts.
"""


def _dynamic() -> dict[str, Any]:
    source = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
    return {
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER, **_COMING_BACK}}],
        },
        "lds_config": source,
        "cds_config": source,
    }


# Static clusters and listeners


def _clusters(settings: Settings) -> list[dict[str, Any]]:
    made = [_grpc(XDS_CLUSTER, settings.xds)]
    if settings.sds:
        made.append(_grpc(SDS_CLUSTER, settings.sds))
    if settings.stats or settings.health or settings.window:
        made.append(_cluster(ADMIN_CLUSTER, settings.admin))
    return made


def _grpc(name: str, address: str) -> dict[str, Any]:
    """A cluster that speaks gRPC."""
    http2 = {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
    options = {
        "@type": _TYPES + "extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": http2},
    }
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 100000)
    return {
        **_cluster(name, address),
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
        },
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 300}},
    }


def _cluster(name: str, address: str) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(address)}}
    return {
        "name": name,
        "type": "STATIC" if _is_literal(address) else "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _is_literal(address: str) -> bool:
    """Whether an address needs no look-up: a socket's path, IPv6 or four numbers."""
    host = address.rpartition(":")[0].strip("[]")
    if address.startswith("unix:") or ":" in host:
        return True
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() for part in parts)


def _listeners(settings: Settings) -> list[dict[str, Any]]:
    pages = (
        ("stats", settings.stats, "/stats/prometheus", "/stats/prometheus"),
        ("health", settings.health, "/healthz/ready", "/ready"),
    )
    made = [_listener(name, at, [_page(path, to)]) for name, at, path, to in pages if at]
    return [*made, _listener(WINDOW, settings.window, _window())] if settings.window else made


def _page(path: str, page: str) -> dict[str, Any]:
    """One page of Envoy's own, under a path that may be another."""
    return {
        "match": {"path": path},
        "route": {"cluster": ADMIN_CLUSTER, "prefix_rewrite": page},
    }


def _window() -> list[dict[str, Any]]:
    """What a workload may look at: no method but GET, and no page that could change something."""
    get = [{"name": ":method", "string_match": {"exact": "GET"}}]
    pages = [
        {"match": {"path": path, "headers": get}, "route": {"cluster": ADMIN_CLUSTER}}
        for path in SHOWN
    ]
    text = "only a GET of these is open to workloads: " + " ".join(SHOWN) + "\n"
    refusal = {"status": 403, "body": {"inline_string": text}}
    return [*pages, {"match": {"prefix": "/"}, "direct_response": refusal}]


def _listener(name: str, address: str, routes: list[dict[str, Any]]) -> dict[str, Any]:
    """These routes, for clients that get no more patience than a page needs."""
    router = {"@type": _TYPES + "extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": _TYPES
        + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        "request_headers_timeout": "10s",
        "request_timeout": "30s",
        "common_http_protocol_options": {"idle_timeout": "60s"},
    }
    manager_filter = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    }
    return {
        "name": name,
        "address": _address(address),
        "ignore_global_conn_limit": True,
        "filter_chains": [{"filters": [manager_filter]}],
    }


# Limits


def _stats(prefixes: tuple[str, ...]) -> dict[str, Any]:
    if not prefixes:
        return {}
    patterns = [{"prefix": prefix} for prefix in prefixes]
    return {"stats_matcher": {"inclusion_list": {"patterns": patterns}}}


def _runtime(regex: int) -> dict[str, Any]:
    limits = {"re2.max_program_size.error_level": regex, "re2.max_program_size.warn_level": regex}
    limits |= {f"envoy.resource_limits.listener.{name}.connection_limit": _PAGES for name in PAGES}
    return {
        "layers": [
            {"name": "limits", "static_layer": limits},
            {"name": "admin", "admin_layer": {}},
        ]
    }


def _overload(connections: int, heap: int) -> dict[str, Any]:
    """Bounds of a whole Envoy, as it advises them for an edge."""
    kind = "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    monitor = {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": _TYPES + kind,
            "max_active_downstream_connections": connections,
        },
    }
    if not heap:
        return {"resource_monitors": [monitor]}
    memory = {
        "name": _HEAP,
        "typed_config": {
            "@type": _TYPES + "extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
            "max_heap_size_bytes": heap,
        },
    }
    shares = {"shrink_heap": 0.95, "stop_accepting_requests": 0.98}
    actions = [
        {
            "name": f"envoy.overload_actions.{action}",
            "triggers": [{"name": _HEAP, "threshold": {"value": share}}],
        }
        for action, share in shares.items()
    ]
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [monitor, memory],
        "actions": actions,
    }
