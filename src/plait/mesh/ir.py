"""The intermediate representation: what proxies do, before any protobuf.

Values only: frozen, in a decided order, in plait's units (seconds, bytes, percent).  Positions in
files are not here, or a line inserted at the top of one would re-send every route below it.
"""

# budget: 640 lines, the vocabulary of the whole pipeline
from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from plait.config.meta import Key
from plait.mesh import tls


class Role(Enum):
    """What a proxy is for; the values are Istio's node types."""

    SIDECAR = "sidecar"
    GATEWAY = "router"


class Interception(Enum):
    """How traffic reaches a sidecar; the values are Istio's interception modes."""

    REDIRECT = "REDIRECT"  # captured: listeners are reached through 15001 and 15006
    NONE = "NONE"  # not captured: listeners bind ports that applications call


class Addressing(Enum):
    """What a proxy calls hosts by that nobody gave an address."""

    WRITTEN = "written"  # their names alone
    AUTOMATIC = "automatic"  # an address that the proxy's own resolver answers


class Protocol(Enum):
    """Application protocol of a port; the values are Istio's names."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    HTTPS = "HTTPS"
    TLS = "TLS"
    TCP = "TCP"
    UDP = "UDP"
    AUTO = ""  # not declared: detected by its first bytes

    @property
    def is_http(self) -> bool:
        """Whether requests can be routed one by one."""
        return self in (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC)

    @property
    def is_http2(self) -> bool:
        """Whether the upstream speaks HTTP/2 from the first byte."""
        return self in (Protocol.HTTP2, Protocol.GRPC)


class Port(Struct, frozen=True, kw_only=True, gc=False):
    """A port of a host; `target` is the number (or name) on the endpoints, None: the same."""

    number: int
    name: str
    protocol: Protocol
    target: int | str | None = None


class Resolution(Enum):
    """Where the endpoints of a host come from."""

    ENDPOINTS = "endpoints"  # known to plait: EDS
    DNS = "dns"  # every address of each name
    DNS_ROUND_ROBIN = "dns-round-robin"  # one address at a time
    ORIGINAL = "original"  # where the caller was going


class HostId(Struct, frozen=True, cache_hash=True, order=True):
    """A callable host and the objects that define it, in order of precedence.

    The same name may be defined by several Services and ServiceEntries, and who sees which
    depends on the view; the owners are therefore part of the identity.
    """

    name: str
    owners: tuple[Key, ...]

    @property
    def namespace(self) -> str:
        """Namespace of the first owner: where rules about this host are looked up."""
        return self.owners[0].namespace


class Host(Struct, frozen=True, kw_only=True):
    """What proxies can call.

    Attributes:
        addresses: virtual IPs and CIDRs; empty: none.
        headless: a Service without a virtual IP (``clusterIP: None``).
        external: outside the mesh (``MESH_EXTERNAL``): never mutual TLS.
        created: of the oldest owner; the older host wins a conflict over an address.
    """

    name: str
    namespace: str
    ports: tuple[Port, ...]
    addresses: tuple[str, ...] = ()
    resolution: Resolution = Resolution.ENDPOINTS
    headless: bool = False
    external: bool = False
    identities: tuple[str, ...] = ()
    created: float = 0.0

    def port(self, number: int) -> Port | None:
        """The port of that number."""
        return next((port for port in self.ports if port.number == number), None)


class Locality(Struct, frozen=True, cache_hash=True, order=True, gc=False):
    """Where something runs; empty parts are unknown."""

    region: str = ""
    zone: str = ""
    subzone: str = ""


class Endpoint(Struct, frozen=True, kw_only=True):
    """One address of a host.

    Attributes:
        address: IP address, DNS name (for hosts resolved by DNS) or ``unix://`` path.
        ports: name of the host's port → number on this address.
        tls: its sidecar accepts mutual TLS.
        weight: 1 or more; its share is among all of the set.
        ready: an unready endpoint is not sent requests.
        hostname: its own DNS name below that of a headless Service; empty: none.
        uncaptured: numbers of ports that are reached past its sidecar.
    """

    address: str
    ports: Mapping[str, int]
    labels: Mapping[str, str] = {}
    namespace: str = ""
    workload: str = ""
    cluster: str = ""
    network: str = ""
    tls: bool = False
    locality: Locality = Locality()
    weight: int = 1
    ready: bool = True
    identity: str = ""
    hostname: str = ""
    uncaptured: tuple[int, ...] = ()


class Selected(Struct, frozen=True, cache_hash=True, order=True, gc=False):
    """A rule whose selector matches the proxies of a view; `section` where it is one of many."""

    key: Key
    section: str = ""


class View(Struct, frozen=True, cache_hash=True):
    """What a group of proxies sees outbound: who it is, not what it contains.

    Proxies with equal views share all outbound work.  When a Service comes or goes the value of
    `visible(view)` changes, not the view.

    Attributes:
        namespace: decides precedence, ``exportTo`` and short names.
        scope: the Sidecar object in force; None: everything exported is seen.
        selected: rules with a selector that match: gateways, DestinationRules, and VirtualService
            matches by ``sourceLabels``.
        certified: each of them has an identity and can ask its agent for secrets.
        revocations: that agent reads files of revoked certificates too.
    """

    role: Role
    namespace: str
    interception: Interception = Interception.REDIRECT
    scope: Key | None = None
    selected: tuple[Selected, ...] = ()
    network: str = ""
    addressing: Addressing = Addressing.WRITTEN
    certified: bool = False
    revocations: bool = False

    @property
    def rules(self) -> tuple[Key, ...]:
        """The DestinationRules that are for these workloads of their namespace alone."""
        return tuple(one.key for one in self.selected if one.key.kind == "DestinationRule")


class InboundPort(Struct, frozen=True, kw_only=True, cache_hash=True, gc=False):
    """A port on which a workload serves, and how it is reached there.

    Attributes:
        number: the port on the workload.
        host: the host that names it, for statistics and routes; empty: no host.
        service_port: that host's port number.
        endpoint: ``address:port`` or ``unix://path`` of the application; empty: the
            workload's own address (captured) or 127.0.0.1 (not captured).  0.0.0.0 is left where
            nobody knows the workload's own address: then it is 127.0.0.1.
        bind: address to listen on; empty: the capture listener.
    """

    number: int
    protocol: Protocol
    host: str = ""
    service_port: int = 0
    endpoint: str = ""
    bind: str = ""
    origin: tuple[Key, ...] = ()


class Inbound(Struct, frozen=True, cache_hash=True):
    """What a workload accepts: shared by its replicas, apart from the outbound view."""

    namespace: str
    interception: Interception = Interception.REDIRECT
    ports: tuple[InboundPort, ...] = ()
    policies: tuple[Key, ...] = ()  # PeerAuthentications in force, the narrower first
    certified: bool = False  # they have identities


class Placement(Struct, frozen=True, cache_hash=True):
    """Where a proxy stands: all that its configuration depends on."""

    view: View
    inbound: Inbound | None = None  # None: a gateway
    locality: Locality = Locality()
    edge: str = ""  # directory for connections from the machine's edge


class Identity(Struct, frozen=True, kw_only=True, cache_hash=True):
    """What a proxy says of itself that placement depends on; the arguments of `placement`.

    Attributes:
        labels: sorted pairs.
        addresses: IP addresses of the workload, in its own order.
        edge: directory where a gateway takes connections from its machine's edge; empty: nowhere.
        certified: it has an identity, and asks its agent for secrets.
        revocations: that agent reads files of revoked certificates too.
    """

    role: Role
    namespace: str
    labels: tuple[tuple[str, str], ...] = ()
    addresses: tuple[str, ...] = ()
    interception: Interception = Interception.REDIRECT
    locality: Locality = Locality()
    network: str = ""
    edge: str = ""
    addressing: Addressing = Addressing.WRITTEN
    certified: bool = False
    revocations: bool = False


# Matching


class Exact(Struct, frozen=True, tag=True, gc=False):
    """The whole string."""

    value: str


class Prefix(Struct, frozen=True, tag=True, gc=False):
    """The string starts so."""

    value: str


class Suffix(Struct, frozen=True, tag=True, gc=False):
    """The string ends so."""

    value: str


class Regex(Struct, frozen=True, tag=True, gc=False):
    """RE2, over the whole string."""

    value: str


class Exists(Struct, frozen=True, tag=True, gc=False):
    """Any value, the empty one too."""


StringMatch = Exact | Prefix | Suffix | Regex | Exists


class HeaderMatch(Struct, frozen=True, kw_only=True):
    """A condition on a header; pseudo headers are ``:method``, ``:authority``, ``:scheme``.

    Attributes:
        missing_is_empty: an absent header is matched as an empty one.
    """

    name: str
    value: StringMatch
    invert: bool = False
    ignore_case: bool = False
    missing_is_empty: bool = False


class QueryMatch(Struct, frozen=True, kw_only=True):
    """A condition on a query parameter."""

    name: str
    value: StringMatch


class Match(Struct, frozen=True, kw_only=True):
    """Conditions that must all hold; the empty match takes everything.

    Attributes:
        path: None: any path.
        attributes: conditions of other protocols, by name.
    """

    path: StringMatch | None = None
    ignore_case: bool = False
    headers: tuple[HeaderMatch, ...] = ()
    query: tuple[QueryMatch, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()


# Routing


class HeaderOps(Struct, frozen=True, kw_only=True):
    """Changes to headers, in order: removed, set (overwritten), added (appended)."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


class Weighted(Struct, frozen=True, kw_only=True):
    """A destination and its share; the shares of a route need not sum to 100."""

    cluster: str
    weight: int = 1
    host_rewrite: str = ""
    request_headers: HeaderOps = HeaderOps()
    response_headers: HeaderOps = HeaderOps()


class RegexRewrite(Struct, frozen=True, kw_only=True, gc=False):
    """Replace what the RE2 `pattern` matches in the path."""

    pattern: str
    substitution: str


class Retry(Struct, frozen=True, kw_only=True):
    """When and how often a request is tried again; durations in seconds.

    Attributes:
        on: Envoy's retry conditions, such as ``connect-failure``.
        codes: status codes for ``retriable-status-codes``.
        per_try_timeout: None: the route's timeout.
        backoff: base interval; None: Envoy's 25 ms.
    """

    attempts: int
    on: tuple[str, ...]
    codes: tuple[int, ...] = ()
    per_try_timeout: float | None = None
    backoff: float | None = None
    previous_hosts: bool = True
    host_attempts: int = 5


class Forward(Struct, frozen=True, kw_only=True, tag=True):
    """Send the request on."""

    to: tuple[Weighted, ...]
    prefix_rewrite: str = ""
    regex_rewrite: RegexRewrite | None = None
    host_rewrite: str = ""


class Redirect(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Answer with another address; empty parts stay as they were, port 0 too."""

    host: str = ""
    path: str = ""
    prefix: str = ""
    scheme: str = ""
    port: int = 0
    code: int = 301


class Reply(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Answer at once."""

    status: int
    body: bytes = b""


Action = Forward | Redirect | Reply


class Route(Struct, frozen=True, kw_only=True):
    """What happens to the requests that match.

    Attributes:
        name: the object and its section, such as ``VirtualService/demo/reviews#http[0]``; it is
            in Envoy's access log.
        timeout: seconds; None: no limit.
        operation: name of the span, Istio's ``HOST:PORT/*``.
    """

    name: str
    match: Match
    action: Action
    timeout: float | None = None
    retry: Retry | None = None
    request_headers: HeaderOps = HeaderOps()
    response_headers: HeaderOps = HeaderOps()
    operation: str = ""
    origin: tuple[Key, ...] = ()


class VirtualHost(Struct, frozen=True, kw_only=True):
    """The routes of some host names, first match first."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    require_tls: bool = False
    origin: tuple[Key, ...] = ()


# Listeners


class ChainMatch(Struct, frozen=True, kw_only=True):
    """Which connections a chain takes; Envoy tries the fields in a fixed order, port first."""

    port: int | None = None
    prefixes: tuple[str, ...] = ()  # destination CIDRs
    transport: str = ""  # "tls" or "raw_buffer"
    applications: tuple[str, ...] = ()  # ALPN, or what was detected: "http/1.1", "h2c"
    server_names: tuple[str, ...] = ()


class HttpFilter(Struct, frozen=True, kw_only=True):
    """One filter of an HTTP chain.

    Attributes:
        slot: delivered by extension discovery under `name`, so that what fills it can change
            without a listener change; it does nothing while empty.
    """

    name: str
    slot: bool = False


class HttpChain(Struct, frozen=True, kw_only=True, tag=True):
    """Requests, routed by a route table.

    Attributes:
        table: name of the RouteConfiguration asked for over RDS; empty: `routes` stand inline.
        edge: a gateway: the peer is not trusted.
        inbound: on the server's side.
    """

    stat_prefix: str
    table: str = ""
    routes: tuple[VirtualHost, ...] = ()
    filters: tuple[HttpFilter, ...] = ()
    edge: bool = False
    inbound: bool = False


class TcpChain(Struct, frozen=True, kw_only=True, tag=True):
    """Bytes, passed on to one of the destinations for as long as the connection lasts.

    Attributes:
        marked: inside mutual TLS it is said that these are no requests.
    """

    stat_prefix: str
    to: tuple[Weighted, ...]
    marked: bool = False
    idle_timeout: float | None = None


class Chain(Struct, frozen=True, kw_only=True):
    """One filter chain of a listener: which connections, and what happens to them.

    Attributes:
        asks: what its port asks of callers, for people; and when that changes, connections of
            before are drained though the chain is otherwise as it was.
        told: each call is told to the agent beside the proxy: who still calls in plain text.
    """

    name: str
    match: ChainMatch
    action: HttpChain | TcpChain
    tls: tls.Server | None = None  # None: not encrypted, or passed on as it is
    asks: str = ""
    told: bool = False
    origin: tuple[Key, ...] = ()


class AccessLog(Struct, frozen=True, kw_only=True):
    """Where and how requests are logged.

    Attributes:
        format: Envoy's format string, or JSON text of an object; empty: the default.
    """

    path: str
    json: bool = True
    format: str = ""


class Paths(Enum):
    """How the path of a request is written before it is routed."""

    AS_WRITTEN = "as written"
    RESOLVED = "resolved"  # ``.`` and ``..``
    MERGED = "merged"  # and several slashes
    DECODED = "decoded"  # and slashes in percent code


class Listener(Struct, frozen=True, kw_only=True):
    """One listener; chains are tried by Envoy's matching order, `default` last.

    Attributes:
        bind: whether a socket is opened; False: reached by hand-over from a capture listener.
        proxied: each connection starts with the PROXY protocol, which says whose it is.
        original_destination: connections are handed over by where they were going.
        detect: protocols are told from the first bytes.
        detect_timeout: seconds; 0: wait for ever.
        inspect_tls: server name and ALPN are read.
        uninspected: ports on which the server may speak first, so nothing waits for the caller's
            bytes.
    """

    name: str
    address: str
    port: int
    inbound: bool = False
    bind: bool = True
    proxied: bool = False
    original_destination: bool = False
    detect: bool = False
    detect_timeout: float = 0.0
    inspect_tls: bool = False
    uninspected: tuple[int, ...] = ()
    chains: tuple[Chain, ...] = ()
    default: Chain | None = None
    access_log: AccessLog | None = None
    paths: Paths = Paths.RESOLVED
    origin: tuple[Key, ...] = ()


# Clusters


class Balance(Enum):
    """How a destination is chosen."""

    LEAST_REQUEST = "LEAST_REQUEST"
    ROUND_ROBIN = "ROUND_ROBIN"
    RANDOM = "RANDOM"
    ORIGINAL = "CLUSTER_PROVIDED"


class Cluster(Struct, frozen=True, kw_only=True):
    """One upstream cluster; its endpoints come by EDS under the same name unless given here.

    Attributes:
        name: ``outbound|9080|v2|reviews.demo.svc.cluster.local`` and the like, as Istio's.
        connect_timeout: seconds.
        http1, http2: it is spoken; `detected`: whatever the caller speaks; none: bytes.
        endpoints: inline, for hosts resolved by DNS and for the application itself.
        source: address that connections come from; empty: any.
        tls: how it is called; None: not encrypted.
        automatic: only endpoints that take it are called so, all others not encrypted.
        names_host: the host that a request is for is asked for and checked by name.
        service: fully qualified host name, and namespace: in the cluster's metadata.
    """

    name: str
    resolution: Resolution
    balance: Balance = Balance.LEAST_REQUEST
    connect_timeout: float = 10.0
    http1: bool = False
    http2: bool = False
    detected: bool = False
    endpoints: tuple[Endpoint, ...] = ()
    static: bool = False  # the inline endpoints are addresses, not names to resolve
    source: str = ""
    tls: tls.Client | None = None
    automatic: bool = False
    names_host: bool = False
    service: str = ""
    namespace: str = ""
    subset: str = ""
    port: str = ""  # name of the host's port: key into `Endpoint.ports`
    origin: tuple[Key, ...] = ()


class LocalityGroup(Struct, frozen=True, kw_only=True):
    """Endpoints that stand in one locality."""

    locality: Locality
    endpoints: tuple[Endpoint, ...]
    priority: int = 0


class EndpointSet(Struct, frozen=True, kw_only=True):
    """The endpoints of one cluster, by locality."""

    cluster: str
    port: str  # name of the host's port: key into `Endpoint.ports`
    groups: tuple[LocalityGroup, ...] = ()
