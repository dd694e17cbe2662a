"""Rules about one Gateway, ServiceEntry, WorkloadEntry or Sidecar alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from plait.config import names as forms
from plait.config import syntax, validate_rules, validate_tls
from plait.config.document import Path
from plait.config.finding import invalid, shown
from plait.config.kinds.gateway import Gateway, Server, ServerTLSMode, ServerTLSSettings
from plait.config.kinds.port import Port
from plait.config.kinds.service_entry import Resolution, ServiceEntry
from plait.config.kinds.sidecar import (
    CaptureMode,
    IstioEgressListener,
    IstioIngressListener,
    Sidecar,
)
from plait.config.kinds.workload_entry import WorkloadEntry
from plait.config.meta import Object
from plait.config.syntax import Findings

_UNIX: Final = "unix://"
_DEFAULT_ENDPOINT: Final = re.compile(r"(127\.0\.0\.1|0\.0\.0\.0|\[::1\]|\[::\]):([0-9]{1,5})")
_SECURE: Final = ("HTTPS", "TLS")
_ASKING: Final = (ServerTLSMode.MUTUAL, ServerTLSMode.OPTIONAL_MUTUAL)


def gateway(found: Object[Gateway], path: Path) -> Findings:
    """All that is wrong with a Gateway."""
    spec = found.spec
    yield from syntax.labels(spec.selector, (*path, "selector"))
    if not spec.servers:
        yield invalid((*path, "servers"), "there is no server", "write at least one")
    for i, server in enumerate(spec.servers):
        yield from _server(server, (*path, "servers", i))
    names = (
        (each.port.name, (*path, "servers", i, "port", "name"))
        for i, each in enumerate(spec.servers)
        if each.port.name
    )
    yield from syntax.unique(names, "port name")


def service_entry(found: Object[ServiceEntry], path: Path) -> Findings:
    """All that is wrong with a ServiceEntry."""
    spec = found.spec
    yield from syntax.export_to(spec.export_to, found.key.namespace, (*path, "exportTo"))
    yield from _entry_hosts(spec, path)
    yield from _ports(spec.ports, (*path, "ports"), named=True)
    if spec.workload_selector is not None:
        here = (*path, "workloadSelector", "labels")
        yield from syntax.labels(spec.workload_selector.labels, here)
    fields = {"endpoints": "endpoints", "workload_selector": "workloadSelector"}
    yield from syntax.exclusive(spec, fields, path)
    names = {port.name for port in spec.ports}
    for i, endpoint in enumerate(spec.endpoints):
        here = (*path, "endpoints", i)
        yield from _workload(endpoint, here)
        for name in endpoint.ports:
            if name not in names:
                hint = f"one of {', '.join(sorted(names))}"
                message = f"{shown(name)} is no port of the ServiceEntry"
                yield invalid((*here, "ports", name), message, hint)
    yield from _resolution(spec, path)


def workload_entry(found: Object[WorkloadEntry], path: Path) -> Findings:
    """All that is wrong with a WorkloadEntry."""
    yield from _workload(found.spec, path)
    address = found.spec.address
    if address and not address.startswith(_UNIX) and not syntax.is_ip(address):
        yield from syntax.host(address, (*path, "address"), wildcard=False)


def sidecar(found: Object[Sidecar], path: Path) -> Findings:
    """All that is wrong with a Sidecar."""
    spec = found.spec
    if spec.workload_selector is not None:
        here = (*path, "workloadSelector", "labels")
        yield from syntax.labels(spec.workload_selector.labels, here)
    for i, ingress in enumerate(spec.ingress):
        yield from _ingress(ingress, (*path, "ingress", i))
    numbers = (
        (each.port.number, (*path, "ingress", i, "port", "number"))
        for i, each in enumerate(spec.ingress)
    )
    yield from syntax.unique(numbers, "port")
    yield from _egresses(spec.egress, (*path, "egress"))
    here = (*path, "inboundConnectionPool")
    yield from validate_rules.connection_pool(spec.inbound_connection_pool, here)
    policy = spec.outbound_traffic_policy
    if policy is not None and policy.egress_proxy is not None:
        here = (*path, "outboundTrafficPolicy", "egressProxy", "host")
        yield from syntax.host(policy.egress_proxy.host, here, wildcard=False)


def _server(server: Server, path: Path) -> Findings:
    protocol = server.port.protocol.upper()
    yield from syntax.port(server.port.number, (*path, "port", "number"))
    if not protocol:
        here = (*path, "port", "protocol")
        yield invalid(here, "the protocol is missing", f"one of {', '.join(syntax.PROTOCOLS)}")
    yield from syntax.protocol(protocol, (*path, "port", "protocol"))
    if not server.port.name:
        yield invalid((*path, "port", "name"), "the name is missing", "such as http")
    if not server.hosts:
        yield invalid((*path, "hosts"), "there is no host", 'write the hosts, or "*"')
    for i, name in enumerate(server.hosts):
        yield from _server_host(name, (*path, "hosts", i))
    if server.bind and not server.bind.startswith(_UNIX):
        yield from syntax.ip(server.bind, (*path, "bind"))
    yield from _server_tls(server.tls, protocol, (*path, "tls"))


def _server_host(name: str, path: Path) -> Findings:
    space, slash, host = name.rpartition("/")
    if slash and space not in (".", "*"):
        yield from syntax.label(space, path, "namespace")
    if not syntax.is_ip(host):
        yield from _full_host(host, path, "such as shop.example.com")


def _full_host(host: str, path: Path, example: str) -> Findings:
    yield from syntax.host(host, path)
    if host and host != "*" and "." not in host:
        hint = f"write the full name, {example}"
        yield invalid(path, f"{shown(host)} is a short name", hint)
    yield from syntax.spelled_out(host, path)


def _server_tls(tls: ServerTLSSettings | None, protocol: str, path: Path) -> Findings:
    if tls is None:
        if protocol in _SECURE:
            hint = "write tls with mode and certificates"
            yield invalid(path, f"{protocol} needs TLS settings", hint)
        return
    if protocol not in _SECURE and tls != ServerTLSSettings(https_redirect=tls.https_redirect):
        hint = "use HTTPS or TLS; with HTTP only httpsRedirect is possible"
        yield invalid(path, f"TLS settings have no effect with {protocol or 'this protocol'}", hint)
    yield from validate_tls.digests(tls, path)
    if tls.ca_crl and (beside := _unread_list(tls)):
        yield validate_tls.unread_list((*path, "caCrl"), beside)
    if tls.mode not in (ServerTLSMode.SIMPLE, *_ASKING):
        return
    named = tls.credential_name or tls.credential_names or tls.tls_certificates
    if protocol in _SECURE and not named:
        for field, value in (
            ("serverCertificate", tls.server_certificate),
            ("privateKey", tls.private_key),
        ):
            if not value:
                hint = "write it, or credentialName"
                yield invalid((*path, field), f"{field} is missing for {tls.mode.value}", hint)


def _unread_list(tls: ServerTLSSettings) -> str:
    """Beside what a list of revoked certificates is not read; empty: it is."""
    if tls.mode not in _ASKING:
        return str(tls.mode.value)
    by_name = tls.credential_name or tls.credential_names or tls.ca_cert_credential_name
    return "credentialName" if by_name else ""


def _entry_hosts(spec: ServiceEntry, path: Path) -> Findings:
    if not spec.hosts:
        yield invalid((*path, "hosts"), "there is no host", "write at least one")
    for i, name in enumerate(spec.hosts):
        here = (*path, "hosts", i)
        if name == "*":
            yield invalid(here, '"*" would take every host', "name a domain, such as *.example.com")
        else:
            yield from syntax.host(name, here)
            if any(_is_secure(port) for port in spec.ports):  # told apart by server names
                yield from syntax.spelled_out(name, here)
    yield from syntax.unique(
        ((name, (*path, "hosts", i)) for i, name in enumerate(spec.hosts)), "host"
    )
    for i, address in enumerate(spec.addresses):
        yield from syntax.cidr(address, (*path, "addresses", i))


def _is_secure(port: Port) -> bool:
    return (port.protocol or port.name.partition("-")[0]).upper() in _SECURE


def _ports(ports: Sequence[Port], path: Path, *, named: bool) -> Findings:
    for i, port in enumerate(ports):
        yield from syntax.port(port.number, (*path, i, "number"))
        yield from syntax.protocol(port.protocol, (*path, i, "protocol"))
        if named and not port.name:
            yield invalid((*path, i, "name"), "the name is missing", "such as http")
        elif port.name:
            yield from syntax.label(port.name, (*path, i, "name"), "name of a port")
        if port.target_port:
            yield from syntax.port(port.target_port, (*path, i, "targetPort"))
    numbers = ((port.number, (*path, i, "number")) for i, port in enumerate(ports))
    yield from syntax.unique(numbers, "port")
    names = ((port.name, (*path, i, "name")) for i, port in enumerate(ports) if port.name)
    yield from syntax.unique(names, "port name")


def _workload(entry: WorkloadEntry, path: Path) -> Findings:
    here = (*path, "address")
    if not entry.address and not entry.network:
        yield invalid(here, "the address is missing", "an IP address, a DNS name or unix:///path")
    if entry.address.startswith(_UNIX):
        name = entry.address.removeprefix(_UNIX)
        if not name.startswith(("/", "@")):
            yield invalid(
                here, f"{shown(name)} is no absolute path", "such as unix:///run/app.sock"
            )
        if entry.ports:
            yield invalid((*path, "ports"), "a socket path has no ports", "remove ports")
    for name, number in entry.ports.items():
        yield from syntax.label(name.lower(), (*path, "ports", name), "name of a port")
        yield from syntax.port(number, (*path, "ports", name))
    yield from syntax.labels(entry.labels, (*path, "labels"))


def _resolution(spec: ServiceEntry, path: Path) -> Findings:
    ranges = [i for i, each in enumerate(spec.addresses) if "/" in each and not _single(each)]
    if ranges and spec.resolution not in (Resolution.NONE, Resolution.STATIC):
        hint = "use single addresses, or resolution NONE or STATIC"
        here = (*path, "addresses", ranges[0])
        yield invalid(here, f"a range is not possible with {spec.resolution.value}", hint)
    match spec.resolution:
        case Resolution.NONE | Resolution.DYNAMIC_DNS:
            if spec.endpoints:
                hint = "use resolution STATIC or DNS, or remove endpoints"
                message = f"endpoints have no effect with {spec.resolution.value}"
                yield invalid((*path, "endpoints"), message, hint)
        case Resolution.STATIC:
            yield from _static(spec, path)
        case Resolution.DNS | Resolution.DNS_ROUND_ROBIN:
            yield from _dns(spec, path)


def _static(spec: ServiceEntry, path: Path) -> Findings:
    for i, endpoint in enumerate(spec.endpoints):
        address = endpoint.address
        if address and not address.startswith(_UNIX):
            yield from syntax.ip(address, (*path, "endpoints", i, "address"))
        elif address and len(spec.ports) != 1:
            hint = "with a socket path there must be exactly one port"
            here = (*path, "endpoints", i, "address")
            yield invalid(here, f"the ServiceEntry has {len(spec.ports)} ports", hint)


def _dns(spec: ServiceEntry, path: Path) -> Findings:
    if not spec.endpoints and spec.workload_selector is None:
        for i, name in enumerate(spec.hosts):
            if "*" in name:
                hint = "name the host in full, or write endpoints"
                here = (*path, "hosts", i)
                yield invalid(here, f"{shown(name)} cannot be looked up in DNS", hint)
    for i, endpoint in enumerate(spec.endpoints):
        here = (*path, "endpoints", i, "address")
        if endpoint.address.startswith(_UNIX):
            yield invalid(here, "a socket path cannot be looked up in DNS", "use STATIC")
        elif endpoint.address and not syntax.is_ip(endpoint.address):
            yield from syntax.host(endpoint.address, here, wildcard=False)
    if spec.resolution is Resolution.DNS_ROUND_ROBIN and len(spec.endpoints) > 1:
        here = (*path, "endpoints")
        yield invalid(here, "DNS_ROUND_ROBIN has one endpoint at most", "use DNS for several")


def _single(address: str) -> bool:
    return address.endswith(("/32",)) or (":" in address and address.endswith("/128"))


def _ingress(listener: IstioIngressListener, path: Path) -> Findings:
    yield from syntax.port(listener.port.number, (*path, "port", "number"))
    yield from syntax.protocol(listener.port.protocol, (*path, "port", "protocol"))
    if listener.bind:
        yield from syntax.ip(listener.bind, (*path, "bind"))
        if listener.capture_mode is CaptureMode.IPTABLES:
            yield invalid((*path, "bind"), "bind and IPTABLES exclude each other", "remove one")
    endpoint = listener.default_endpoint
    unix = endpoint.startswith(_UNIX) and endpoint.removeprefix(_UNIX).startswith(("/", "@"))
    if endpoint and not unix:
        form = _DEFAULT_ENDPOINT.fullmatch(endpoint)
        here = (*path, "defaultEndpoint")
        if form is None:
            hint = "127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///PATH"
            yield invalid(here, f"{shown(endpoint)} is no endpoint of the workload", hint)
        else:
            yield from syntax.port(int(form[2]), here)
    yield from validate_rules.connection_pool(listener.connection_pool, (*path, "connectionPool"))


def _egresses(listeners: Sequence[IstioEgressListener], path: Path) -> Findings:
    for i, listener in enumerate(listeners):
        here = (*path, i)
        if listener.port is None and i < len(listeners) - 1:
            hint = "give it a port, or move it to the end"
            yield invalid(here, "only the last listener may be without a port", hint)
        if listener.port is not None and not listener.bind.startswith(_UNIX):
            yield from syntax.port(listener.port.number, (*here, "port", "number"))
            yield from syntax.protocol(listener.port.protocol, (*here, "port", "protocol"))
        yield from _egress(listener, here)
    bound = (
        (_bound(each.bind, each.port.number), (*path, i, "port"))
        for i, each in enumerate(listeners)
        if each.port is not None
    )
    yield from syntax.unique(bound, "listener")


def _bound(bind: str, number: int) -> str:
    """What a listener takes: a socket's path whatever its number, else an address with a port."""
    return bind if bind.startswith(_UNIX) else f"{forms.address(bind) or '*'}:{number}"


def _egress(listener: IstioEgressListener, path: Path) -> Findings:
    if listener.bind.startswith(_UNIX):
        if listener.capture_mode is CaptureMode.IPTABLES:
            yield invalid((*path, "captureMode"), "a socket path is never captured", "NONE")
    elif listener.bind:
        yield from syntax.ip(listener.bind, (*path, "bind"))
        if listener.port is None:
            yield invalid((*path, "bind"), "bind needs a port", "write port")
    if not listener.hosts:
        yield invalid((*path, "hosts"), "there is no host", 'write hosts, such as "./*"')
    for i, name in enumerate(listener.hosts):
        yield from _egress_host(name, (*path, "hosts", i))


def _egress_host(name: str, path: Path) -> Findings:
    space, slash, host = name.partition("/")
    if not slash:
        hint = f'write "./{name}" for the own namespace, "*/{name}" for any'
        yield invalid(path, f"{shown(name)} has no namespace", hint)
        return
    if space not in (".", "*", "~"):
        yield from syntax.label(space.removeprefix("~"), path, "namespace")
    yield from _full_host(host, path, "such as reviews.demo.svc.cluster.local")
