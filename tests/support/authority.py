"""A certificate authority for tests, and clients that have its certificates."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plait.base.clock import WallClock
from plait.serve import signing
from plait.serve.ca.authority import Signer
from plait.serve.doors import Pair

PEM = serialization.Encoding.PEM


class Authority:
    """One root that signs everything itself; `more` are others that are trusted.

    Args:
        identifier: of its key; None: its digest, as most have it.
    """

    def __init__(
        self,
        name: str = "root",
        trust_domain: str = "cluster.local",
        *,
        identifier: bytes | None = None,
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.domain = trust_domain
        self.more: list[str] = []
        self.aliases: tuple[str, ...] = ()
        self.given = 0
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        usual = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        self.certificate = (
            self._builder(subject, subject, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier(identifier or usual.digest), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        self.intermediates: tuple[str, ...] = ()

    def trust_domains(self) -> tuple[str, ...]:
        return (self.domain, *self.aliases)

    def root(self) -> str:
        return self.certificate.public_bytes(PEM).decode()

    def roots(self) -> str:
        return "".join((self.root(), *self.more))

    def server_certificate(self, names: Sequence[str]) -> Pair:
        self.given += 1
        signer = Signer(
            certificate=self.certificate,
            key=self.key,
            intermediates=self.intermediates,
            root=self.root(),
        )
        return signing.server_certificate(signer, names, WallClock().now())

    def client(self, *uris: str, dns: Sequence[str] = (), expired: bool = False) -> Pair:
        """A certificate with these URIs and DNS names, as a client shows it."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = (*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, dns))
        sans = x509.SubjectAlternativeName(names)
        made = (
            self._builder(x509.Name([]), self.certificate.subject, key, expired=expired)
            .add_extension(sans, critical=True)
            .sign(self.key, hashes.SHA256())
        )
        private = key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Pair(chain=made.public_bytes(PEM).decode(), key=private.decode())

    @staticmethod
    def _builder(
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        expired: bool = False,
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        hour = datetime.timedelta(hours=1)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * hour)
            .not_valid_after(now - hour if expired else now + 24 * hour)
        )


def spiffe(namespace: str, account: str = "default", domain: str = "cluster.local") -> str:
    return f"spiffe://{domain}/ns/{namespace}/sa/{account}"


def credentials(trusted: str, shown: Pair | None = None) -> Any:
    """What a gRPC client trusts and shows."""
    if shown is None:
        return grpc.ssl_channel_credentials(trusted.encode())
    return grpc.ssl_channel_credentials(trusted.encode(), shown.key.encode(), shown.chain.encode())
