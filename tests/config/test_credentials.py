"""Which values of a Secret are certificates and keys, and what is wrong with them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from plait.config import codec, credentials
from plait.config.credentials import Flaw, Pair, Roots
from plait.config.meta import Key
from plait.config.ports import Change
from tests.support.pki import DAY, Authority
from tests.support.stores import Said, running

AUTHORITY = Authority()
GOOD, OTHER = AUTHORITY.issue("a.example"), AUTHORITY.issue("b.example")
CERTIFICATE, KEY, ROOT = GOOD.chain.encode(), GOOD.key.encode(), AUTHORITY.root.encode()


def pem(key: object, hidden: KeySerializationEncryption | None = None) -> bytes:
    made: bytes = key.private_bytes(  # type: ignore[attr-defined]
        Encoding.PEM, PrivateFormat.PKCS8, hidden or NoEncryption()
    )
    return made


def test_a_pair_is_found_by_the_names_of_kubernetes_and_of_istio():
    found = Pair(certificate=CERTIFICATE, key=KEY)

    assert credentials.pair({"tls.crt": CERTIFICATE, "tls.key": KEY}) == found
    assert credentials.pair({"cert": CERTIFICATE, "key": KEY}) == found
    assert GOOD.key.splitlines()[1] not in repr(found)


@pytest.mark.parametrize(
    ("values", "name", "problem"),
    [
        ({}, "tls.crt", "is missing"),
        ({"tls.crt": CERTIFICATE}, "tls.key", "is missing"),
        ({"tls.key": KEY}, "tls.crt", "is missing"),
        ({"cert": b" ", "key": KEY}, "cert", "is empty"),
        ({"cert": b"x", "key": KEY}, "cert", "is not a certificate in PEM"),
        ({"cert": CERTIFICATE[:-60], "key": KEY}, "cert", "is not a certificate in PEM"),
        ({"cert": CERTIFICATE, "key": CERTIFICATE}, "key", "is not a private key in PEM"),
        ({"cert": CERTIFICATE, "key": OTHER.key.encode()}, "key", "does not fit the certificate"),
        (
            {"cert": CERTIFICATE, "key": pem(ed25519.Ed25519PrivateKey.generate())},
            "key",
            "is of a kind that Envoy does not know: it takes RSA and ECDSA",
        ),
        (
            {"cert": CERTIFICATE, "key": pem(ec.generate_private_key(ec.SECP256K1()))},
            "key",
            "is on a curve that Envoy does not know: it takes P-256, P-384 and P-521",
        ),
        (
            {"cert": CERTIFICATE, "key": pem(rsa.generate_private_key(65537, 1024))},
            "key",
            "has 1024 bits, and Envoy takes 2048 and up",
        ),
        (
            {
                "cert": CERTIFICATE,
                "key": pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"p")),
            },
            "key",
            "is protected by a password, and nobody could give it",
        ),
    ],
)
def test_what_is_wrong_with_a_pair_is_said_by_name(values, name, problem):
    assert credentials.pair(values) == Flaw(name, problem)


def test_roots_are_found_by_either_name():
    assert credentials.roots({"ca.crt": ROOT}) == Roots(certificates=ROOT)
    assert credentials.roots({"cacert": ROOT}) == Roots(certificates=ROOT)
    assert credentials.roots({}) == Flaw("ca.crt", "is missing")
    assert credentials.roots({"cacert": b"x"}) == Flaw("cacert", "is not a certificate in PEM")
    assert credentials.roots({"ca.crt": ROOT, "ca.crl": b"x"}) == Flaw(
        "ca.crl", "is not a list of revoked certificates in PEM"
    )


@pytest.mark.parametrize(
    "values",
    [
        {"tls.crt": b"", "tls.key": b""},  # as cert-manager writes it before there is one
        {"cert": b"of an orchestra", "key": b"of a piano"},
        {"ca.crt": b"not in PEM", "token": b"x"},
        {"tls.crt": CERTIFICATE, "tls.key": KEY, "ca.crt": ROOT},
        {"tls.crt": CERTIFICATE, "tls.key": KEY, "ca.crt": b""},  # cert-manager's, without one
    ],
)
def test_what_may_be_something_else_is_no_mistake(values):
    assert list(credentials.flaws(values)) == []


def test_what_is_a_certificate_beyond_doubt_must_be_good():
    assert list(credentials.flaws({"tls.crt": b"x", "tls.key": b""})) == [
        Flaw("tls.crt", "is not a certificate in PEM")
    ]
    assert list(credentials.flaws({"cert": CERTIFICATE, "key": b"x", "cacert": ROOT[:-60]})) == [
        Flaw("key", "is not a private key in PEM"),
        Flaw("cacert", "is not a certificate in PEM"),
    ]
    assert list(credentials.flaws({"tls.crt": CERTIFICATE, "tls.key": KEY, "ca.crt": b"x"})) == [
        Flaw("ca.crt", "is not a certificate in PEM")
    ]


def test_certificates_that_are_not_valid_now_are_named():
    old = AUTHORITY.issue("a", valid=(-3 * DAY, -2 * DAY)).chain.encode()
    young = AUTHORITY.issue("a", valid=(timedelta(days=2), 3 * DAY)).chain.encode()

    (expired,) = credentials.warnings({"tls.crt": old, "ca.crt": ROOT})
    (early,) = credentials.warnings({"cert": young})

    assert expired.problem.startswith("has expired on ")
    assert early.problem.startswith("is not valid before ")


def test_an_expired_certificate_is_in_force_with_a_warning():
    old = AUTHORITY.issue("a", valid=(-3 * DAY, -2 * DAY))

    found = codec.decode(document(old.chain, old.key))

    assert isinstance(found, Change)
    assert found.object is not None
    assert [one.code for one in found.problems] == ["PLT1012"]


def document(certificate: str, key: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a", "namespace": "demo"},
        "stringData": {"tls.crt": certificate, "tls.key": key},
    }


def test_the_last_good_certificate_of_a_file_stays_in_force_also_after_a_restart(tmp_path):
    async def story() -> None:
        for documents in ((GOOD.chain, GOOD.key), (GOOD.chain, "x")), ((GOOD.chain, "x"),):
            source = Said()
            async with running(tmp_path, source) as store:
                for texts in documents:
                    await source.say(document(*texts))
                record = store.record(Key("", "Secret", "demo", "a"))
                assert record is not None
                assert record.object is not None
                assert record.object.spec.values["tls.key"] == KEY
                (problem,) = record.problems
                assert "tls.key is not a private key in PEM" in str(problem)

    asyncio.run(story())
