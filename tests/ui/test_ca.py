"""The verbs of the certificate authority, over a real control plane."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.support.certifying import asked, refused
from tests.support.issuing import Authority, names, plug, uri
from tests.support.plane import Plane, PlaneEndedError

BILLING = "spiffe://cluster.local/ns/demo/sa/billing"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with Plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


def token(plane: Plane) -> str:
    create = ("token", "create", "-n", "demo", "--service-account", "billing", "--ttl", "10m")
    return plane.run(*create).strip()


def roots(plane: Plane) -> list[str]:
    page = json.loads(plane.run("ca", "status", "-o", "json"))
    return [root["fingerprint"] for root in page["roots"]]


def test_a_rotation_ends_with_another_root(plane: Plane):
    before = roots(plane)
    said = plane.run("ca", "rotate", "--wait")
    after = roots(plane)

    assert len(after) == len(before) == 1
    assert before != after
    assert "1 of 3" in said
    assert said.endswith("no rotation\n")
    assert after[0][:16] in plane.run("ca", "status")


def test_the_roots_are_printed_to_know_the_mesh_by(plane: Plane):
    found = x509.load_pem_x509_certificates(plane.run("ca", "roots").encode())

    assert [one.fingerprint(hashes.SHA256()).hex() for one in found] == roots(plane)


def test_what_cannot_be_aborted_is_one_line(plane: Plane):
    said = plane.run("ca", "rotate", "--abort", ok=False)

    assert said == "error: no rotation is under way\n"
    assert "not both" in plane.run("ca", "rotate", "--abort", "--force", ok=False)


def test_a_token_lets_a_machine_join_once_and_its_certificate_is_shown(plane: Plane):
    made = token(plane)
    identifier, secret = made.removeprefix("plait-").split(".")
    chain = asyncio.run(asked(plane.xds, {"Proxy": "sidecar~1~vm.demo~x"}, token=made))
    code, _ = asyncio.run(refused(asked(plane.xds, token=made)))
    listed = plane.run("token", "list")

    assert [uri(BILLING)] == names(chain[0])
    assert code == "UNAUTHENTICATED"
    assert re.search(rf"{identifier} +join +demo/billing .* ago", listed)
    wide = plane.run("cert", "-o", "wide")
    assert re.search(rf"vm.demo +{BILLING} .* OK +no", wide)
    assert roots(plane)[0][:16] in wide
    [shown] = json.loads(plane.run("cert", "vm.demo", "-o", "json"))
    assert (shown["identity"], shown["state"]) == (BILLING, "OK")
    for output in (listed, wide, plane.log.read_text(), plane.get("/plait/v1/ca/tokens")[1]):
        assert secret not in str(output)


def test_whom_a_rotation_waits_for_is_named_as_elsewhere(plane: Plane):
    asyncio.run(asked(plane.xds, {"Proxy": "sidecar~1~away.demo~x"}, token=token(plane)))
    plane.run("ca", "rotate")
    said = plane.run("ca", "status")
    plane.run("ca", "rotate", "--abort")

    assert "away.demo (is not connected" in said
    assert "sidecar~" not in said


def test_a_revoked_token_is_gone(plane: Plane):
    made = token(plane)
    identifier = made.removeprefix("plait-").partition(".")[0]

    assert plane.run("token", "revoke", identifier) == f"token {identifier} revoked\n"
    assert identifier not in plane.run("token", "list")
    assert "no join token" in plane.run("token", "revoke", identifier, ok=False)
    assert asyncio.run(refused(asked(plane.xds, token=made)))[0] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("-n", "demo", "--service-account", "billing", "--ttl", "soon"), "is no duration"),
        (("-n", "demo", "--service-account", "billing", "--ttl", "30d"), "good for 1 to"),
        (("-n", "../x", "--service-account", "billing"), "must be names"),
        (("-n", "demo", "--service-account", "a/ns/b/sa/c"), "must be names"),
    ],
)
def test_a_token_that_is_asked_for_wrongly_is_not_made(plane: Plane, words, why):
    said = plane.run("token", "create", *words, ok=False)

    assert why in said
    assert "Traceback" not in said


def test_a_proxy_that_was_given_nothing_is_said(plane: Plane):
    assert '"nobody" was given no certificate' in plane.run("cert", "nobody", ok=False)


def test_what_is_no_request_is_told_so(plane: Plane):
    for path, body in (("rotation", "[]"), ("rotation", '{"fast":true}'), ("tokens", "{}")):
        connection = http.client.HTTPConnection(plane.api, timeout=30)
        connection.request("POST", f"/plait/v1/ca/{path}", body)
        assert connection.getresponse().status == 400
        connection.close()


def test_an_authority_of_the_users_own_is_shown_and_its_end_is_alarmed(tmp_path: Path):
    now = datetime.now(UTC)
    plug(tmp_path / "own", Authority("own", now=now, ends=timedelta(minutes=30)))
    with Plane(tmp_path, "--ca-dir", str(tmp_path / "own")) as plane:
        said = plane.run("ca", "status", ok=False)
        status = plane.run("status")

    assert "CN=own" in said
    assert "DUE" in said
    assert f"put a new one into {tmp_path / 'own'}" in status


def test_a_broken_authority_of_the_users_own_keeps_the_control_plane_from_starting(tmp_path: Path):
    plug(tmp_path / "own", Authority("own"))
    (tmp_path / "own" / "ca-key.pem").write_text("no key")
    plane = Plane(tmp_path, "--ca-dir", str(tmp_path / "own"))
    with pytest.raises(PlaneEndedError, match="is not a private key"):
        plane.start()
