"""What is wrong with certificates and keys in PEM; no answer shows any of their bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from plait.base import pem
from plait.base.pem import UnreadableError

PEM: Final = b"-----BEGIN "
"""How every text in PEM begins."""

_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_SHORTEST: Final = 2048  # bits of an RSA key, else Envoy refuses it


def broken_certificate(text: bytes) -> str:
    """Why certificates cannot be shown or trusted, as ``is not …``; empty: they can."""
    if not text.strip():
        return "is empty"
    try:
        pem.certificates(text)
    except UnreadableError as error:
        return str(error)
    return ""


def broken_key(key: bytes, certificate: bytes) -> str:
    """Why a private key is no use with a good certificate, as ``is not …``; empty: it is."""
    if not key.strip():
        return "is empty"
    try:
        found = pem.private_key(key)
    except UnreadableError as error:
        return str(error)
    if problem := unusable(found):
        return problem
    first = pem.certificates(certificate)[0]
    return "" if first.public_key() == found.public_key() else "does not fit the certificate"


def unusable(found: Any) -> str:
    """Why Envoy cannot use a private key, as ``is not …``; empty: it can."""
    match found:
        case rsa.RSAPrivateKey():
            if found.key_size < _SHORTEST:
                return f"has {found.key_size} bits, and Envoy takes {_SHORTEST} and up"
        case ec.EllipticCurvePrivateKey():
            if not isinstance(found.curve, _CURVES):
                return "is on a curve that Envoy does not know: it takes P-256, P-384 and P-521"
        case _:
            return "is of a kind that Envoy does not know: it takes RSA and ECDSA"
    return ""


def broken_revocations(text: bytes) -> str:
    """Why a list of revoked certificates cannot be used, as ``is not …``; empty: it can."""
    try:
        pem.revocations(text)
    except UnreadableError as error:
        return str(error)
    return ""


def outdated(text: bytes) -> str:
    """What the time says against the first of good certificates, as ``has …``; empty: nothing."""
    first, now = pem.certificates(text)[0], datetime.now(UTC)
    if now > first.not_valid_after_utc:
        return f"has expired on {first.not_valid_after_utc:%Y-%m-%d}"
    if now < first.not_valid_before_utc:
        return f"is not valid before {first.not_valid_before_utc:%Y-%m-%d}"
    return ""
