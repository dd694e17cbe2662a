"""Requests for certificates, authorities of one's own, and looks at what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey
DAY = timedelta(days=1)


def private() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def text(key: Key) -> bytes:
    """A key in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def csr(names: Sequence[x509.GeneralName] = (), key: Key | None = None) -> str:
    """A request in PEM."""
    builder = x509.CertificateSigningRequestBuilder(subject_name=x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    made = builder.sign(key or private(), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def uri(name: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(name)


def names(pem: str) -> list[x509.GeneralName]:
    """The alternative names of a certificate."""
    found = x509.load_pem_x509_certificate(pem.encode())
    return list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


class Authority:
    """A certificate that signs others."""

    def __init__(
        self,
        name: str,
        above: Authority | None = None,
        *,
        now: datetime | None = None,
        begins: timedelta = -DAY,
        ends: timedelta = 10 * DAY,
        ca: bool = True,
        usage: x509.KeyUsage | None = None,
        key: Key | None = None,
    ) -> None:
        self.key = key or private()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = above.certificate.subject if above else subject
        now = now or datetime.now(UTC)
        builder = (
            x509.CertificateBuilder(
                subject_name=subject, issuer_name=issuer, public_key=self.key.public_key()
            )
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        )
        if usage is not None:
            builder = builder.add_extension(usage, critical=True)
        self.certificate: x509.Certificate = builder.sign(
            above.key if above else self.key, hashes.SHA256()
        )
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()


def plug(directory: Path, signer: Authority, *above: Authority) -> None:
    """Write Istio's files: the signer, what is between, and the root last; the root may be it."""
    directory.mkdir(exist_ok=True)
    root = above[-1] if above else signer
    chain = (signer, *above[:-1]) if above else ()
    (directory / "ca-cert.pem").write_text(signer.pem)
    (directory / "ca-key.pem").write_bytes(text(signer.key))
    (directory / "cert-chain.pem").write_text("".join(one.pem for one in chain) or signer.pem)
    (directory / "root-cert.pem").write_text(root.pem)
