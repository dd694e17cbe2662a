"""Where the authority keeps what it must not forget: keys, roots, and how far a rotation is.

Below one directory, which only our own user may enter::

    state.json         roots that are trusted, and the state of the rotation
    ID.crt, ID.key     a root of our own making, by the beginning of its fingerprint

A file is replaced whole, and what refers to another file is written after it: whenever the
process is killed, what is found next time is of one piece.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from msgspec import Struct

from plait.base import pem, private
from plait.base.errors import AuthorityError
from plait.base.pem import UnreadableError
from plait.config.certificates import unusable
from plait.serve.ca import authority
from plait.serve.ca.authority import Key, Signer
from plait.serve.ca.rotation import State

_SHOWN: Final = 16  # digits of a fingerprint in the name of a file


class Kept(Struct, frozen=True, kw_only=True):
    """What is kept beside the keys.

    Attributes:
        roots: in PEM, by fingerprint: those of the state, and those that are trusted as well.
    """

    state: State
    roots: Mapping[str, str]


class Keyring:
    """The directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self) -> None:
        """Make the directory, for our user alone.

        Raises:
            AuthorityError: it cannot be used, or is somebody else's.
        """
        with _told(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._directory.stat().st_uid != os.geteuid():
                raise AuthorityError(
                    f"{self._directory} belongs to another user: "
                    "run plait as that one, or choose another directory with --data"
                )
            self._directory.chmod(0o700)

    def path(self, name: str) -> Path:
        """A file of that name in the directory."""
        return self._directory / name

    def load(self) -> Kept | None:
        """What was kept; None: nothing yet.

        Raises:
            AuthorityError: it cannot be read.
        """
        path = self.path("state.json")
        if not path.exists():
            return None
        try:
            return msgspec.json.decode(read(path), type=Kept)
        except msgspec.DecodeError as error:
            raise AuthorityError(
                f"{path} is damaged ({error}): restore it, or remove {self._directory} "
                "to begin with a new root, under which all certificates are given anew"
            ) from error

    def keep(self, kept: Kept) -> None:
        """Remember this.

        Raises:
            AuthorityError: it cannot be written.
        """
        write(self.path("state.json"), msgspec.json.encode(kept))

    def made(self, trust_domain: str, now: float) -> Signer:
        """A new root, with its key kept.

        Raises:
            AuthorityError: it cannot be written.
        """
        signer = authority.self_signed(trust_domain, now)
        root = authority.fingerprint(signer.certificate)
        write(self._key(root), _encoded(signer.key))
        write(self._key(root).with_suffix(".crt"), signer.root.encode())
        return signer

    def own(self) -> dict[str, Signer]:
        """The roots of our own making whose keys are here, by fingerprint.

        Raises:
            AuthorityError: one cannot be read.
        """
        found = {}
        with _told(self._directory):
            for path in sorted(self._directory.glob("*.crt")):
                if path.with_suffix(".key").exists():
                    signer = _read(path)
                    found[authority.fingerprint(signer.certificate)] = signer
        return found

    def destroy(self, root: str) -> None:
        """Remove a root of our own making and its key, if it is one."""
        for suffix in (".crt", ".key"):
            with contextlib.suppress(OSError):
                self._key(root).with_suffix(suffix).unlink()

    def _key(self, root: str) -> Path:
        return self.path(f"{root[:_SHOWN]}.key")


def write(path: Path, data: bytes) -> None:
    """Replace a file whole, durably, readable by our user alone.

    Raises:
        AuthorityError: it cannot be written.
    """
    with _told(path):
        private.write(path, data, lasting=True)


def read(path: Path) -> bytes:
    """A whole file; empty: there is none.

    Raises:
        AuthorityError: it cannot be read.
    """
    with _told(path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""


def key(data: bytes, path: Path) -> Key:
    """A private key in PEM, read from `path`.

    Raises:
        AuthorityError: it is none, or of a kind that cannot sign here.
    """
    try:
        found = pem.private_key(data)
    except UnreadableError as error:
        raise AuthorityError(f"{path} {error}") from error
    problem = unusable(found)
    if problem or not isinstance(found, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise AuthorityError(f"the key in {path} {problem}: nobody would trust what it signs")
    return found


def certificates(data: bytes, path: Path) -> tuple[x509.Certificate, ...]:
    """The certificates in PEM, read from `path`; at least one.

    Raises:
        AuthorityError: there is none, or one cannot be read.
    """
    try:
        return pem.certificates(data)
    except UnreadableError as error:
        raise AuthorityError(f"{path} {error}") from error


def _read(path: Path) -> Signer:
    secret = path.with_suffix(".key")
    certificate, *more = certificates(path.read_bytes(), path)
    if more:
        raise AuthorityError(f"{path} holds {len(more) + 1} certificates: leave the root's alone")
    found = key(secret.read_bytes(), secret)
    if found.public_key() != certificate.public_key():
        raise AuthorityError(f"{secret} is not the key of {path}: restore the one that belongs")
    return Signer(certificate=certificate, key=found, root=pem.text(certificate))


def _encoded(found: Key) -> bytes:
    return found.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the disk refuses is an error of the authority."""
    try:
        yield
    except OSError as error:
        raise AuthorityError(f"cannot use {error.filename or path}: {error.strerror}") from error
