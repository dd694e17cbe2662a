"""Settings of the mesh that identities and encryption follow."""

from __future__ import annotations

from plait.base.query import Query
from plait.config.mesh_config import TLSConfig
from plait.mesh import scopes, tls


def domain(q: Query) -> str:
    """The trust domain of the identities of this mesh."""
    return q(scopes.mesh_settings).trust_domain


def domains(q: Query) -> tuple[str, ...]:
    """Trust domains whose identities are taken for the mesh's own; its own is the first."""
    settings = q(scopes.mesh_settings)
    return tuple(dict.fromkeys((settings.trust_domain, *settings.trust_domain_aliases)))


def automatic(q: Query) -> bool:
    """Whether sidecars encrypt what nobody wrote TLS settings for, where both ends can."""
    return q(scopes.mesh_settings).enable_auto_mtls


def inside(q: Query) -> tls.Strength:
    """What is accepted of TLS between workloads of the mesh."""
    return _strength(q(scopes.mesh_settings).mesh_mtls)


def outside(q: Query) -> tls.Strength:
    """What is accepted of TLS everywhere else, unless a Gateway says so itself."""
    return _strength(q(scopes.mesh_settings).tls_defaults)


def _strength(written: TLSConfig) -> tls.Strength:
    return tls.Strength(
        least=tls.Version(written.min_protocol_version.value),
        ciphers=written.cipher_suites,
        curves=written.ecdh_curves,
    )
