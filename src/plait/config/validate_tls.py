"""Rules about settings of TLS, wherever they are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from plait.config import syntax
from plait.config.diagnostics import Severity
from plait.config.document import Path
from plait.config.finding import Finding, invalid, meant, shown
from plait.config.kinds.gateway import ServerTLSSettings
from plait.config.syntax import Findings

CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
)
"""Cipher suites of TLS 1.2 and below that Envoy knows; those of TLS 1.3 cannot be chosen."""
CURVES: Final = ("X25519MLKEM768", "X25519", "P-256", "P-384", "P-521")
"""Groups of the key exchange that Envoy knows."""

_KEY: Final = re.compile(r"[A-Za-z0-9+/]{43}=")
_HASH: Final = re.compile(r"[0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31}")
_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9_.]{0,253}[a-z0-9])?")


def strength(ciphers: Sequence[str], curves: Sequence[str], path: Path) -> Findings:
    """Cipher suites and groups that Envoy knows, each written once; `path` leads to their block."""
    yield from _listed(ciphers, CIPHERS, (*path, "cipherSuites"), "cipher suite")
    yield from _listed(curves, CURVES, (*path, "ecdhCurves"), "group")


def unread_list(path: Path, beside: str) -> Finding:
    """A list of revoked certificates that is not read."""
    return Finding(
        code="PLT1007",
        severity=Severity.WARNING,
        path=path,
        message=f"this field is not looked at beside {beside}",
        hint="with credentialName write ca.crl into the Secret, with files caCertificates",
    )


def digests(tls: ServerTLSSettings, path: Path) -> Findings:
    """SHA-256 of public keys and of certificates, as Envoy reads them."""
    for i, value in enumerate(tls.verify_certificate_spki):
        if not _KEY.fullmatch(value):
            hint = "SHA-256 in base64, 44 characters"
            yield invalid((*path, "verifyCertificateSpki", i), f"{shown(value)} is no digest", hint)
    for i, value in enumerate(tls.verify_certificate_hash):
        if not _HASH.fullmatch(value):
            hint = "SHA-256 in hexadecimal digits, with or without colons"
            yield invalid((*path, "verifyCertificateHash", i), f"{shown(value)} is no digest", hint)


def trust_domain(value: str, path: Path) -> Findings:
    """A trust domain as SPIFFE has it."""
    if not _DOMAIN.fullmatch(value):
        hint = "lower-case letters, digits, -, _ and ., such as cluster.local"
        yield invalid(path, f"{shown(value)} is no trust domain", hint)


def _listed(values: Sequence[str], known: Sequence[str], path: Path, what: str) -> Findings:
    for i, value in enumerate(values):
        if value not in known:
            hint = meant(value, known) or f"one of {', '.join(known)}"
            yield invalid((*path, i), f"{shown(value)} is no {what} of Envoy", hint)
    yield from syntax.unique(((value, (*path, i)) for i, value in enumerate(values)), what)
