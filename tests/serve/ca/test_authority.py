"""Issuing: whatever is asked for, the certificate is of the identity that was attested."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plait.base.errors import AuthorityError, BadRequestError
from plait.config import validate_tls
from plait.serve.ca import authority, spiffe
from plait.serve.ca.spiffe import Identity
from tests.support import scale
from tests.support.issuing import Authority, csr, names, private, uri

NOW = 1_700_000_000.0
ME = "spiffe://cluster.local/ns/demo/sa/web"
ROOT = authority.self_signed("cluster.local", NOW)
KEY = private()
SIGNED = csr([uri(ME)], KEY)
MANY = scale.count(50, 1000)
NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
DOMAIN = st.from_regex(r"[a-z0-9]([-a-z0-9_.]{0,20}[a-z0-9])?", fullmatch=True)
IDENTITY = st.builds(Identity, trust_domain=DOMAIN, namespace=NAME, account=NAME).map(str)
FOREIGN = st.one_of(
    IDENTITY.filter(lambda name: name != ME).map(uri),
    NAME.map(x509.DNSName),
    NAME.map(lambda name: x509.RFC822Name(f"{name}@example.com")),
    st.just(x509.IPAddress(ip_address("10.0.0.1"))),
)


def issued(text: str, identity: str = ME, seconds: float = 3600.0, now: float = NOW):
    return authority.issue(ROOT, authority.checked(text), identity, seconds, now)


@settings(max_examples=MANY, deadline=None)
@given(identity=IDENTITY, is_named=st.booleans())
def test_a_certificate_names_exactly_the_identity_that_was_attested(identity, is_named):
    found = issued(csr([uri(identity)] if is_named else [], KEY), identity)

    assert [uri(identity)] == names(found.chain[0])
    assert identity == str(spiffe.parse(identity))


@example("my_mesh.example")
@given(DOMAIN)
def test_every_trust_domain_that_may_be_set_has_identities(domain: str):
    identity = Identity(trust_domain=domain, namespace="demo", account="web")

    assert not list(validate_tls.trust_domain(domain, ()))
    assert spiffe.parse(str(identity)) == identity


@settings(max_examples=MANY, deadline=None)
@given(st.lists(FOREIGN, min_size=1, max_size=3), st.booleans())
def test_a_request_with_any_other_name_is_refused(foreign, is_named_too):
    text = csr([*foreign, *([uri(ME)] if is_named_too else [])], KEY)

    with pytest.raises(BadRequestError, match="alternative names"):
        issued(text)


def test_naming_the_identity_twice_is_refused():
    with pytest.raises(BadRequestError, match="2 alternative names"):
        issued(csr([uri(ME), uri(ME)], KEY))


@settings(max_examples=MANY, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin1")))
def test_garbage_is_refused(text):
    with pytest.raises(BadRequestError):
        authority.checked(text)


@settings(max_examples=MANY, deadline=None)
@given(st.data())
def test_a_damaged_request_never_gives_another_identity(data):
    place = data.draw(st.integers(30, len(SIGNED) - 30))
    damaged = SIGNED[:place] + data.draw(st.characters(codec="ascii")) + SIGNED[place + 1 :]

    try:
        found = issued(damaged)
    except BadRequestError:
        return
    assert [uri(ME)] == names(found.chain[0])


def test_two_requests_in_one_text_are_refused():
    with pytest.raises(BadRequestError, match="one CERTIFICATE REQUEST"):
        authority.checked(csr(key=KEY) + csr(key=KEY))


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP521R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa", "p521", "k1", "ed25519"],
)
def test_other_kinds_of_keys_are_refused(key):
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, digest)

    with pytest.raises(BadRequestError, match="P-256 or P-384"):
        authority.checked(made.public_bytes(serialization.Encoding.PEM).decode())


def test_a_request_for_somebody_elses_key_is_refused():
    mine = x509.load_pem_x509_csr(csr(key=KEY).encode())
    der = mine.public_bytes(serialization.Encoding.DER)
    theirs = (
        private()
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    own = KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    stolen = x509.load_der_x509_csr(der.replace(own, theirs))

    with pytest.raises(BadRequestError, match="own key"):
        authority.checked(stolen.public_bytes(serialization.Encoding.PEM).decode())


def test_what_else_a_request_asks_for_is_not_copied():
    made = (
        x509.CertificateSigningRequestBuilder(
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "admin")])
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(KEY, hashes.SHA256())
    )
    text = made.public_bytes(serialization.Encoding.PEM).decode()

    found = x509.load_pem_x509_certificate(issued(text).chain[0].encode())

    assert not list(found.subject)
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_certificate_serves_both_ends_and_its_name_is_critical():
    found = x509.load_pem_x509_certificate(issued(csr(key=KEY)).chain[0].encode())
    uses = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} == set(uses)
    assert found.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    found.verify_directly_issued_by(ROOT.certificate)


def test_clocks_an_hour_apart_agree_that_a_certificate_has_begun():
    found = issued(csr(key=KEY), now=NOW)

    assert found.not_before <= NOW - 3600
    assert authority.beginning(ROOT.certificate) <= NOW - 3600
    assert found.not_after == NOW + 3600


def test_a_certificate_ends_with_that_of_its_signer_at_the_latest():
    end = authority.expiry(ROOT.certificate)

    assert end == issued(csr(key=KEY), now=end - 60).not_after
    with pytest.raises(AuthorityError, match="has expired"):
        issued(csr(key=KEY), now=end)


def test_openssl_verifies_a_chain_with_an_intermediate(tmp_path: Path):
    now = datetime.now(UTC)
    root = Authority("root", now=now)
    signer = Authority("intermediate", root, now=now)
    made = authority.Signer(
        certificate=signer.certificate, key=signer.key, intermediates=(signer.pem,), root=root.pem
    )
    found = authority.issue(made, authority.checked(csr(key=KEY)), ME, 60, now.timestamp())
    for name, content in zip(("leaf", "between", "root"), found.chain, strict=True):
        (tmp_path / name).write_text(content)

    command = ["openssl", "verify", "-CAfile", "root", "-untrusted", "between", "leaf"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert "leaf: OK" in done.stdout, done.stderr


def test_openssl_verifies_a_certificate_under_our_root_strictly(tmp_path: Path):
    now = datetime.now(UTC)
    root = authority.self_signed("cluster.local", now.timestamp())
    found = authority.issue(root, authority.checked(csr(key=KEY)), ME, 60, now.timestamp())
    for name, content in zip(("leaf", "root"), found.chain, strict=True):
        (tmp_path / name).write_text(content)

    for purpose in ("sslserver", "sslclient"):
        command = ["openssl", "verify", "-x509_strict", "-CAfile", "root", "-purpose", purpose]
        done = subprocess.run([*command, "leaf"], cwd=tmp_path, capture_output=True, text=True)
        assert "leaf: OK" in done.stdout, done.stderr


def test_no_key_is_in_what_is_printed():
    assert repr(ROOT) == "Signer(CN=plait root,O=cluster.local)"
