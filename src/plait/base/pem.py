"""Certificates, requests and keys in PEM, of whoever wrote them: they can be read, or it is said.

`cryptography` reads some parts only when they are asked for, and raises several kinds of error.
Here what is asked of all of them later is read at once, and there is one error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from plait.base.errors import PlaitError

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What looking at the extensions of a certificate or request may raise, and verifying one."""


class UnreadableError(PlaitError):
    """As ``is not …``, to be put behind the name of the text; nothing of its content is told."""


def certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates, in their order; at least one.  Keys, times and subjects can be read.

    Raises:
        UnreadableError: there is none, or one cannot be read.
    """
    with _told("is not a certificate in PEM"):
        found = tuple(x509.load_pem_x509_certificates(data))
        for one in found:
            one.public_key()
            _ = one.not_valid_before_utc, one.not_valid_after_utc, one.subject
    return found


def private_key(data: bytes) -> PrivateKeyTypes:
    """The private key, of whatever kind.

    Raises:
        UnreadableError: it is none, or wants a password.
    """
    with _told("is not a private key in PEM"):
        try:
            return load_pem_private_key(data, None)
        except TypeError:
            raise UnreadableError("is protected by a password, and nobody could give it") from None


def request(data: bytes) -> x509.CertificateSigningRequest:
    """The request for a certificate, whose key can be read; who signed it is not looked at.

    Raises:
        UnreadableError: it is none.
    """
    with _told("is not a request for a certificate in PEM"):
        found = x509.load_pem_x509_csr(data)
        found.public_key()
    return found


def revocations(data: bytes) -> x509.CertificateRevocationList:
    """The list of revoked certificates.

    Raises:
        UnreadableError: it is none.
    """
    with _told("is not a list of revoked certificates in PEM"):
        return x509.load_pem_x509_crl(data)


def alternative_names(
    found: x509.Certificate | x509.CertificateSigningRequest,
) -> tuple[x509.GeneralName, ...]:
    """The names that a certificate is for, or that a request asks for; none: empty.

    Raises:
        UnreadableError: the extensions cannot be read.
    """
    with _told("has extensions that cannot be read"):
        try:
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return ()
    return tuple(names.value)


def uri(certificate: x509.Certificate) -> str:
    """The only name of a certificate, if it is a URI, as SPIFFE ids are; empty: it is not."""
    try:
        names = alternative_names(certificate)
    except UnreadableError:
        return ""
    match names:
        case (x509.UniformResourceIdentifier(value=name),):
            return name
        case _:
            return ""


def text(certificate: x509.Certificate) -> str:
    """A certificate as text."""
    return certificate.public_bytes(Encoding.PEM).decode()


@contextmanager
def _told(problem: str) -> Iterator[None]:
    """One error; the words of the library's own may hold parts of the text."""
    try:
        yield
    except UNREADABLE:
        raise UnreadableError(problem) from None
