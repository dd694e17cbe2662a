"""What of a Secret is shown in a handshake, and whom it makes trusted, by the names Istio reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from plait.config import certificates

PAIRS: Final = (("tls.crt", "tls.key"), ("cert", "key"))
"""Names of a certificate and its key, those of Kubernetes first."""
ROOTS: Final = ("ca.crt", "cacert")
"""Names of certificates under which others are trusted."""
REVOKED: Final = "ca.crl"


class Pair(Struct, frozen=True, kw_only=True):
    """A certificate with its chain, and its private key, which printing never shows."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        """Nothing of it."""
        return "Pair(…)"


class Roots(Struct, frozen=True, kw_only=True):
    """Certificates to trust, and those among what they issued that are revoked."""

    certificates: bytes
    revoked: bytes = b""


class Flaw(Struct, frozen=True):
    """What is wrong with the value of a name; `problem` reads on from the name."""

    name: str
    problem: str


def pair(values: Mapping[str, bytes]) -> Pair | Flaw:
    """The certificate and key among the values of a Secret."""
    for first, second in PAIRS:
        certificate, key = values.get(first), values.get(second)
        if certificate is None and key is None:
            continue
        if problem := certificates.broken_certificate(certificate or b""):
            return Flaw(first, problem if certificate is not None else "is missing")
        if problem := certificates.broken_key(key or b"", certificate or b""):
            return Flaw(second, problem if key is not None else "is missing")
        return Pair(certificate=certificate or b"", key=key or b"")
    return Flaw("tls.crt", "is missing")


def roots(values: Mapping[str, bytes]) -> Roots | Flaw:
    """The certificates to trust among the values of a Secret."""
    for name in ROOTS:
        if name in values:
            if problem := certificates.broken_certificate(values[name]):
                return Flaw(name, problem)
            revoked = values.get(REVOKED, b"")
            if revoked and (problem := certificates.broken_revocations(revoked)):
                return Flaw(REVOKED, problem)
            return Roots(certificates=values[name], revoked=revoked)
    return Flaw("ca.crt", "is missing")


def flaws(values: Mapping[str, bytes]) -> Iterator[Flaw]:
    """What is wrong with values that are certificates and keys beyond doubt.

    ``tls.crt`` and ``tls.key`` always are, unless both are empty, and so is what is to be trusted
    beside them; other names are where one of their values is in PEM.
    """
    beside = any(values.get(name) for name in PAIRS[0])
    for names in PAIRS:
        texts = [values[name] for name in names if name in values]
        certain = any(texts) if names == PAIRS[0] else any(certificates.PEM in t for t in texts)
        if certain and isinstance(
            found := pair({n: values[n] for n in names if n in values}), Flaw
        ):
            yield found
    trusted = [values.get(name, b"") for name in ROOTS]
    if any(certificates.PEM in text for text in trusted) or (beside and any(trusted)):
        found_roots = roots(values)
        if isinstance(found_roots, Flaw):
            yield found_roots


def warnings(values: Mapping[str, bytes]) -> Iterator[Flaw]:
    """What is wrong with good certificates by the calendar."""
    for name in ("tls.crt", "cert", *ROOTS):
        text = values.get(name, b"")
        if certificates.PEM in text and not certificates.broken_certificate(text):
            problem = certificates.outdated(text)
            if problem:
                yield Flaw(name, problem)
