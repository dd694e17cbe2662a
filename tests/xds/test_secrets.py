"""Secrets that proxies ask for by name."""

from __future__ import annotations

from typing import Any

import pytest

from plait.mesh import ir
from plait.xds import protos, subscriptions
from plait.xds.resource import CLUSTER, LISTENER, SECRET, Absent, Present
from tests.support import pki
from tests.support.mesh import Mesh
from tests.support.objects import ran
from tests.support.pki import Authority, Pair

AUTHORITY = Authority()
GOOD = AUTHORITY.issue("a.example")
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: demo}
spec:
  selector: {istio: edge}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [a.example]
    tls: {mode: SIMPLE, credentialName: web}
"""


def secret(name: str = "web", pair: Pair = GOOD, namespace: str = "demo", ca: str = "") -> str:
    return pki.secret(name, pair, namespace, {"ca.crt": ca} if ca else {})


def asked(mesh: Mesh, name: str, **identity: Any) -> Any:
    """The secret that a gateway is answered; None: there is none."""
    given = {"role": ir.Role.GATEWAY, "labels": {"istio": "edge"}, **identity}
    query, arguments = subscriptions.named(SECRET, name, mesh.placed(**given))
    answer = mesh.engine.get(query, *arguments)
    if isinstance(answer, Absent):
        return None
    assert isinstance(answer, Present)
    return protos.Secret.FromString(answer.resource.body)


def test_a_gateway_is_given_the_certificate_and_key_of_a_secret():
    found = asked(Mesh(secret()), "kubernetes://web")

    assert found.name == "kubernetes://web"
    assert found.tls_certificate.certificate_chain.inline_bytes == GOOD.chain.encode()
    assert found.tls_certificate.private_key.inline_bytes == GOOD.key.encode()


@pytest.mark.parametrize("name", ["web", "web-cacert"])
def test_whom_to_trust_is_in_a_secret_of_its_own_or_in_the_same(name: str):
    mesh = Mesh(secret(name, ca=AUTHORITY.root))

    found = asked(mesh, "kubernetes://web-cacert")

    assert found.validation_context.trusted_ca.inline_bytes == AUTHORITY.root.encode()


def test_secrets_are_for_gateways_of_their_own_namespace():
    mesh = Mesh(secret(), secret("theirs", namespace="other"))

    assert asked(mesh, "kubernetes://web", namespace="other") is None
    assert asked(mesh, "kubernetes://theirs") is None
    assert asked(mesh, "kubernetes://other/theirs") is None
    assert asked(mesh, "kubernetes://web", role=ir.Role.SIDECAR) is None
    assert asked(mesh, "web") is None


def test_what_cannot_be_used_is_not_there():
    mesh = Mesh(secret("empty", Pair("", "")))

    assert asked(mesh, "kubernetes://empty") is None
    assert asked(mesh, "kubernetes://empty-cacert") is None
    assert asked(mesh, "kubernetes://gone") is None


def test_a_renewed_certificate_changes_its_secret_and_no_listener():
    mesh = Mesh(GATEWAY, secret())
    where = mesh.placed(role=ir.Role.GATEWAY, labels={"istio": "edge"})
    for type_url in (LISTENER, CLUSTER):
        for query, arguments in subscriptions.wildcard(type_url, where):
            for entry in mesh.engine.watch(query, *arguments):
                mesh.engine.watch(entry.query, *entry.args)
    query, arguments = subscriptions.named(SECRET, "kubernetes://web", where)
    mesh.engine.watch(query, *arguments)

    changed = mesh.apply(secret(pair=AUTHORITY.issue("a.example")))

    assert changed == {(query, arguments)}
    assert ran(mesh.engine) == {}
