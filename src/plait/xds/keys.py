"""Secrets as Envoy reads them: a key with its certificate, and certificates to trust."""

from __future__ import annotations

from collections.abc import Iterable

from plait.base.digest import digest
from plait.xds import protos
from plait.xds.resource import SECRET, Child, Resource, leaf


def certificate(name: str, *, chain: bytes, key: bytes) -> Resource:
    """Who one is: `chain` has the certificate first, all in PEM."""
    message = protos.Secret(name=name)
    message.tls_certificate.certificate_chain.inline_bytes = chain
    message.tls_certificate.private_key.inline_bytes = key
    return secret(name, protos.encode(message))


def roots(name: str, certificates: bytes, revoked: bytes = b"") -> Resource:
    """Whom to trust: certificates in PEM, and lists of those revoked; empty: none are."""
    message = protos.Secret(name=name)
    message.validation_context.trusted_ca.inline_bytes = certificates
    if revoked:
        message.validation_context.crl.inline_bytes = revoked
    return secret(name, protos.encode(message))


def secret(name: str, body: bytes) -> Resource:
    """A serialised Secret as a resource."""
    return leaf(SECRET, Child(name=name, digest=digest(body), body=body))


def trusted(bodies: Iterable[bytes]) -> bytes:
    """The certificates to trust in serialised Secrets, in PEM; empty: there are none."""
    found = (protos.Secret.FromString(body) for body in bodies)
    return b"".join(one.validation_context.trusted_ca.inline_bytes for one in found)
