"""Issuing: from a request and an identity to a certificate.  It knows no files and no clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from plait.base import pem
from plait.base.errors import AuthorityError, BadRequestError
from plait.base.pem import UNREADABLE, UnreadableError

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ROOT_LIFE: Final = 3650 * 86_400.0
"""Seconds for which a root of our own making is valid."""
BACKDATED: Final = 5_400.0
"""Seconds by which certificates begin in the past: clocks an hour apart agree on them."""

_CURVES: Final = ("secp256r1", "secp384r1")
_NAME_LENGTH: Final = 64  # characters of a name in a certificate
_BEGIN: Final = "-----BEGIN CERTIFICATE REQUEST-----"


class Signer(Struct, frozen=True, kw_only=True):
    """What certificates are signed with.

    Attributes:
        certificate: of the authority itself: a root, or an intermediate under it.
        key: its private key.
        intermediates: in PEM, the signing certificate first; empty: it is the root.
        root: in PEM.
    """

    certificate: x509.Certificate
    key: Key
    intermediates: tuple[str, ...] = ()
    root: str

    def __repr__(self) -> str:
        """Without the key."""
        return f"Signer({self.certificate.subject.rfc4514_string()})"


class Issued(Struct, frozen=True, kw_only=True):
    """A certificate that was given out.

    Attributes:
        chain: in PEM: the leaf, intermediates, the root.
        serial: in hexadecimal digits.
        root: fingerprint of the root.
        not_before, not_after: seconds since the epoch.
    """

    chain: tuple[str, ...]
    serial: str
    root: str
    not_before: float
    not_after: float


def checked(text: str) -> x509.CertificateSigningRequest:
    """The request in PEM, if it is one that could be granted to somebody.

    Its maker must have the key, an elliptic one of P-256 or P-384.  What else it asks for is
    never copied into a certificate.

    Raises:
        BadRequestError: it is not.
    """
    if text.count(_BEGIN) != 1:
        raise BadRequestError("the CSR must be one CERTIFICATE REQUEST in PEM")
    try:
        csr = pem.request(text.encode())
    except UnreadableError as error:
        raise BadRequestError(f"the CSR {error}") from error
    key = csr.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise BadRequestError("the key of the CSR must be an elliptic one, P-256 or P-384")
    if not _is_signed(csr):
        raise BadRequestError("the CSR is not signed with its own key")
    return csr


def issue(
    signer: Signer,
    csr: x509.CertificateSigningRequest,
    identity: str,
    seconds: float,
    now: float,
) -> Issued:
    """A certificate of exactly `identity`, for the key of a request that was `checked`.

    It ends `seconds` after `now`, a time since the epoch, and with the signer's at the latest.

    Raises:
        BadRequestError: the request names somebody else.
        AuthorityError: the signer's own certificate has expired.
    """
    if (named := _named(csr)) not in ((), (x509.UniformResourceIdentifier(identity),)):
        raise BadRequestError(
            f"the CSR names {len(named)} alternative names; leave them out, or write the identity"
        )
    ends = min(int(now + seconds), int(expiry(signer.certificate)))
    if ends <= now:
        raise AuthorityError(
            "the certificate of the certificate authority has expired: plait ca status shows it"
        )
    begins = int(now - BACKDATED)
    certificate = (
        _leaf(csr, identity)
        .issuer_name(signer.certificate.subject)
        .add_extension(key_of(signer.certificate), critical=False)
        .not_valid_before(moment(begins))
        .not_valid_after(moment(ends))
        .sign(signer.key, digest(signer.key))
    )
    return Issued(
        chain=(pem.text(certificate), *signer.intermediates, signer.root),
        serial=f"{certificate.serial_number:x}",
        root=fingerprint(x509.load_pem_x509_certificate(signer.root.encode())),
        not_before=float(begins),
        not_after=float(ends),
    )


def self_signed(trust_domain: str, now: float) -> Signer:
    """A new root with a new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain[:_NAME_LENGTH]),
            x509.NameAttribute(NameOID.COMMON_NAME, "plait root"),
        ]
    )
    begins = moment(int(now - 86_400))
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(seconds=ROOT_LIFE))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Signer(certificate=certificate, key=key, root=pem.text(certificate))


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, as 64 hexadecimal digits; it names roots."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def expiry(certificate: x509.Certificate) -> float:
    """When it ends, in seconds since the epoch."""
    return certificate.not_valid_after_utc.timestamp()


def beginning(certificate: x509.Certificate) -> float:
    """When it begins, in seconds since the epoch."""
    return certificate.not_valid_before_utc.timestamp()


def key_of(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """How a certificate names the key that signed it: as the issuer's own does, else by digest.

    Who verifies it takes no other issuer, so a digest in place of the issuer's word is an error.

    Raises:
        AuthorityError: the key is of a kind that cannot sign.
    """
    build = x509.AuthorityKeyIdentifier
    try:
        found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        key = issuer.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise AuthorityError("the key of the authority is of a kind that cannot sign") from None
        return build.from_issuer_public_key(key)
    return build.from_issuer_subject_key_identifier(found.value)


def digest(key: Key) -> hashes.SHA256 | hashes.SHA384:
    """What a key signs: a longer digest with a longer elliptic key."""
    is_large = isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256
    return hashes.SHA384() if is_large else hashes.SHA256()


def moment(seconds: float) -> datetime:
    """Seconds since the epoch, as certificates have them: whole ones."""
    return datetime.fromtimestamp(int(seconds), UTC)


def _is_signed(csr: x509.CertificateSigningRequest) -> bool:
    try:
        return csr.is_signature_valid
    except (*UNREADABLE, InvalidSignature):
        return False


def _named(csr: x509.CertificateSigningRequest) -> tuple[x509.GeneralName, ...]:
    """The alternative names in a request."""
    try:
        return pem.alternative_names(csr)
    except UnreadableError as error:
        raise BadRequestError(f"the CSR {error}") from error


def _leaf(csr: x509.CertificateSigningRequest, identity: str) -> x509.CertificateBuilder:
    """All that does not depend on who signs and when: the subject is empty, the name is the id."""
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        x509.CertificateBuilder(subject_name=x509.Name([]), public_key=csr.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(name, critical=True)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
