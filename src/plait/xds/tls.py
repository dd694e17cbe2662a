"""Encrypted connections: IR to transport sockets."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, Final

from plait.mesh import tls
from plait.xds import protos

SDS_CLUSTER: Final = "sds-grpc"
"""Name of the cluster, in every proxy's bootstrap, by which it asks its agent for secrets."""

SOCKET: Final = "envoy.transport_sockets.tls"
_RAW: Final = "envoy.transport_sockets.raw_buffer"
_FILE_PATIENCE: Final = 2  # seconds
_KEPT: Final = 1024  # ends at most: hosts come and go, and each has names of its own
_V3, _GRPC = 2, 2
_DNS, _URI = 2, 3  # SubjectAltNameMatcher.SanType
_TRUST_ALL: Final = 1  # CertificateValidationContext.ACCEPT_UNTRUSTED
_VERSIONS: Final = {version: number for number, version in enumerate(tls.Version)}


@lru_cache(maxsize=_KEPT)
def server(end: tls.Server) -> Any:
    """A TransportSocket of a filter chain; copied, never changed."""
    context = protos.DownstreamTlsContext()
    common = context.common_tls_context
    _fill(common, end.certificates, end.applications, end.strength)
    if end.roots is not None:
        own = _own(end.names, end.revoked)
        own.verify_certificate_spki.extend(end.keys)
        own.verify_certificate_hash.extend(end.hashes)
        _trust(common, end.roots, own)
    context.require_client_certificate.value = end.requires
    context.disable_stateless_session_resumption = end.roots is not None
    return _socket(context)


@lru_cache(maxsize=_KEPT)
def client(end: tls.Client) -> Any:
    """A TransportSocket of a cluster; copied, never changed."""
    context = protos.UpstreamTlsContext(sni=end.sni)
    common = context.common_tls_context
    shown = () if end.certificate is None else (end.certificate,)
    _fill(common, shown, end.applications, end.strength)
    if not end.verifies:
        common.validation_context.trust_chain_verification = _TRUST_ALL
    elif end.roots is not None:
        _trust(common, end.roots, _own(end.names, end.revoked))
    else:
        common.validation_context.CopyFrom(_own(end.names, end.revoked))
        common.validation_context.trusted_ca.filename = tls.SYSTEM_ROOTS
    return _socket(context)


@cache
def plain() -> Any:
    """The TransportSocket of connections that are not encrypted."""
    return protos.TransportSocket(name=_RAW, typed_config=protos.packed(protos.RawBuffer()))


def _socket(context: Any) -> Any:
    return protos.TransportSocket(name=SOCKET, typed_config=protos.packed(context))


def _fill(
    common: Any,
    certificates: tuple[tls.Secret, ...],
    applications: tuple[str, ...],
    strength: tls.Strength,
) -> None:
    common.alpn_protocols.extend(applications)
    for secret in certificates:
        _ask(common.tls_certificate_sds_secret_configs.add(), secret)
    if strength != tls.Strength():
        common.tls_params.tls_minimum_protocol_version = _VERSIONS[strength.least]
        common.tls_params.tls_maximum_protocol_version = _VERSIONS[strength.most]
        common.tls_params.cipher_suites.extend(strength.ciphers)
        common.tls_params.ecdh_curves.extend(strength.curves)


def _trust(common: Any, roots: tls.Secret, own: Any) -> None:
    """Trust what a secret says; `own` is checked beside it."""
    if own == protos.CertificateValidationContext():
        _ask(common.validation_context_sds_secret_config, roots)
        return
    combined = common.combined_validation_context
    combined.default_validation_context.CopyFrom(own)
    _ask(combined.validation_context_sds_secret_config, roots)


def _own(names: tuple[tls.Name, ...], revoked: str) -> Any:
    """What is checked of a peer's certificate whoever it is under."""
    context = protos.CertificateValidationContext()
    if revoked:
        context.crl.filename = revoked
    for name in names:
        matcher = context.match_typed_subject_alt_names.add(san_type=_URI if name.is_uri else _DNS)
        if name.is_prefix:
            matcher.matcher.prefix = name.value
        else:
            matcher.matcher.exact = name.value
    return context


def _ask(config: Any, secret: tls.Secret) -> None:
    config.name = secret.name
    source = config.sds_config
    source.resource_api_version = _V3
    if secret.source is tls.Source.PLANE:  # Envoy waits 15 s, then goes on without
        source.ads.SetInParent()
        return
    # It waits for what everything needs, as in Istio; a file that is not there holds up all other
    # changes meanwhile, and the agent answers at once for one that is.
    patience = 0 if secret in (tls.IDENTITY, tls.ROOTS) else _FILE_PATIENCE
    source.initial_fetch_timeout.CopyFrom(protos.duration(patience))
    asked = source.api_config_source
    asked.api_type = _GRPC
    asked.transport_api_version = _V3
    asked.set_node_on_first_message_only = True
    asked.grpc_services.add().envoy_grpc.cluster_name = SDS_CLUSTER
