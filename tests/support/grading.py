"""What testssl finds at a listener, and what of it is as it shall be."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.scale import count

TESTSSL = shutil.which("testssl") or shutil.which("testssl.sh")
CHECKS = ("-p", "-s", "-S") if count(0, 1) == 0 else ("-p", "-s", "-f", "-P", "-S", "-U")
"""Protocols, ciphers and certificates; with --long forward secrecy, order and known attacks too."""
SEVERE = ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN")
ACCEPTED = {
    "cert_chain_of_trust": "the authority is the mesh's own, which nobody else knows",
    "cert_trust": "the mesh's certificates name what clients ask for, in SANs alone",
    "cert_revocation": "certificates live for a day: they are renewed, not revoked",
    "cert_crlDistributionPoints": "as above",
    "cert_ocspURL": "as above",
    "OCSP_stapling": "as above",
    "DNS_CAArecord": "no public authority signs for these names",
    "cert_notAfter": "certificates live for a day",
    "cert_expirationStatus": "certificates live for a day",
    "cert_validityPeriod": "certificates live for a day",
    "cert_commonName": "names are in SANs alone, as RFC 9525 wants",
    "cert_commonName_wo_SNI": "as above",
    "cipher_order": "gRPC lets the client choose, among ciphers that are all good",
}
"""What testssl tells that is as it shall be, and why."""

_AGAIN = 4  # times that it is graded once more, at most

needs_testssl = pytest.mark.skipif(TESTSSL is None, reason="testssl is not installed")


def severe(address: str, root: str, directory: Path) -> dict[str, str]:
    """What is found at an address that is not accepted, by id; it must offer TLS 1.3.

    Args:
        address: ``host:port``.
        root: whom its certificate is from, in PEM.
        directory: for what is found.
    """
    roots = directory / "roots.pem"
    roots.write_text(root)
    told = graded(address, roots, directory / "found.json")
    for again in range(_AGAIN):
        # A check that did not get through says nothing.  One leaves before the ticket of TLS 1.3
        # is there, most of the time, and cannot come back with it.
        if not any("connect problem" in finding for finding in of_weight(told).values()):
            break
        told = graded(address, roots, directory / f"again{again}.json")
    assert {one["id"]: one["finding"] for one in told}["TLS1_3"].startswith("offered")
    return of_weight(told)


def of_weight(told: list[dict[str, str]]) -> dict[str, str]:
    """What is not accepted of the findings, by id."""
    return {
        one["id"]: one["finding"]
        for one in told
        if one["severity"] in SEVERE and one["id"].split(" ")[0] not in ACCEPTED
    }


def graded(address: str, roots: Path, found: Path) -> list[dict[str, str]]:
    """What testssl finds at an address."""
    options = ("--quiet", "--warnings", "batch", "--color", "0", "--nodns", "none")
    subprocess.run(
        [
            str(TESTSSL),
            *options,
            *("--add-ca", str(roots), "--jsonfile", str(found)),
            *CHECKS,
            address,
        ],
        capture_output=True,
        timeout=900,
        check=False,
    )
    told: list[dict[str, str]] = json.loads(found.read_text())
    return told
