"""Clusters: IR to Envoy's bytes, each cluster a query of its own."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from plait.base.digest import digest
from plait.base.query import Failed, Query
from plait.config.meta import Key
from plait.config.names import DOMAIN
from plait.mesh import clusters, ir
from plait.mesh import tls as mesh_tls
from plait.xds import protos, tls
from plait.xds.admission import admitted
from plait.xds.endpoints import locality, write_endpoint
from plait.xds.resource import CLUSTER, Absent, Answer, Child, Named, Present, leaf

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_UNLIMITED = 2**32 - 1
_REFRESH = 60.0  # seconds between look-ups of a name that says nothing itself
_JITTER = 0.1

# Numbers of Envoy's enums
_STATIC, _STRICT_DNS, _LOGICAL_DNS, _EDS, _ORIGINAL_DST = 0, 1, 2, 3, 4
_V4_ONLY = 1
_V3 = 2
_TYPES = {
    ir.Resolution.ENDPOINTS: _EDS,
    ir.Resolution.DNS: _STRICT_DNS,
    ir.Resolution.DNS_ROUND_ROBIN: _LOGICAL_DNS,
    ir.Resolution.ORIGINAL: _ORIGINAL_DST,
}
_BALANCES = {
    ir.Balance.ROUND_ROBIN: 0,
    ir.Balance.LEAST_REQUEST: 1,
    ir.Balance.RANDOM: 3,
    ir.Balance.ORIGINAL: 6,
}

# Istio counts what passes inbound together with what passes outbound.
_STAT_NAMES = {clusters.INBOUND_PASSTHROUGH: clusters.PASSTHROUGH}

# Queries


def outbound_names(q: Query, view: ir.View) -> tuple[Named, ...]:
    """The clusters by which proxies of `view` call: the fixed ones, then all that are visible.

    A host whose query fails is left out; the others go on.
    """
    return q(_outbound_names, q(clusters.shared_view, view))


def _outbound_names(q: Query, view: ir.View) -> tuple[Named, ...]:
    hosts = q(clusters.callable_hosts, view)
    tried = [q.attempt(_host_names, *each, clusters.caller(view)) for each in hosts]
    found = [names for names in tried if not isinstance(names, Failed)]
    return q(_fixed_names, view.role) + tuple(named for names in found for named in names)


def _host_names(
    q: Query, host: ir.HostId, rules: tuple[Key, ...], who: clusters.Caller
) -> tuple[Named, ...]:
    refs = q(clusters.host_clusters, host, rules, who)
    return tuple(Named(ref.name, outbound, (ref,)) for ref in refs)


def _fixed_names(q: Query, role: ir.Role) -> tuple[Named, ...]:
    found = q(clusters.fixed_clusters, role)
    return tuple(Named(one.name, fixed, (role, one.name)) for one in found)


def inbound_names(q: Query, own: ir.Inbound) -> tuple[Named, ...]:
    """The clusters by which a workload is reached."""
    found = q(clusters.inbound_clusters, own)
    return tuple(Named(one.name, inbound, (own, one.name)) for one in found)


def outbound(q: Query, ref: clusters.ClusterRef) -> Answer:
    """An outbound cluster; Absent: gone, or refused and without an accepted form.

    Envoy answers 503 on routes to a cluster that it does not have.
    """
    return _answer(q, q(clusters.cluster, ref))


def fixed(q: Query, role: ir.Role, name: str) -> Answer:
    """One of the clusters that every proxy has."""
    return _answer(q, _named(q(clusters.fixed_clusters, role), name))


def inbound(q: Query, own: ir.Inbound, name: str) -> Answer:
    """One of a workload's own clusters."""
    return _answer(q, _named(q(clusters.inbound_clusters, own), name))


def _named(found: tuple[ir.Cluster, ...], name: str) -> ir.Cluster | None:
    return next((one for one in found if one.name == name), None)


def _answer(q: Query, found: ir.Cluster | None) -> Answer:
    if found is None:
        return Absent()
    body = encode(found)
    child = Child(name=found.name, digest=digest(body), body=body, origin=found.origin)
    sent = admitted(q, child, None)
    return Absent() if sent is None else Present(resource=leaf(CLUSTER, sent))


# Encoding


def encode(cluster: ir.Cluster) -> bytes:
    """A serialised Cluster."""
    message = protos.Cluster()
    message.CopyFrom(
        _template(
            cluster.static,
            cluster.resolution,
            cluster.balance,
            cluster.connect_timeout,
            _spoken(cluster),
            cluster.names_host,
        )
    )
    message.name = cluster.name
    message.alt_stat_name = f"{_STAT_NAMES.get(cluster.name, cluster.name)};"
    if message.type == _EDS:
        message.eds_cluster_config.service_name = cluster.name
    elif cluster.endpoints:
        _inline(message.load_assignment, cluster)
    if cluster.source:
        address = message.upstream_bind_config.source_address
        address.address = cluster.source
        address.port_value = 0
    if cluster.tls is not None:
        _encrypt(message, cluster.tls, automatic=cluster.automatic)
    _metadata(message, cluster)
    return protos.encode(message)


def _encrypt(message: Any, end: mesh_tls.Client, *, automatic: bool) -> None:
    """Encrypt what goes to all endpoints, or to those that say they take it."""
    if not automatic:
        message.transport_socket.CopyFrom(tls.client(end))
        return
    for name, socket in (("istio", tls.client(end)), ("disabled", tls.plain())):
        match = message.transport_socket_matches.add(name=f"tlsMode-{name}")
        if name == "istio":
            match.match.fields["tlsMode"].string_value = name
        else:
            match.match.SetInParent()
        match.transport_socket.CopyFrom(socket)


def _spoken(cluster: ir.Cluster) -> str:
    if cluster.http2:
        return "http2"
    if cluster.detected:
        return "detected"
    return "http1" if cluster.http1 else ""


@lru_cache(maxsize=1024)
def _template(
    static: bool,  # noqa: FBT001 - part of the cache's key
    resolution: ir.Resolution,
    balance: ir.Balance,
    connect_timeout: float,
    spoken: str,
    names_host: bool,  # noqa: FBT001 - as above
) -> Any:
    """All that clusters of one sort have in common; copied, never changed."""
    message = protos.Cluster(
        type=_STATIC if static else _TYPES[resolution],
        lb_policy=_BALANCES[balance],
        connect_timeout=protos.duration(connect_timeout),
    )
    limits = message.circuit_breakers.thresholds.add(track_remaining=True)
    for name in ("max_connections", "max_pending_requests", "max_requests", "max_retries"):
        getattr(limits, name).value = _UNLIMITED
    if message.type == _EDS:
        source = message.eds_cluster_config.eds_config
        source.ads.SetInParent()
        source.initial_fetch_timeout.SetInParent()
        source.resource_api_version = _V3
    elif message.type in (_STRICT_DNS, _LOGICAL_DNS):
        message.dns_lookup_family = _V4_ONLY
        message.dns_refresh_rate.CopyFrom(protos.duration(_REFRESH))
        message.dns_jitter.CopyFrom(protos.duration(_JITTER))
        message.respect_dns_ttl = True
    if spoken:
        options = _options(spoken, names_host)
        message.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(options)
    return message


@cache
def _options(spoken: str, names_host: bool) -> Any:  # noqa: FBT001 - part of the cache's key
    options = protos.HttpProtocolOptions()
    if names_host:
        options.upstream_http_protocol_options.auto_sni = True
        options.upstream_http_protocol_options.auto_san_validation = True
    if spoken == "detected":
        follow = options.use_downstream_protocol_config
        follow.http_protocol_options.SetInParent()
        follow.http2_protocol_options.SetInParent()
    elif spoken == "http2":
        options.explicit_http_config.http2_protocol_options.SetInParent()
    else:
        options.explicit_http_config.http_protocol_options.SetInParent()
    return protos.packed(options)


def _inline(assignment: Any, cluster: ir.Cluster) -> None:
    """The endpoints, grouped by locality in the order given.

    Envoy takes only one endpoint for a name that it resolves to one address at a time.
    """
    assignment.cluster_name = cluster.name
    found = cluster.endpoints
    if cluster.resolution is ir.Resolution.DNS_ROUND_ROBIN:
        found = found[:1]
    group, place = None, None
    for one in found:
        if group is None or one.locality != place:
            group, place = assignment.endpoints.add(), one.locality
            group.locality.CopyFrom(locality(place))
        write_endpoint(group.lb_endpoints.add(), one, cluster.port)
        group.load_balancing_weight.value += one.weight


def _metadata(message: Any, cluster: ir.Cluster) -> None:
    by_filter = message.metadata.filter_metadata
    if cluster.origin:
        by_filter["plait"].fields["origin"].string_value = str(cluster.origin[0])
    if cluster.service:
        fields = by_filter["istio"].fields
        if cluster.subset:
            fields["subset"].string_value = cluster.subset
        service = fields["services"].list_value.values.add().struct_value.fields
        service["host"].string_value = cluster.service
        service["name"].string_value = _short(cluster.service, cluster.namespace)
        service["namespace"].string_value = cluster.namespace


def _short(host: str, namespace: str) -> str:
    return host.removesuffix(f".{namespace}.svc.{DOMAIN}")
