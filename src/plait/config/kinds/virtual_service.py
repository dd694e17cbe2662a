"""Istio's VirtualService: how requests to hosts are routed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from plait.config.kinds.units import Count, Octets, Seconds


class StringMatch(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One of three tests of a text; none of them: any value, but present.

    Attributes:
        regex: RE2, over the whole text.
    """

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class Percent(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A share of requests, 0 to 100, fractions allowed."""

    value: float = 0.0


class PortSelector(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A port by its number."""

    number: Count = 0


class Destination(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where to send: a host, and optionally a subset of it and a port.

    Attributes:
        subset: named by a DestinationRule; empty: all of the host.
        port: None: the only port of the host.
    """

    host: str = ""
    subset: str = ""
    port: PortSelector | None = None


class HeaderOperations(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Changes to headers."""

    set: Mapping[str, str] = {}  # overwritten
    add: Mapping[str, str] = {}  # appended
    remove: tuple[str, ...] = ()


class Headers(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Changes to the headers of requests and of responses."""

    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


class HTTPMatchRequest(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Conditions on a request that must all hold.

    Attributes:
        name: for people; joined to the route's name.
        port: of the host called; None: any.
        source_labels: labels of the calling workload.
        gateways: replaces the VirtualService's own list for this match.
        query_params: by name.
        stat_prefix: statistics of what matched are kept under this name.
    """

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: Mapping[str, StringMatch] = {}
    port: Count | None = None
    source_labels: Mapping[str, str] = {}
    gateways: tuple[str, ...] = ()
    query_params: Mapping[str, StringMatch] = {}
    ignore_uri_case: bool = False
    without_headers: Mapping[str, StringMatch] = {}
    source_namespace: str = ""
    stat_prefix: str = ""


class HTTPRouteDestination(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A destination and its share of the requests.

    Attributes:
        weight: the shares of a route need not sum to 100; 0 counts as 1 where there is only one.
    """

    destination: Destination = Destination()
    weight: int = 0
    headers: Headers | None = None


class RouteDestination(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A destination and its share of the connections."""

    destination: Destination = Destination()
    weight: int = 0


class RedirectPortSelection(Enum):
    """Which port a redirect names when none is written."""

    FROM_PROTOCOL_DEFAULT = "FROM_PROTOCOL_DEFAULT"
    FROM_REQUEST_PORT = "FROM_REQUEST_PORT"


class HTTPRedirect(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Answer with another address; what is empty stays as it was requested.

    Attributes:
        uri: the whole path; `prefix_rewrite`: the matched prefix only.
        redirect_code: 0: 301.
    """

    uri: str = ""
    authority: str = ""
    port: Count | None = None
    derive_port: RedirectPortSelection | None = None
    scheme: str = ""
    redirect_code: Count = 0
    prefix_rewrite: str = ""


class HTTPBody(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A body, as text or as bytes."""

    string: str | None = None
    bytes: Octets | None = None


class HTTPDirectResponse(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Answer at once."""

    status: Count = 0
    body: HTTPBody | None = None


class Delegate(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Another VirtualService that has the routes; empty namespace: the same."""

    name: str = ""
    namespace: str = ""


class RegexRewrite(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    r"""Replace what `match` (RE2) matches in the path; ``\1`` is its first group."""

    match: str = ""
    rewrite: str = ""


class HTTPRewrite(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Changes to a request before it is sent on.

    Attributes:
        uri: replaces the matched prefix, or the whole path for other matches.
    """

    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRetry(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """When and how often a request is tried again.

    Attributes:
        attempts: beside the first; 0: never.
        per_try_timeout: seconds; None: the route's.
        retry_on: Envoy's conditions and status codes, separated by commas; empty: the default.
        backoff: seconds before the first retry; None: Envoy's 25 ms.
    """

    attempts: int = 0
    per_try_timeout: Seconds | None = None
    retry_on: str = ""
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool | None = None
    backoff: Seconds | None = None


class UnmatchedPreflights(Enum):
    """What happens to preflight requests of origins that are not allowed."""

    UNSPECIFIED = "UNSPECIFIED"  # forwarded
    FORWARD = "FORWARD"
    IGNORE = "IGNORE"


class CorsPolicy(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Which pages of other origins may call.

    Attributes:
        allow_origin: old form of `allow_origins`: exact names.
        max_age: seconds that a browser may keep the answer.
    """

    allow_origin: tuple[str, ...] = ()
    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Seconds | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: UnmatchedPreflights = UnmatchedPreflights.UNSPECIFIED


class Delay(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Wait before a request is sent on.

    Attributes:
        percent: old form of `percentage`.
        fixed_delay: seconds.
        percentage: None: nothing is delayed.
    """

    percent: int = 0
    fixed_delay: Seconds | None = None
    exponential_delay: Seconds | None = None
    percentage: Percent | None = None


class Abort(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Answer with an error; `percentage` None: nothing is aborted."""

    http_status: int | None = None
    grpc_status: str | None = None
    http2_error: str | None = None
    percentage: Percent | None = None


class HTTPFaultInjection(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Faults made on purpose."""

    delay: Delay | None = None
    abort: Abort | None = None


class HTTPMirrorPolicy(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Send a copy; `percentage` None: of every request."""

    destination: Destination = Destination()
    percentage: Percent | None = None


class HTTPRoute(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What happens to the requests that match; exactly one of four actions.

    Attributes:
        match: any of them; empty: every request.
        timeout: seconds; None or 0: no limit.
        retries: None: two retries where nothing was processed.
        mirror_percent: old form of `mirror_percentage`.
    """

    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Seconds | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    mirror_percent: Count | None = None
    mirror_percentage: Percent | None = None
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None


class TLSMatchAttributes(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Conditions on a TLS connection that must all hold."""

    sni_hosts: tuple[str, ...] = ()
    destination_subnets: tuple[str, ...] = ()
    port: Count | None = None
    source_labels: Mapping[str, str] = {}
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TLSRoute(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where TLS connections that match are passed on to, undecrypted."""

    match: tuple[TLSMatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class L4MatchAttributes(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Conditions on a connection that must all hold.

    Attributes:
        source_subnet: Istio ignores it.
    """

    destination_subnets: tuple[str, ...] = ()
    port: Count | None = None
    source_subnet: str = ""
    source_labels: Mapping[str, str] = {}
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TCPRoute(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where connections that match are passed on to."""

    match: tuple[L4MatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class VirtualService(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Routes of some hosts.

    Attributes:
        hosts: as written: short names, full names, wildcards, addresses.
        gateways: as written; empty: ``mesh``, which is all sidecars.
        http: first match first.
        export_to: as written; empty: everywhere.
    """

    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()
    export_to: tuple[str, ...] = ()
