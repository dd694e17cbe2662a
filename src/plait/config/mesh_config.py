"""Settings of the mesh as a whole, in the form of Istio's MeshConfig."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec import field as named

from plait.config import codec, formats, shapes, syntax, unenforced, validate_tls, yaml_reader
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.document import Document
from plait.config.finding import Finding, invalid, wrong
from plait.config.kinds.gateway import TLSProtocol
from plait.config.kinds.sidecar import OutboundTrafficPolicyMode
from plait.config.kinds.units import Count, Seconds
from plait.config.meta import Key
from plait.config.ports import Fault

SUBJECT: Final = Key(group="", kind="MeshConfig", namespace="", name="mesh")
"""Whom problems of the mesh's settings are about."""

_WORDS: Final = """
ca caCertificates certificates configSources defaultHttpRetryPolicy defaultProviders
defaultInboundHttpRetryPolicy defaultTrafficPolicy disableEnvoyListenerLog discoverySelectors
dnsRefreshRate enableEnvoyAccessLogService enablePrometheusMerge enableTracing
extensionProviders h2UpgradePolicy inboundClusterStatName inboundTrafficPolicy
ingressClass ingressControllerMode ingressSelector ingressService localityLbSetting
outboundClusterStatName proxyHttpPort proxyInboundListenPort proxyListenPort
rootNamespace serviceEntryVisibility serviceScopeConfigs serviceSettings tcpKeepalive
thriftConfig verifyCertificateAtClient
"""
_KNOWN: Final = frozenset(_WORDS.split())
_WORDS_OF_PROXIES: Final = """
availabilityZone binaryPath caCertificatesPem configPath controlPlaneAuthPolicy
customConfigFile discoveryAddress envoyAccessLogService envoyMetricsService extraStatTags
fileFlushInterval fileFlushMinSizeKb gatewayTopology holdApplicationUntilProxyStarts image
interceptionMode meshId parentShutdownDuration privateKeyProvider proxyAdminPort
proxyBootstrapTemplatePath proxyHeaders proxyMetadata proxyStatsMatcher readinessProbe
runtimeValues serviceCluster statNameLength statsCompression statsdUdpAddress statusPort
tracing zipkinAddress
"""
_KNOWN_OF_PROXIES: Final = frozenset(_WORDS_OF_PROXIES.split())


class AccessLogEncoding(Enum):
    """Form of a line of the access log."""

    TEXT = "TEXT"
    JSON = "JSON"


class Normalization(Enum):
    """How the path of a request is written before anything looks at it."""

    DEFAULT = "DEFAULT"  # BASE
    NONE = "NONE"
    BASE = "BASE"  # RFC 3986: ``.`` and ``..`` are resolved
    MERGE_SLASHES = "MERGE_SLASHES"  # and several slashes are one
    DECODE_AND_MERGE_SLASHES = "DECODE_AND_MERGE_SLASHES"  # and ``%2F`` and ``%5C`` are slashes


class PathNormalization(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How paths are normalised."""

    normalization: Normalization = Normalization.DEFAULT


class OutboundTrafficPolicy(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What happens to traffic for hosts that are not known."""

    mode: OutboundTrafficPolicyMode = OutboundTrafficPolicyMode.ALLOW_ANY


class ProxyConfig(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Settings of each proxy; durations in seconds.

    Attributes:
        concurrency: worker threads; None or 0: as many as processors.
        drain_duration: how long connections may last after a hot restart or a listener's end.
        termination_drain_duration: how long they may last when the proxy is told to stop.
    """

    concurrency: Count | None = None
    drain_duration: Seconds = 45.0
    termination_drain_duration: Seconds = 5.0


class TLSConfig(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is accepted of TLS; what is not written is as Envoy has it, TLS 1.2 and up."""

    min_protocol_version: TLSProtocol = TLSProtocol.TLS_AUTO
    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()


class MeshConfig(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The mesh's settings; durations in seconds.

    Attributes:
        access_log_file: such as ``/dev/stdout``; empty: no access log.
        access_log_format: Envoy's format string, or JSON text of an object; empty: the default.
        protocol_detection_timeout: how long to wait for a caller's first bytes; 0: for ever.
        default_service_export_to: who sees a Service or ServiceEntry that says nothing.
        trust_domain: of the identities of this mesh.
        trust_domain_aliases: whose identities are taken for those of the mesh.
        enable_auto_mtls: what nobody wrote TLS settings for is encrypted where both ends can.
        mesh_mtls: TLS between workloads of the mesh; `tls_defaults`: all other TLS.
    """

    outbound_traffic_policy: OutboundTrafficPolicy = OutboundTrafficPolicy()
    access_log_file: str = ""
    access_log_format: str = ""
    access_log_encoding: AccessLogEncoding = AccessLogEncoding.TEXT
    connect_timeout: Seconds = 10.0
    protocol_detection_timeout: Seconds = 0.0
    default_config: ProxyConfig = ProxyConfig()
    default_service_export_to: tuple[str, ...] = ("*",)
    default_virtual_service_export_to: tuple[str, ...] = ("*",)
    default_destination_rule_export_to: tuple[str, ...] = ("*",)
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    enable_auto_mtls: bool = True
    mesh_mtls: TLSConfig = named(default=TLSConfig(), name="meshMTLS")
    tls_defaults: TLSConfig = TLSConfig()
    path_normalization: PathNormalization = PathNormalization()


def read(text: str, name: str) -> tuple[MeshConfig | None, tuple[Diagnostic, ...]]:
    """Read the settings from YAML: bare, or in the key ``mesh`` of a ConfigMap.

    An empty text means the defaults.

    Returns:
        The settings, None if there is an error among the problems; and the problems, with
        `SUBJECT` for their subject.
    """
    document = _only(text, name)
    if isinstance(document, Document) and document.value.get("kind") == "ConfigMap":
        data = document.value.get("data")
        inner = data.get("mesh") if isinstance(data, dict) else None
        if not isinstance(inner, str):
            hint = "put the settings there as one text: mesh: |"
            locator = document.locate(("data",))
            return None, (_problem("the ConfigMap has no key data.mesh", hint, locator),)
        document = _only(inner, f"{name}(data.mesh)")
    return _from(document) if isinstance(document, Document) else (None, document)


def _only(text: str, name: str) -> Document | tuple[Diagnostic, ...]:
    documents = yaml_reader.read(text, name)
    faults = [each for each in documents if isinstance(each, Fault)]
    if faults:
        return tuple(_unreadable(fault) for fault in faults)
    found = [each for each in documents if isinstance(each, Document)]
    if len(found) > 1:
        return (_problem("a second document", "write one document only", found[1].locator),)
    return found[0] if found else Document(value={}, name=name)


def _from(document: Document) -> tuple[MeshConfig | None, tuple[Diagnostic, ...]]:
    found = list(codec.duplicates(document))
    value = dict(_enforced(document.value, found))
    config = shapes.read(value, MeshConfig, (), found)
    found.extend(_broken(config))
    problems = tuple(codec.diagnostic(each, SUBJECT, document.locate(each.path)) for each in found)
    refused = any(each.severity is Severity.ERROR for each in problems)
    return None if refused else config, problems


def _enforced(value: Mapping[str, Any], found: list[Finding]) -> Iterator[tuple[str, Any]]:
    for name, part in value.items():
        if name in _KNOWN:
            found.append(unenforced.not_enforced((name,)))
        elif name == "defaultConfig" and isinstance(part, dict):
            known = [field for field in part if field in _KNOWN_OF_PROXIES]
            found.extend(unenforced.not_enforced((name, field)) for field in known)
            yield name, {field: part[field] for field in part if field not in known}
        else:
            yield name, part


def _broken(config: MeshConfig) -> Iterator[Finding]:
    yield from validate_tls.trust_domain(config.trust_domain, ("trustDomain",))
    for i, alias in enumerate(config.trust_domain_aliases):
        yield from validate_tls.trust_domain(alias, ("trustDomainAliases", i))
    yield from syntax.duration(config.connect_timeout, ("connectTimeout",))
    yield from syntax.duration(
        config.protocol_detection_timeout, ("protocolDetectionTimeout",), zero=True
    )
    yield from _log_format(config)
    for name, part in (("meshMTLS", config.mesh_mtls), ("tlsDefaults", config.tls_defaults)):
        yield from validate_tls.strength(part.cipher_suites, part.ecdh_curves, (name,))


def _log_format(config: MeshConfig) -> Iterator[Finding]:
    """What every listener would be refused for."""
    written: Any = config.access_log_format
    if config.access_log_encoding is AccessLogEncoding.JSON:
        with contextlib.suppress(msgspec.DecodeError):  # one text, then: see `xds.filters`
            written = msgspec.json.decode(config.access_log_format or "{}")
    for text in formats.texts(written):
        if (problem := formats.problem(text)) is not None:
            yield invalid(("accessLogFormat",), *problem)


def _unreadable(fault: Fault) -> Diagnostic:
    finding = Finding(code=fault.code, severity=Severity.ERROR, path=(), message=fault.problem)
    return codec.diagnostic(finding, SUBJECT, fault.origin.locator)


def _problem(message: str, hint: str, locator: str) -> Diagnostic:
    return codec.diagnostic(wrong((), message, hint), SUBJECT, locator)
