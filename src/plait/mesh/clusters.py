"""Clusters: where a host's requests go, for each port and subset; and what a workload serves."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from plait.base.query import Failed, Query
from plait.config import names
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.kinds.destination_rule import TLSMode
from plait.config.meta import Key
from plait.mesh import client_tls, endpoints, ir, rules, visibility
from plait.mesh.hosts import host as host_query

PASSTHROUGH = "PassthroughCluster"
BLACK_HOLE = "BlackHoleCluster"
INBOUND_PASSTHROUGH = "InboundPassthroughCluster"
INBOUND_SOURCE = "127.0.0.6"  # capture rules leave what comes from here alone
_LOOPBACK = "127.0.0.1"

rules_for = rules.rules_for


class Caller(Struct, frozen=True, cache_hash=True):
    """What clusters depend on of who calls, beside the rules in force.

    Attributes:
        picks: nothing tells where a call was going (at gateways, and without capture), so an
            endpoint is picked even where others go there.
        certified: has an identity.
        revocations: has an agent that reads files of revoked certificates.
        secrets: namespace of the Secrets that rules may name for it; empty: none names any.
        is_gateway: rules may do so that do not select it.
    """

    picks: bool = False
    certified: bool = False
    revocations: bool = False
    secrets: str = ""
    is_gateway: bool = False


class ClusterRef(Struct, frozen=True, cache_hash=True):
    """An outbound cluster: who wants it is not here, so that all who may can share it.

    Attributes:
        rules: DestinationRules in force, merged in this order.
    """

    host: ir.HostId
    port: int
    subset: str = ""
    rules: tuple[Key, ...] = ()
    caller: Caller = Caller()

    @property
    def name(self) -> str:
        """Istio's name of the cluster."""
        return outbound_name(self.port, self.subset, self.host.name)


def outbound_name(port: int, subset: str, host: str) -> str:
    """``outbound|9080|v2|reviews.demo.svc.cluster.local``; `subset` may be empty."""
    return f"outbound|{port}|{subset}|{host}"


def parsed(name: str) -> tuple[int, str, str] | None:
    """Port, subset and host of an outbound name; None: it is none."""
    parts = name.split("|", 3)
    if len(parts) != 4 or parts[0] != "outbound" or not parts[1].isdigit():
        return None
    return int(parts[1]), parts[2], parts[3]


def inbound_name(port: int) -> str:
    """``inbound|8080||``."""
    return f"inbound|{port}||"


# Outbound


def subsets(
    q: Query, host_id: ir.HostId, client: str, selected: tuple[Key, ...] = ()
) -> tuple[str, ...]:
    """Names of a host's subsets for callers in namespace `client`, in the order written.

    `selected`: the rules that select them.
    """
    keys = rules_for(q, host_id.name, host_id.namespace, client, selected)
    return q(rules.subset_names, keys)


def shared_view(q: Query, view: ir.View) -> ir.View:
    """The least view with the same outbound clusters, so that many views share one list.

    Where nothing is exported to a namespace by name, it has no rules of its own about others'
    hosts, and no rule names Secrets of its own, it sees what a namespace without a name sees.
    """
    space = view.namespace
    has_own = view.scope is not None or view.rules or _may_name_secrets(q, view)
    if not (has_own or q(visibility.audience, space) or q(rules.client, space)):
        space = ""
    chosen = tuple(one for one in view.selected if one.key in view.rules)
    return ir.View(
        view.role,
        space,
        view.interception,
        view.scope,
        chosen,
        certified=view.certified,
        revocations=view.revocations,
    )


def outbound_clusters(q: Query, view: ir.View) -> tuple[ClusterRef, ...]:
    """Clusters of every visible host, port and subset; by host, port, then subset as written."""
    shared = q(shared_view, view)
    tried = [q.attempt(host_clusters, *each, caller(view)) for each in q(callable_hosts, shared)]
    found = [refs for refs in tried if not isinstance(refs, Failed)]
    return tuple(ref for refs in found for ref in refs)


def callable_hosts(q: Query, view: ir.View) -> tuple[tuple[ir.HostId, tuple[Key, ...]], ...]:
    """Every host visible to a shared view, with the DestinationRules in force for it."""
    return tuple(
        (one, rules_for(q, one.name, one.namespace, view.namespace, view.rules))
        for one in q(visibility.visible, view)
    )


def caller(view: ir.View) -> Caller:
    """What clusters depend on of the proxies of a view."""
    is_gateway = view.role is ir.Role.GATEWAY
    picks = is_gateway or view.interception is ir.Interception.NONE
    secrets = view.namespace if is_gateway or view.rules else ""
    return Caller(picks, view.certified, view.revocations, secrets, is_gateway)


def _may_name_secrets(q: Query, view: ir.View) -> bool:
    """Whether some rule names Secrets for a gateway."""
    return view.role is ir.Role.GATEWAY and q(rules.any_names_secrets)


def host_clusters(
    q: Query, host_id: ir.HostId, keys: tuple[Key, ...], who: Caller
) -> tuple[ClusterRef, ...]:
    """Clusters of one host; ports of UDP have none."""
    host = q(host_query, host_id)
    wanted = ("", *q(rules.subset_names, keys))
    picks = who.picks and host.resolution is ir.Resolution.ORIGINAL
    named = bool(who.secrets) and any(q(rules.names_secrets, key) for key in keys)
    known = Caller(
        picks=picks,
        certified=who.certified,
        revocations=who.revocations,
        secrets=who.secrets if named else "",
        is_gateway=named and who.is_gateway,
    )
    return tuple(
        ClusterRef(host_id, port.number, subset, keys, known)
        for port in sorted(host.ports, key=lambda port: port.number)
        if port.protocol is not ir.Protocol.UDP
        for subset in wanted
    )


def ref(q: Query, view: ir.View, name: str) -> ClusterRef | None:
    """What an outbound name means to `view`; None: such a cluster is not there."""
    found = parsed(name)
    if found is None:
        return None
    number, subset, host = found
    host_id = q(visibility.visible_host, view, host)
    if host_id is None:
        return None
    keys = rules_for(q, host, host_id.namespace, view.namespace, view.rules)
    refs = q(host_clusters, host_id, keys, caller(view))
    return next((one for one in refs if (one.port, one.subset) == (number, subset)), None)


def cluster(q: Query, ref: ClusterRef) -> ir.Cluster | None:
    """An outbound cluster; None: its port or subset is no longer there, or TLS cannot be had.

    Istio's defaults: least request, connections within 10 s, no limits.  Hosts of resolution NONE
    and headless Services go where the caller was going, unless an endpoint is picked; so does, in
    any case, what a rule sets to PASSTHROUGH.
    """
    host = q(host_query, ref.host)
    port = host.port(ref.port)
    labels = q(rules.subset_labels, ref.rules, ref.subset)
    if port is None or port.protocol is ir.Protocol.UDP or labels is None:
        return None
    policy = q(rules.policy, ref.rules, ref.subset, ref.port)
    resolution = _wanted(ref, host, policy)
    balance = policy.balance or ir.Balance.LEAST_REQUEST
    if resolution is ir.Resolution.ORIGINAL:
        balance = ir.Balance.ORIGINAL
    inline = _inline(q, ref, labels) if resolution in endpoints.RESOLVED else ()
    nobody = resolution in endpoints.RESOLVED and not inline
    if nobody:  # Envoy refuses a cluster that resolves no name; an empty one answers 503
        resolution = ir.Resolution.ENDPOINTS
    target = client_tls.Target(host=ref.host, port=port, subset=ref.subset, labels=labels)
    secured = q(client_tls.calling, target, policy.tls, resolution, _who(ref.caller, policy))
    if not secured.possible:
        return None
    timeout = policy.connect_timeout
    return ir.Cluster(
        name=ref.name,
        resolution=resolution,
        balance=balance,
        connect_timeout=q(visibility.connect_timeout) if timeout is None else timeout,
        http1=port.protocol is ir.Protocol.HTTP,
        http2=port.protocol.is_http2,
        detected=port.protocol is ir.Protocol.AUTO,
        endpoints=inline,
        static=nobody,
        tls=secured.end,
        automatic=secured.automatic,
        names_host=secured.names_host,
        service=host.name,
        namespace=host.namespace,
        subset=ref.subset,
        port=port.name,
        origin=(*q(rules.origin, ref.rules, ref.subset), *ref.host.owners),
    )


def _wanted(ref: ClusterRef, host: ir.Host, policy: rules.Policy) -> ir.Resolution:
    """Where its endpoints come from, if there are any."""
    if policy.balance is ir.Balance.ORIGINAL:
        return ir.Resolution.ORIGINAL
    return ir.Resolution.ENDPOINTS if ref.caller.picks else host.resolution


def calling(q: Query, ref: ClusterRef) -> client_tls.Calling | None:
    """How a cluster calls; None: its port or subset is not there."""
    host = q(host_query, ref.host)
    port = host.port(ref.port)
    labels = q(rules.subset_labels, ref.rules, ref.subset)
    if port is None or labels is None:
        return None
    policy = q(rules.policy, ref.rules, ref.subset, ref.port)
    target = client_tls.Target(host=ref.host, port=port, subset=ref.subset, labels=labels)
    resolution = _wanted(ref, host, policy)
    return q(client_tls.calling, target, policy.tls, resolution, _who(ref.caller, policy))


def _who(caller: Caller, policy: rules.Policy) -> client_tls.Who:
    """The caller as the rule sees it that says how to call."""
    may_name = caller.is_gateway or (policy.tls_by is not None and policy.tls_by.selects)
    secrets = caller.secrets if may_name else ""
    return client_tls.Who(caller.certified, caller.revocations, secrets)


def is_marked(
    q: Query,
    host_id: ir.HostId,
    number: int,
    subset: str,
    client: str,
    selected: tuple[Key, ...] = (),
) -> bool:
    """Whether callers in namespace `client` mark bytes, inside mutual TLS, as no requests.

    They do on ports whose protocol is detected.  `selected`: the rules that select them.
    """
    port = q(host_query, host_id).port(number)
    if port is None or port.protocol is not ir.Protocol.AUTO:
        return False
    keys = rules_for(q, host_id.name, host_id.namespace, client, selected)
    said = q(rules.policy, keys, subset, number).tls
    return said is None or said.mode is TLSMode.ISTIO_MUTUAL


def _inline(
    q: Query, ref: ClusterRef, labels: tuple[tuple[str, str], ...]
) -> tuple[ir.Endpoint, ...]:
    found = q(endpoints.endpoint_set, ref.host, ref.port, labels)
    return tuple(one for group in found.groups for one in group.endpoints)


# Clusters that every proxy has


def fixed_clusters(q: Query, role: ir.Role) -> tuple[ir.Cluster, ...]:
    """The cluster that answers nothing; beside a workload, that to where a call was going too."""
    timeout = q(visibility.connect_timeout)
    black_hole = ir.Cluster(
        name=BLACK_HOLE, resolution=ir.Resolution.ENDPOINTS, static=True, connect_timeout=timeout
    )
    if role is ir.Role.GATEWAY:
        return (black_hole,)
    return (black_hole, _original(PASSTHROUGH, timeout))


def _original(name: str, timeout: float, source: str = "") -> ir.Cluster:
    return ir.Cluster(
        name=name,
        resolution=ir.Resolution.ORIGINAL,
        balance=ir.Balance.ORIGINAL,
        connect_timeout=timeout,
        detected=True,
        source=source,
    )


# Inbound


def inbound_clusters(q: Query, inbound: ir.Inbound) -> tuple[ir.Cluster, ...]:
    """What a workload serves, by port; and, where calls are captured, all its other ports."""
    captured = inbound.interception is ir.Interception.REDIRECT
    timeout = q(visibility.connect_timeout)
    ports = sorted({port.number: port for port in reversed(inbound.ports)}.items())
    found = [_inbound(inbound, port, timeout) for _, port in ports]
    if captured:
        found.append(_original(INBOUND_PASSTHROUGH, timeout, INBOUND_SOURCE))
    return tuple(found)


def _inbound(inbound: ir.Inbound, port: ir.InboundPort, timeout: float) -> ir.Cluster:
    captured = inbound.interception is ir.Interception.REDIRECT
    static = bool(port.endpoint) or not captured
    name = inbound_name(port.number)
    application = _application(port, name)
    around = captured and (not static or _is_captured(application.address))
    return ir.Cluster(
        name=name,
        resolution=ir.Resolution.ENDPOINTS if static else ir.Resolution.ORIGINAL,
        balance=ir.Balance.LEAST_REQUEST if static else ir.Balance.ORIGINAL,
        connect_timeout=timeout,
        http1=port.protocol is ir.Protocol.HTTP,
        http2=port.protocol.is_http2,
        detected=port.protocol is ir.Protocol.AUTO,
        endpoints=(application,) if static else (),
        static=static,
        source=INBOUND_SOURCE if around else "",
        service=port.host,
        namespace=inbound.namespace if port.host else "",
        port=name,
        origin=port.origin,
    )


def _is_captured(address: str) -> bool:
    """Whether what goes there would come in by the capture once more: sockets, IPv6 do not."""
    return address != _LOOPBACK and ":" not in address


def _application(port: ir.InboundPort, name: str) -> ir.Endpoint:
    if port.endpoint.startswith("unix://"):
        return ir.Endpoint(address=port.endpoint, ports={name: 0})
    address, _, number = port.endpoint.rpartition(":")
    if address in ("", "0.0.0.0", "[::]"):  # noqa: S104 - an address to call, not to bind
        address = _LOOPBACK
    return ir.Endpoint(
        address=address.strip("[]"), ports={name: int(number) if number else port.number}
    )


# Diagnostics


def rule_check(q: Query, key: Key) -> tuple[ir.HostId, ...]:
    """Hosts that a DestinationRule is about, as its own namespace sees them, by name.

    None of them known is reported: PLT3004.
    """
    found = q(rules.rule, key)
    if found is None:
        return ()
    hosts = tuple(_hosts_like(q, key.namespace, found.host))
    if not hosts:
        q.report(
            Diagnostic(
                code="PLT3004",
                severity=Severity.WARNING,
                subject=key,
                path="spec.host",
                message=f'no host "{found.host}" is known to namespace {key.namespace}',
                hint="Write a Service or ServiceEntry for it, or its full name",
            )
        )
    return hosts


def _hosts_like(q: Query, namespace: str, pattern: str) -> Iterator[ir.HostId]:
    view = ir.View(ir.Role.SIDECAR, namespace)
    if not pattern.startswith("*"):
        if one := q(visibility.visible_host, view, pattern):
            yield one
        return
    yield from (one for one in q(visibility.visible, view) if names.matches(pattern, one.name))
