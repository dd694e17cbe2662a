"""An authority of the user's own: a directory with Istio's four files, followed as they change.

::

    ca-cert.pem      the certificate that signs: a root, or an intermediate
    ca-key.pem       its key
    cert-chain.pem   from the signing certificate up to below the root; may be absent for a root
    root-cert.pem    the root; others in it are trusted as well
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from msgspec import Struct

from plait.base import pem
from plait.base.errors import AuthorityError
from plait.base.pem import UNREADABLE
from plait.serve.ca import authority, keyring
from plait.serve.ca.authority import Signer

CERTIFICATE: Final = "ca-cert.pem"
KEY: Final = "ca-key.pem"
CHAIN: Final = "cert-chain.pem"
ROOT: Final = "root-cert.pem"
_LONGEST_CHAIN: Final = 8
_LARGEST: Final = 1_000_000  # bytes of a file


class Plugged(Struct, frozen=True, kw_only=True):
    """What the directory holds.

    Attributes:
        roots: all that are trusted, in PEM, that of the signer first.
    """

    signer: Signer
    roots: tuple[str, ...]


def read(directory: Path, now: float) -> Plugged:
    """What the directory holds.

    Raises:
        AuthorityError: it does not fit together; the message names the file.
    """
    signing, *_ = _certificates(directory / CERTIFICATE)
    _check(signing, directory / CERTIFICATE, now)
    key = keyring.key(_bytes(directory / KEY), directory / KEY)
    if key.public_key() != signing.public_key():
        raise AuthorityError(f"{directory / KEY} is not the key of {directory / CERTIFICATE}")
    roots = _certificates(directory / ROOT)
    between = _certificates(directory / CHAIN) if (directory / CHAIN).exists() else ()
    intermediates, root = _path(signing, between, roots, directory)
    for one in intermediates[1:]:
        _check(one, directory / CHAIN, now)
    _check(root, directory / ROOT, now)
    signer = Signer(
        certificate=signing,
        key=key,
        intermediates=tuple(pem.text(one) for one in intermediates),
        root=pem.text(root),
    )
    others = tuple(pem.text(one) for one in roots if one != root)
    return Plugged(signer=signer, roots=(signer.root, *dict.fromkeys(others)))


def mark(directory: Path) -> tuple[object, ...]:
    """Changes when a file does; links, as Kubernetes makes them, are followed."""
    found: list[object] = []
    for name in (CERTIFICATE, KEY, CHAIN, ROOT):
        try:
            told = (directory / name).stat()
        except OSError as error:
            found.append((name, error.errno))
        else:
            found.append((name, told.st_ino, told.st_size, told.st_mtime_ns))
    return tuple(found)


def _path(
    signing: x509.Certificate,
    between: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    directory: Path,
) -> tuple[list[x509.Certificate], x509.Certificate]:
    """From the signing certificate up: the intermediates and the root."""
    found: list[x509.Certificate] = []
    now = signing
    while now not in roots:
        found.append(now)
        above = [one for one in (*roots, *between) if one != now and _signed(now, by=one)]
        if not above or len(found) > _LONGEST_CHAIN:
            raise AuthorityError(
                f"{directory / CHAIN} does not lead from {CERTIFICATE} to a root in {ROOT}: "
                f'nothing there signed "{now.subject.rfc4514_string()}"'
            )
        now = above[0]
    return found, now


def _signed(certificate: x509.Certificate, *, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _check(certificate: x509.Certificate, path: Path, now: float) -> None:
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        is_authority = basic.value.ca
    except (x509.ExtensionNotFound, *UNREADABLE):
        is_authority = False
    if not is_authority:
        raise AuthorityError(f"{path} is not the certificate of an authority (CA:TRUE)")
    if not _may_sign(certificate):
        raise AuthorityError(f"the certificate in {path} is for no signing (keyUsage keyCertSign)")
    if authority.beginning(certificate) > now:
        raise AuthorityError(f"the certificate in {path} is not valid yet: put it there later")
    if authority.expiry(certificate) <= now:
        raise AuthorityError(f"the certificate in {path} has expired: put a new one there")


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether it may sign certificates; one that does not say what it is for may."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.key_cert_sign


def _certificates(path: Path) -> tuple[x509.Certificate, ...]:
    return keyring.certificates(_bytes(path), path)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise AuthorityError(f"cannot read {path}: {error.strerror}") from error
