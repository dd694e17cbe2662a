"""Rules about settings of TLS, wherever they are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from plait.config import syntax
from plait.config.document import Path
from plait.config.finding import invalid, meant, shown
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

_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9_.]{0,253}[a-z0-9])?")


def strength(ciphers: Sequence[str], curves: Sequence[str], path: Path) -> Findings:
    """Cipher suites and groups that Envoy knows, each written once; `path` leads to their block."""
    yield from _listed(ciphers, CIPHERS, (*path, "cipherSuites"), "cipher suite")
    yield from _listed(curves, CURVES, (*path, "ecdhCurves"), "group")


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
