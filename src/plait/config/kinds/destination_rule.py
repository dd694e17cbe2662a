"""Istio's DestinationRule: how a host is called, and its subsets."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct, field

from plait.config.kinds.selector import PolicySelector
from plait.config.kinds.units import Count, Seconds


class SimpleLB(Enum):
    """How one endpoint of several is chosen."""

    UNSPECIFIED = "UNSPECIFIED"  # LEAST_REQUEST
    RANDOM = "RANDOM"
    PASSTHROUGH = "PASSTHROUGH"  # where the caller was going
    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"
    LEAST_CONN = "LEAST_CONN"  # old name of LEAST_REQUEST


class CookieAttribute(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A further attribute of a cookie, such as SameSite."""

    name: str = ""
    value: str = ""


class HTTPCookie(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A cookie that keeps a client at one endpoint; made when missing and `ttl` is not None.

    Attributes:
        ttl: seconds; 0: until the browser is closed.
    """

    name: str = ""
    path: str = ""
    ttl: Seconds | None = None
    attributes: tuple[CookieAttribute, ...] = ()


class RingHash(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Hashing by a ring."""

    minimum_ring_size: int = 0


class MagLev(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Hashing by a Maglev table; its size must be a prime."""

    table_size: int = 0


class ConsistentHashLB(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is hashed (one of four) and how (one of two).

    Attributes:
        minimum_ring_size: old form of `ring_hash`.
    """

    http_header_name: str | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: bool | None = None
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: MagLev | None = None
    minimum_ring_size: int = 0


class Distribute(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where callers of a locality send: locality → percent."""

    from_: str = field(default="", name="from")
    to: Mapping[str, Count] = {}


class Failover(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Region that takes over from another."""

    from_: str = field(default="", name="from")
    to: str = ""


class LocalityLoadBalancerSetting(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """Preference of near endpoints; at most one of the three lists.

    Attributes:
        enabled: None: as the mesh says.
    """

    distribute: tuple[Distribute, ...] = ()
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: bool | None = None


class Warmup(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How a new endpoint's share grows.

    Attributes:
        duration: seconds.
        minimum_percent: 0 to 100; None: 10.
        aggression: 1: linear; None: 1.
    """

    duration: Seconds | None = None
    minimum_percent: float | None = None
    aggression: float | None = None


class LoadBalancerSettings(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How endpoints are chosen: `simple` or `consistent_hash`.

    Attributes:
        warmup_duration_secs: seconds; old form of `warmup`.
    """

    simple: SimpleLB | None = None
    consistent_hash: ConsistentHashLB | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    warmup_duration_secs: Seconds | None = None
    warmup: Warmup | None = None


class TcpKeepalive(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Keepalive of sockets; durations in seconds; what is empty is the system's."""

    probes: Count = 0
    time: Seconds | None = None
    interval: Seconds | None = None


class TCPSettings(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Limits of connections; durations in seconds.

    Attributes:
        max_connections: 0: 2^32 - 1.
        connect_timeout: None: the mesh's, 10 s.
    """

    max_connections: int = 0
    connect_timeout: Seconds | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: Seconds | None = None
    idle_timeout: Seconds | None = None


class H2UpgradePolicy(Enum):
    """Whether HTTP/1.1 is made HTTP/2 upstream."""

    DEFAULT = "DEFAULT"
    DO_NOT_UPGRADE = "DO_NOT_UPGRADE"
    UPGRADE = "UPGRADE"


class Http2KeepAlive(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Pings of HTTP/2 connections; seconds."""

    interval: Seconds | None = None
    timeout: Seconds | None = None


class HTTPSettings(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Limits of requests; 0: 2^32 - 1."""

    http1_max_pending_requests: int = 0
    http2_max_requests: int = 0
    max_requests_per_connection: int = 0
    max_retries: int = 0
    idle_timeout: Seconds | None = None
    h2_upgrade_policy: H2UpgradePolicy = H2UpgradePolicy.DEFAULT
    use_client_protocol: bool = False
    max_concurrent_streams: int = 0
    http2_keep_alive: Http2KeepAlive | None = None


class ConnectionPoolSettings(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Limits towards a host."""

    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None


class OutlierDetection(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """When an endpoint that fails is left out for a while; durations in seconds.

    Attributes:
        consecutive_errors: old form of `consecutive_gateway_errors`.
        consecutive_5xx_errors: None: 5; 0: off.
        max_ejection_percent: 0: 10.
        min_health_percent: below it nothing is left out.
    """

    consecutive_errors: int = 0
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: Count | None = None
    consecutive_gateway_errors: Count | None = None
    consecutive_5xx_errors: Count | None = None
    interval: Seconds | None = None
    base_ejection_time: Seconds | None = None
    max_ejection_percent: int = 0
    min_health_percent: int = 0


class TLSMode(Enum):
    """How connections to a host are secured."""

    DISABLE = "DISABLE"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


class ClientTLSSettings(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """TLS of the caller's side; names of files, or of a secret."""

    mode: TLSMode = TLSMode.DISABLE
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool | None = None
    ca_crl: str = ""


class TunnelSettings(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """TCP through an HTTP proxy."""

    protocol: str = ""
    target_host: str = ""
    target_port: Count = 0


class ProxyProtocolVersion(Enum):
    """Version of the PROXY protocol."""

    V1 = "V1"
    V2 = "V2"


class ProxyProtocol(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The PROXY protocol is spoken upstream."""

    version: ProxyProtocolVersion = ProxyProtocolVersion.V1


class RetryBudget(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Retries as a share of the active requests.

    Attributes:
        percent: 0 to 100; None: 20.
        min_retry_concurrency: always allowed; 0: 3.
        budget_interval: seconds.
    """

    percent: float | None = None
    min_retry_concurrency: Count = 0
    budget_interval: Seconds | None = None


class PortNumber(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A port by its number."""

    number: Count = 0


class PortTrafficPolicy(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The policy of one port; replaces the host's wholly."""

    port: PortNumber | None = None
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


class TrafficPolicy(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How a host or a subset is called; a subset's blocks replace the host's one by one."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: tuple[PortTrafficPolicy, ...] = ()
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None


class Subset(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Endpoints that have all of the labels, under a name that routes use."""

    name: str = ""
    labels: Mapping[str, str] = {}
    traffic_policy: TrafficPolicy | None = None


class DestinationRule(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Policy and subsets of a host.

    Attributes:
        host: as written: short name, full name or wildcard.
        workload_selector: the calling workloads it is for; None: all.
        export_to: as written; empty: everywhere.
    """

    host: str = ""
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    workload_selector: PolicySelector | None = None
