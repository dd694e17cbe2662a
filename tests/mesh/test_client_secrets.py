"""Certificates of Secrets by which a DestinationRule has servers outside called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from plait.mesh import checks, clusters, ends, ir, tls
from plait.xds import clusters as xds_clusters
from plait.xds import protos, subscriptions
from plait.xds.resource import CLUSTER, SECRET, Absent, Present
from tests.support import pki
from tests.support.mesh import Mesh, key
from tests.support.pki import Authority, Pair

AUTHORITY = Authority()
GOOD = AUTHORITY.issue("client.example")
ROOTS = {"ca.crt": AUTHORITY.root}
NAME = "outbound|443||outside.example"
OUTSIDE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside, namespace: demo}
spec:
  hosts: [outside.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 443, name: http, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1}]
"""
WEB = {"labels": {"app": "web"}}
GATEWAY: dict[str, Any] = {"role": ir.Role.GATEWAY}
CERTIFICATE = tls.Secret("kubernetes://client", tls.Source.PLANE)
TRUST = tls.Secret("kubernetes://client-cacert", tls.Source.PLANE)


def secret(
    name: str = "client",
    pair: Pair | None = GOOD,
    namespace: str = "demo",
    data: Mapping[str, str] = {},
) -> str:
    return pki.secret(name, pair, namespace, data)


def rule(
    mode: str = "MUTUAL", more: str = "", *, app: str = "", name: str = "outside", host: str = ""
) -> str:
    selector = f"\n  workloadSelector: {{matchLabels: {{app: {app}}}}}" if app else ""
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: demo}}
spec:
  host: {host or "outside.example"}{selector}
  trafficPolicy: {{tls: {{mode: {mode}, credentialName: client{more}}}}}
"""


def client(mesh: Mesh, **identity: Any) -> tls.Client | None:
    """How a proxy calls; None: the cluster is not there."""
    ref = mesh.engine.get(clusters.ref, mesh.view(**identity), NAME)
    assert ref is not None
    found = mesh.engine.get(clusters.cluster, ref)
    return found.tls if found else None


def asked(mesh: Mesh, name: str, **identity: Any) -> Any:
    """The secret that a proxy is answered; None: there is none."""
    query, arguments = subscriptions.named(SECRET, name, mesh.placed(**identity))
    answer = mesh.engine.get(query, *arguments)
    if isinstance(answer, Absent):
        return None
    assert isinstance(answer, Present)
    return protos.Secret.FromString(answer.resource.body)


@pytest.mark.parametrize(("who", "app"), [(GATEWAY, ""), (GATEWAY, "web"), (WEB, "web")])
@pytest.mark.parametrize("mode", ["MUTUAL", "SIMPLE"])
def test_certificates_are_of_the_secret(mode: str, who: dict[str, Any], app: str):
    who = who | WEB
    mesh = Mesh(OUTSIDE, rule(mode, app=app), secret(data=ROOTS))

    found = client(mesh, **who)

    assert found is not None
    assert found.certificate == (CERTIFICATE if mode == "MUTUAL" else None)
    assert found.roots == TRUST
    trusted = asked(mesh, TRUST.name, **who)
    assert trusted.validation_context.trusted_ca.inline_bytes == AUTHORITY.root.encode()


def test_a_sidecar_that_no_selector_selects_goes_by_the_files():
    files = ", clientCertificate: /c.pem, privateKey: /k.pem, caCertificates: /ca.pem"
    mesh = Mesh(OUTSIDE, rule(more=files), secret(data=ROOTS))

    found = client(mesh, certified=True)

    assert found is not None
    assert found.certificate == tls.Secret("file-cert:/c.pem~/k.pem")
    assert found.roots == tls.Secret("file-root:/ca.pem")


def test_a_sidecar_without_files_calls_as_far_as_it_can_and_never_plainly():
    for mode, expected in (("SIMPLE", tls.Client(applications=("http/1.1",))), ("MUTUAL", None)):
        mesh = Mesh(OUTSIDE, rule(mode), secret(data=ROOTS))

        assert client(mesh, certified=True) == expected


def test_nobody_is_trusted_where_nothing_says_whom():
    mesh = Mesh(OUTSIDE, rule("SIMPLE"), secret())

    assert client(mesh, **GATEWAY) is None
    assert mesh.notes(checks.destination_rule, key("DestinationRule", "outside")) == [
        "PLT3009 DestinationRule demo/outside spec.trafficPolicy.tls.credentialName"
    ]


def test_roots_may_be_in_a_secret_of_their_own_and_are_not_needed_where_nothing_is_verified():
    apart = secret("client-cacert", None, data={"cacert": AUTHORITY.root})
    mesh = Mesh(OUTSIDE, rule(), secret(), apart)
    anyhow = Mesh(OUTSIDE, rule(more=", insecureSkipVerify: true"), secret())

    for one, roots in ((mesh, TRUST), (anyhow, None)):
        found = client(one, **GATEWAY)
        assert found is not None
        assert (found.certificate, found.roots) == (CERTIFICATE, roots)
        assert one.notes(checks.destination_rule, key("DestinationRule", "outside")) == []


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ([], "Secret demo/client does not exist"),
        ([secret(namespace="other", data=ROOTS)], "Secret demo/client does not exist"),
        ([secret()], "Secret demo/client ca.crt is missing"),
        ([secret(pair=None, data=ROOTS)], "Secret demo/client tls.crt is missing"),
    ],
)
def test_a_secret_that_cannot_be_used_holds_up_its_own_cluster_and_is_named(
    lacking: list[str], said: str
):
    other = OUTSIDE.replace("outside", "beside")
    mesh = Mesh(OUTSIDE, other, rule(app="web"), *lacking)
    who = mesh.view(**WEB)
    names = {one.name for one in mesh.engine.get(xds_clusters.outbound_names, who)}
    ref = mesh.engine.get(clusters.ref, who, NAME)
    beside = mesh.engine.get(clusters.ref, who, "outbound|443||beside.example")
    assert ref is not None
    assert beside is not None

    both = mesh.engine.get(ends.of_cluster, ref)

    assert NAME in names
    assert isinstance(mesh.engine.get(xds_clusters.outbound, ref), Absent)
    assert isinstance(mesh.engine.get(xds_clusters.outbound, beside), Present)
    assert both is not None
    assert (both.caller.speaks, both.caller.because) == ("", said)
    mesh.engine.watch(checks.destination_rule, key("DestinationRule", "outside"))
    memo = mesh.engine.why(checks.destination_rule, key("DestinationRule", "outside"))
    assert [note.message for note in memo.notes] == [f"requests are answered 503: {said}"]


def test_one_namespace_of_gateways_that_has_the_secret_is_enough():
    def pod(namespace: str) -> str:
        return f"""
apiVersion: v1
kind: Pod
metadata: {{name: gw, namespace: {namespace}, labels: {{istio: gw}},
  annotations: {{inject.istio.io/templates: gateway}}}}
spec: {{containers: [{{name: istio-proxy, image: auto}}]}}
"""

    about = key("DestinationRule", "outside")
    mesh = Mesh(OUTSIDE, rule(), pod("one"), pod("two"))
    assert mesh.engine.get(checks.destination_rule, about) == ("one", "two")
    assert len(mesh.notes(checks.destination_rule, about)) == 1

    mesh.apply(secret(namespace="two", data=ROOTS))

    assert mesh.notes(checks.destination_rule, about) == []
    assert client(mesh, **GATEWAY, namespace="one") is None
    assert client(mesh, **GATEWAY, namespace="two") is not None


def test_a_workload_is_given_what_rules_name_that_select_it_and_nothing_else():
    more = secret("other", data=ROOTS)
    mesh = Mesh(OUTSIDE, rule("SIMPLE", app="web"), secret(data=ROOTS), more)

    assert asked(mesh, TRUST.name, **WEB) is not None
    for name, who in (
        (CERTIFICATE.name, WEB),  # SIMPLE shows none
        ("kubernetes://other", WEB),
        ("kubernetes://other-cacert", WEB),
        (TRUST.name, {"labels": {"app": "else"}}),
        (TRUST.name, {**WEB, "namespace": "other"}),
    ):
        assert asked(mesh, name, **who) is None

    mesh.apply(rule("MUTUAL", app="web"))
    assert asked(mesh, CERTIFICATE.name, **WEB).tls_certificate.private_key.inline_bytes

    mesh.apply(rule("MUTUAL", app="else"))
    assert asked(mesh, CERTIFICATE.name, **WEB) is None


def test_a_renewed_secret_changes_itself_and_no_cluster():
    mesh = Mesh(OUTSIDE, rule(app="web"), secret(data=ROOTS))
    where = mesh.placed(**WEB)
    for query, arguments in subscriptions.wildcard(CLUSTER, where):
        for entry in mesh.engine.watch(query, *arguments):
            mesh.engine.watch(entry.query, *entry.args)
    secret_call = subscriptions.named(SECRET, CERTIFICATE.name, where)
    mesh.engine.watch(secret_call[0], *secret_call[1])

    changed = mesh.apply(secret(pair=AUTHORITY.issue("client.example"), data=ROOTS))

    assert changed == {secret_call}


@pytest.mark.parametrize(
    "policy",
    [
        "portLevelSettings: [{port: {number: 443}, tls: {mode: MUTUAL, credentialName: client}}]",
        "tls: {mode: MUTUAL, credentialName: client}",
    ],
)
def test_single_ports_and_subsets_name_secrets_too(policy: str):
    spec = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: outside, namespace: demo}}
spec:
  host: outside.example
  workloadSelector: {{matchLabels: {{app: web}}}}
  subsets: [{{name: v1, trafficPolicy: {{{policy}}}}}]
"""
    mesh = Mesh(OUTSIDE, spec, secret(data=ROOTS))
    ref = mesh.engine.get(clusters.ref, mesh.view(**WEB), "outbound|443|v1|outside.example")
    assert ref is not None

    found = mesh.engine.get(clusters.cluster, ref)

    assert found is not None
    assert found.tls is not None
    assert found.tls.certificate == CERTIFICATE
    assert asked(mesh, CERTIFICATE.name, **WEB) is not None


LISTED = "caCertificates: /ca.pem, caCrl: /crl.pem"
SYSTEM = "/etc/ssl/certs/ca-certificates.crt"


@pytest.mark.parametrize(
    ("written", "roots"), [(LISTED, "/ca.pem"), ("caCrl: /crl.pem", SYSTEM)], ids=["own", "system"]
)
def test_an_agent_that_knows_lists_of_revoked_certificates_hands_them_out_with_the_roots(
    written: str, roots: str
):
    mesh = Mesh(OUTSIDE, rule("SIMPLE").replace("credentialName: client", written))

    found = client(mesh, certified=True, revocations=True)

    assert found is not None
    assert found.roots == tls.Secret(f"file-root:{roots}~/crl.pem")
    assert found.revoked == ""


def test_for_other_agents_and_none_envoy_reads_the_list_itself():
    for written, who, roots in (
        (LISTED, {"certified": True}, tls.Secret("file-root:/ca.pem")),
        ("caCrl: /crl.pem", {}, None),
    ):
        mesh = Mesh(OUTSIDE, rule("SIMPLE").replace("credentialName: client", written))

        found = client(mesh, **who)

        assert found is not None
        assert (found.roots, found.revoked) == (roots, "/crl.pem")


def test_a_list_is_not_read_where_nothing_is_verified_or_a_secret_has_its_own():
    skipped = rule("SIMPLE", ", insecureSkipVerify: true, caCrl: /crl.pem")
    named = rule("SIMPLE", ", caCrl: /crl.pem")
    for text in (skipped, named):
        mesh = Mesh(OUTSIDE, text, secret(data=ROOTS))

        found = client(mesh, **GATEWAY, certified=True, revocations=True)

        assert found is not None
        assert "crl" not in f"{found}"


def test_revoked_certificates_in_a_secret_are_sent_with_its_roots():
    revoked = AUTHORITY.revoke(GOOD)
    mesh = Mesh(OUTSIDE, rule("SIMPLE"), secret(data={**ROOTS, "ca.crl": revoked}))

    found = asked(mesh, TRUST.name, **GATEWAY)

    assert found.validation_context.crl.inline_bytes == revoked.encode()


def test_proxies_that_no_secret_concerns_go_on_sharing_their_clusters():
    inside = rule(app="web", name="own", host="own.demo.svc.cluster.local")
    mesh = Mesh(OUTSIDE, inside, secret(data=ROOTS))

    ours, theirs = (
        mesh.engine.get(clusters.shared_view, mesh.view(namespace=one)) for one in ("a", "b")
    )

    assert ours == theirs
