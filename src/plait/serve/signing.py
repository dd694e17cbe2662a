"""Certificates for plait's own servers, signed by what signs the mesh's identities."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from plait.base import pem
from plait.serve.ca import authority
from plait.serve.ca.authority import Signer
from plait.serve.doors import Pair

LIFE: Final = 86_400.0
"""Seconds for which a certificate is valid, if its signer is."""


def server_certificate(signer: Signer, names: Sequence[str], now: float) -> Pair:
    """A new key, and a certificate of it for these DNS names and IP addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = signer.certificate
    begins = max(now - authority.BACKDATED, authority.beginning(issuer))
    ends = min(now + LIFE, authority.expiry(issuer))
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(authority.moment(begins))
        .not_valid_after(authority.moment(ends))
        .add_extension(x509.SubjectAlternativeName([_name(one) for one in names]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(authority.key_of(issuer), critical=False)
    )
    made = builder.sign(signer.key, authority.digest(signer.key))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Pair(chain="".join((pem.text(made), *signer.intermediates)), key=private.decode())


def _name(written: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(written))
    except ValueError:
        return x509.DNSName(written)
