"""Certificates for tests: authorities, and identities good and bad."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


class Pair(NamedTuple):
    """A certificate chain and its key, in PEM."""

    chain: str
    key: str


class Authority:
    """A self-signed root."""

    def __init__(self, name: str = "root") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
        builder = _builder(self._name, self._name, self._key, (-DAY, 10 * DAY))
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self._root = builder.sign(self._key, hashes.SHA256())

    @property
    def root(self) -> str:
        """The root's certificate in PEM."""
        return _pem(self._root)

    def issue(
        self,
        *names: str,
        valid: tuple[datetime.timedelta, datetime.timedelta] = (-DAY, DAY),
    ) -> Pair:
        """An identity with these names, URIs or DNS, valid from now and until now so far."""
        key = ec.generate_private_key(ec.SECP256R1())
        written = [
            x509.UniformResourceIdentifier(one) if "://" in one else x509.DNSName(one)
            for one in names
        ]
        builder = _builder(x509.Name([]), self._name, key, valid)
        builder = builder.add_extension(x509.SubjectAlternativeName(written), critical=True)
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return Pair(_pem(certificate), text.decode())

    def revoke(self, *pairs: Pair) -> str:
        """The list of these certificates as revoked, in PEM; none: an empty list."""
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - DAY).next_update(now + DAY)
        for pair in pairs:
            number = x509.load_pem_x509_certificate(pair.chain.encode()).serial_number
            one = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now)
            builder = builder.add_revoked_certificate(one.build())
        made = builder.sign(self._key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()


def secret(name: str, pair: Pair | None, namespace: str, data: Mapping[str, str] = {}) -> str:
    """A Secret in YAML, of a certificate with its key and of more values."""
    data = ({"tls.crt": pair.chain, "tls.key": pair.key} if pair else {}) | dict(data)
    written = "".join(f"\n  {key}: {text!r}" for key, text in data.items()).replace("'", '"')
    return f"""
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}}}
stringData:{written}
"""


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    valid: tuple[datetime.timedelta, datetime.timedelta],
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid[0])
        .not_valid_after(now + valid[1])
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
