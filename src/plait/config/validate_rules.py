"""Rules about one DestinationRule alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from plait.config import syntax, validate_tls
from plait.config.diagnostics import Severity
from plait.config.document import Path
from plait.config.finding import Finding, invalid
from plait.config.kinds import destination_rule as dr
from plait.config.meta import Object
from plait.config.syntax import Findings

_HASHED: Final = {
    "http_header_name": "httpHeaderName",
    "http_cookie": "httpCookie",
    "use_source_ip": "useSourceIp",
    "http_query_parameter_name": "httpQueryParameterName",
}
_FILES: Final = (
    ("client_certificate", "clientCertificate"),
    ("private_key", "privateKey"),
    ("ca_certificates", "caCertificates"),
    ("credential_name", "credentialName"),
)
_OUTSIDE: Final = (dr.TLSMode.SIMPLE, dr.TLSMode.MUTUAL)
_ALL: Final = 100


def destination_rule(found: Object[dr.DestinationRule], path: Path) -> Findings:
    """All that is wrong with a DestinationRule."""
    spec = found.spec
    yield from syntax.host(spec.host, (*path, "host"))
    yield from syntax.export_to(spec.export_to, found.key.namespace, (*path, "exportTo"))
    selects = spec.workload_selector is not None
    yield from _policy(spec.traffic_policy, (*path, "trafficPolicy"), selects=selects)
    for i, subset in enumerate(spec.subsets):
        here = (*path, "subsets", i)
        yield from syntax.label(subset.name, (*here, "name"), "name of a subset")
        yield from syntax.labels(subset.labels, (*here, "labels"))
        yield from _policy(subset.traffic_policy, (*here, "trafficPolicy"), selects=selects)
    names = ((each.name, (*path, "subsets", i, "name")) for i, each in enumerate(spec.subsets))
    yield from syntax.unique(names, "subset")
    if spec.workload_selector is not None:
        here = (*path, "workloadSelector", "matchLabels")
        yield from syntax.labels(spec.workload_selector.match_labels, here)


def connection_pool(pool: dr.ConnectionPoolSettings | None, path: Path) -> Findings:
    """Limits towards a host, or of a workload's own ports."""
    if pool is None:
        return
    if (tcp := pool.tcp) is not None:
        here = (*path, "tcp")
        yield from syntax.at_least(0, tcp.max_connections, (*here, "maxConnections"))
        yield from syntax.duration(tcp.connect_timeout, (*here, "connectTimeout"))
        yield from syntax.duration(tcp.idle_timeout, (*here, "idleTimeout"), zero=True)
        yield from syntax.duration(tcp.max_connection_duration, (*here, "maxConnectionDuration"))
        if tcp.tcp_keepalive is not None:
            yield from syntax.duration(tcp.tcp_keepalive.time, (*here, "tcpKeepalive", "time"))
            last = (*here, "tcpKeepalive", "interval")
            yield from syntax.duration(tcp.tcp_keepalive.interval, last)
    if pool.http is not None:
        yield from _http(pool.http, (*path, "http"))


def _http(http: dr.HTTPSettings, path: Path) -> Findings:
    limits = {
        "http1MaxPendingRequests": http.http1_max_pending_requests,
        "http2MaxRequests": http.http2_max_requests,
        "maxRequestsPerConnection": http.max_requests_per_connection,
        "maxRetries": http.max_retries,
        "maxConcurrentStreams": http.max_concurrent_streams,
    }
    for name, limit in limits.items():
        yield from syntax.at_least(0, limit, (*path, name))
    yield from syntax.duration(http.idle_timeout, (*path, "idleTimeout"), zero=True)
    upgrades = http.h2_upgrade_policy is dr.H2UpgradePolicy.UPGRADE
    if upgrades and http.use_client_protocol:
        hint = "keep one of them"
        message = "UPGRADE and useClientProtocol exclude each other"
        yield invalid((*path, "useClientProtocol"), message, hint)


def _policy(policy: dr.TrafficPolicy | None, path: Path, *, selects: bool) -> Findings:
    if policy is None:
        return
    yield from _blocks(policy, path, selects=selects)
    ports = policy.port_level_settings
    for i, each in enumerate(ports):
        here = (*path, "portLevelSettings", i)
        number = each.port.number if each.port is not None else 0
        yield from syntax.port(number, (*here, "port", "number"))
        yield from _blocks(each, here, selects=selects)
    numbers = (
        (each.port.number if each.port else 0, (*path, "portLevelSettings", i, "port"))
        for i, each in enumerate(ports)
    )
    yield from syntax.unique(numbers, "port")
    yield from _tunnel(policy.tunnel, (*path, "tunnel"))
    if policy.retry_budget is not None:
        yield from syntax.percent(policy.retry_budget.percent, (*path, "retryBudget", "percent"))


def _blocks(
    policy: dr.TrafficPolicy | dr.PortTrafficPolicy, path: Path, *, selects: bool
) -> Findings:
    yield from _balance(policy.load_balancer, (*path, "loadBalancer"))
    yield from connection_pool(policy.connection_pool, (*path, "connectionPool"))
    yield from _outliers(policy.outlier_detection, (*path, "outlierDetection"))
    yield from _tls(policy.tls, (*path, "tls"))
    if policy.tls is not None:
        yield from _names(policy.tls, (*path, "tls"), selects=selects)


def _balance(balance: dr.LoadBalancerSettings | None, path: Path) -> Findings:
    if balance is None:
        return
    both = {"simple": "simple", "consistent_hash": "consistentHash"}
    yield from syntax.exclusive(balance, both, path)
    if (hashed := balance.consistent_hash) is not None:
        yield from _hashing(hashed, (*path, "consistentHash"))
    if balance.locality_lb_setting is not None:
        yield from _localities(balance.locality_lb_setting, (*path, "localityLbSetting"))
    yield from syntax.duration(
        balance.warmup_duration_secs, (*path, "warmupDurationSecs"), zero=True
    )
    if (warmup := balance.warmup) is not None:
        here = (*path, "warmup")
        if warmup.duration is None:
            yield invalid((*here, "duration"), "the duration is missing", "such as 30s")
        yield from syntax.duration(warmup.duration, (*here, "duration"))
        yield from syntax.percent(warmup.minimum_percent, (*here, "minimumPercent"))
        if warmup.aggression is not None and warmup.aggression < 1:
            yield invalid((*here, "aggression"), f"{warmup.aggression} is too small", "1 or more")


def _hashing(hashed: dr.ConsistentHashLB, path: Path) -> Findings:
    yield from syntax.exclusive(hashed, _HASHED, path, needed=True)
    yield from syntax.exclusive(hashed, {"ring_hash": "ringHash", "maglev": "maglev"}, path)
    if hashed.http_cookie is not None and not hashed.http_cookie.name:
        yield invalid((*path, "httpCookie", "name"), "the name is missing", "name the cookie")
    if hashed.http_header_name:
        yield from syntax.header(hashed.http_header_name, (*path, "httpHeaderName"))


def _localities(setting: dr.LocalityLoadBalancerSetting, path: Path) -> Findings:
    if setting.distribute and (setting.failover or setting.failover_priority):
        hint = "keep one of them"
        yield invalid((*path, "distribute"), "distribute and failover exclude each other", hint)
    yield from _failovers(setting.failover, (*path, "failover"))
    for i, each in enumerate(setting.distribute):
        total = sum(each.to.values())
        if total != _ALL:
            here = (*path, "distribute", i, "to")
            yield invalid(here, f"the shares sum to {total}", "they must sum to 100")


def _failovers(failovers: Sequence[dr.Failover], path: Path) -> Findings:
    for i, each in enumerate(failovers):
        if each.from_ == each.to:
            hint = "name another region"
            yield invalid((*path, i), f'region "{each.to}" takes over from itself', hint)


def _outliers(outliers: dr.OutlierDetection | None, path: Path) -> Findings:
    if outliers is None:
        return
    yield from syntax.at_least(0, outliers.consecutive_errors, (*path, "consecutiveErrors"))
    yield from syntax.duration(outliers.interval, (*path, "interval"))
    yield from syntax.duration(outliers.base_ejection_time, (*path, "baseEjectionTime"))
    yield from syntax.percent(outliers.max_ejection_percent, (*path, "maxEjectionPercent"))
    yield from syntax.percent(outliers.min_health_percent, (*path, "minHealthPercent"))
    local = outliers.consecutive_local_origin_failures
    if local is not None and not outliers.split_external_local_origin_errors:
        hint = "set splitExternalLocalOriginErrors: true"
        here = (*path, "consecutiveLocalOriginFailures")
        yield invalid(here, "local failures are not counted apart", hint)


def _tls(tls: dr.ClientTLSSettings | None, path: Path) -> Findings:
    if tls is None:
        return
    if tls.mode is dr.TLSMode.ISTIO_MUTUAL:
        for attribute, name in _FILES:
            if getattr(tls, attribute):
                hint = "ISTIO_MUTUAL brings its own certificates; remove the field"
                yield invalid((*path, name), f"{name} has no effect with ISTIO_MUTUAL", hint)
    elif tls.mode is dr.TLSMode.MUTUAL and not tls.credential_name:
        for attribute, name in _FILES[:2]:
            if not getattr(tls, attribute):
                hint = "write it, or credentialName"
                yield invalid((*path, name), f"{name} is missing for MUTUAL", hint)


def _names(tls: dr.ClientTLSSettings, path: Path, *, selects: bool) -> Findings:
    """What is not looked at of certificates by name."""
    if tls.ca_crl and (problem := _unread_list(tls)):
        yield validate_tls.unread_list((*path, "caCrl"), problem)
    if tls.credential_name and tls.mode in _OUTSIDE and not selects:
        yield Finding(
            code="PLT1007",
            severity=Severity.INFO,
            path=(*path, "credentialName"),
            message="this field counts at gateways alone; sidecars go by the files",
            hint="for workloads of this namespace, write a workloadSelector",
        )


def _unread_list(tls: dr.ClientTLSSettings) -> str:
    """Beside what a list of revoked certificates is not read; empty: it is."""
    if tls.mode not in _OUTSIDE:
        return str(tls.mode.value)
    if tls.insecure_skip_verify:
        return "insecureSkipVerify"
    return "credentialName" if tls.credential_name else ""


def _tunnel(tunnel: dr.TunnelSettings | None, path: Path) -> Findings:
    if tunnel is None:
        return
    if tunnel.protocol.upper() not in ("", "CONNECT", "POST"):
        yield invalid(
            (*path, "protocol"), f'"{tunnel.protocol}" opens no tunnel', "CONNECT or POST"
        )
    if not syntax.is_ip(tunnel.target_host):
        yield from syntax.host(tunnel.target_host, (*path, "targetHost"), wildcard=False)
    yield from syntax.port(tunnel.target_port, (*path, "targetPort"))
