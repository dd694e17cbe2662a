"""Certificates for plait's own servers, signed by what signs the mesh's identities."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from plait.serve.doors import Pair

LIFE: Final = 86_400.0
"""Seconds for which a certificate is valid, if its signer is."""
BACKDATED: Final = 5_400.0
"""Seconds by which it begins in the past: clocks an hour apart agree on it."""


class Signer(Protocol):
    """A certificate authority's own certificate and key."""

    @property
    def certificate(self) -> x509.Certificate:
        """With which clients find out who signed."""
        ...

    @property
    def key(self) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
        """Its private key."""
        ...

    @property
    def intermediates(self) -> tuple[str, ...]:
        """In PEM, the signing certificate first; empty: that is the root."""
        ...


def server_certificate(signer: Signer, names: Sequence[str], now: float) -> Pair:
    """A new key, and a certificate of it for these DNS names and IP addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = signer.certificate
    ends = min(now + LIFE, issuer.not_valid_after_utc.timestamp())
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(max(now - BACKDATED, issuer.not_valid_before_utc.timestamp())))
        .not_valid_after(_moment(ends))
        .add_extension(x509.SubjectAlternativeName([_name(one) for one in names]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(authority, critical=False)
    )
    made = builder.sign(signer.key, hashes.SHA256())
    leaf = made.public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Pair(chain="".join((leaf, *signer.intermediates)), key=private.decode())


def _name(written: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(written))
    except ValueError:
        return x509.DNSName(written)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
