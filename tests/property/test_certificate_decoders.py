"""Certificates, requests and keys that are nearly right: no reader breaks, whoever wrote them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.agent import certfiles, identity
from plait.base import pem
from plait.base.errors import AuthorityError, BadRequestError
from plait.config import credentials
from plait.serve.ca import authority, keyring, plugged
from tests.support.issuing import Authority, csr, plug, private, text, uri
from tests.support.scale import count

# a serial number below one, a name of an odd length: allowed, with a warning
pytestmark = [
    pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Attribute's length"),
]

MANY = settings(max_examples=count(150, 10_000), deadline=None)
NOW = 1_700_000_000.0
ME = "spiffe://cluster.local/ns/demo/sa/web"
SIGNER = Authority("root", now=datetime.fromtimestamp(NOW, UTC))
ROOT = authority.self_signed("cluster.local", NOW)
KEY = private()
ISSUED = authority.issue(ROOT, authority.checked(csr([uri(ME)], KEY)), ME, 3600, NOW).chain[0]
REVOKED = (
    x509.CertificateRevocationListBuilder()
    .issuer_name(x509.Name([]))
    .last_update(datetime(2023, 1, 1, tzinfo=UTC))
    .next_update(datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=1))
    .sign(KEY, hashes.SHA256())
    .public_bytes(serialization.Encoding.PEM)
)


def damaged(pem: bytes | str) -> st.SearchStrategy[bytes]:
    """PEM around bytes of which some were replaced, left out or put in."""
    lines = (pem.encode() if isinstance(pem, str) else pem).splitlines(keepends=True)
    whole = base64.b64decode(b"".join(lines[1:-1]))

    def write(edits: list[tuple[int, bytes, int]]) -> bytes:
        found = bytearray(whole)
        for place, put, left in edits:
            at = place % len(whole)
            found[at : at + left] = put
        return lines[0] + base64.encodebytes(bytes(found)) + lines[-1]

    one = st.binary(min_size=1, max_size=1)
    same_length = st.tuples(st.integers(0, 2000), one, st.just(1))
    other_length = st.tuples(st.integers(0, 2000), st.binary(max_size=3), st.integers(0, 3))
    return st.lists(same_length | other_length, min_size=1, max_size=3).map(write)


@MANY
@given(damaged(csr([uri(ME)], KEY)))
def test_requests_are_granted_to_whom_was_attested_or_refused(data: bytes):
    try:
        request = authority.checked(data.decode())
        issued = authority.issue(ROOT, request, ME, 3600, NOW)
    except BadRequestError:
        return
    found = x509.load_pem_x509_certificate(issued.chain[0].encode())

    assert pem.uri(found) == ME


@MANY
@given(damaged(ISSUED))
def test_certificates_that_came_are_somebodys_or_unfit(data: bytes):
    only(partial(identity.parsed, (data.decode(),)), identity.UnfitError)
    only(partial(identity.is_under, (ISSUED,), data.decode()), identity.UnfitError)
    only(partial(identity.is_under, (data.decode(),), ROOT.root), identity.UnfitError)
    chain = (data.decode(), ROOT.root)
    only(
        partial(identity.accepted, KEY, chain, account="/ns/demo/sa/web", seconds=60, now=NOW),
        identity.UnfitError,
    )
    kept = identity.Identity(
        key=text(KEY).decode(), chain=(data.decode(),), received=NOW, seconds=60
    )
    only(partial(identity.restored, kept, account="/ns/demo/sa/web"), identity.UnfitError)


@MANY
@given(damaged(text(KEY)))
def test_keys_that_were_kept_are_keys_or_unfit(data: bytes):
    kept = identity.Identity(key=data.decode(), chain=(ISSUED,), received=NOW, seconds=60)
    only(partial(identity.restored, kept, account="/ns/demo/sa/web"), identity.UnfitError)
    only(partial(keyring.key, data, Path("ca-key.pem")), AuthorityError)


@MANY
@given(damaged(ISSUED), damaged(text(KEY)), damaged(REVOKED))
def test_files_and_secrets_hold_credentials_or_say_what_is_wrong(
    leaf: bytes, key: bytes, revoked: bytes
):
    for chain, private_key in ((leaf, text(KEY)), (ISSUED.encode(), key)):
        values = {"tls.crt": chain, "tls.key": private_key, "ca.crt": leaf, "ca.crl": revoked}
        credentials.pair(values)
        credentials.roots(values)
        list(credentials.flaws(values))
        list(credentials.warnings(values))
        files = {"a": chain, "b": private_key}
        lists = {"a": ISSUED.encode(), "b": revoked}
        only(partial(certfiles.secret, "file-cert:a~b", files.__getitem__), ValueError)
        only(partial(certfiles.secret, "file-root:a", files.__getitem__), ValueError)
        only(partial(certfiles.secret, "file-root:a~b", lists.__getitem__), ValueError)


@MANY
@given(damaged(SIGNER.pem), damaged(text(SIGNER.key)))
def test_an_authority_is_plugged_in_or_says_what_is_wrong(
    tmp_path_factory: pytest.TempPathFactory, root: bytes, key: bytes
):
    directory = tmp_path_factory.getbasetemp() / "plugged"
    for name, data in (("ca-cert.pem", root), ("ca-key.pem", key), ("root-cert.pem", root)):
        plug(directory, SIGNER)
        (directory / name).write_bytes(data)
        only(partial(plugged.read, directory, NOW), AuthorityError)


def only(read: Callable[[], Any], *errors: type[Exception]) -> None:
    try:
        read()
    except errors:
        return


def test_what_is_damaged_here_is_good_before(tmp_path: Path):
    values = {"tls.crt": ISSUED.encode(), "tls.key": text(KEY), "ca.crt": ISSUED.encode()}
    assert isinstance(credentials.pair(values), credentials.Pair)
    assert isinstance(credentials.roots({**values, "ca.crl": REVOKED}), credentials.Roots)
    assert identity.parsed((ISSUED,))
    plug(tmp_path, SIGNER)
    assert plugged.read(tmp_path, NOW).signer.certificate == SIGNER.certificate
