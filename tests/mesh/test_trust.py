"""Settings of the mesh that identities and encryption follow."""

from __future__ import annotations

from plait.config.kinds.gateway import TLSProtocol
from plait.config.mesh_config import TLSConfig
from plait.mesh import tls, trust
from tests.support import objects


def test_the_meshs_own_trust_domain_comes_before_its_aliases():
    engine = objects.engine()
    engine.commit(
        [objects.settings(trust_domain="new", trust_domain_aliases=("cluster.local", "new"))]
    )

    assert engine.get(trust.domain) == "new"
    assert engine.get(trust.domains) == ("new", "cluster.local")


def test_without_settings_encryption_is_automatic_and_as_strong_as_envoy_has_it():
    engine = objects.engine()

    assert engine.get(trust.automatic)
    assert engine.get(trust.inside) == engine.get(trust.outside) == tls.Strength()


def test_tls_inside_the_mesh_and_outside_have_settings_of_their_own():
    engine = objects.engine()
    strict = TLSConfig(min_protocol_version=TLSProtocol.TLSV1_3)
    engine.commit(
        [objects.settings(mesh_mtls=strict, tls_defaults=TLSConfig(ecdh_curves=("P-256",)))]
    )

    assert engine.get(trust.inside) == tls.Strength(least=tls.Version.V1_3)
    assert engine.get(trust.outside) == tls.Strength(curves=("P-256",))
