"""What workloads ask of their callers, and how callers answer."""

from __future__ import annotations

import re
from typing import Any

import pytest

from plait.config.mesh_config import MeshConfig
from plait.config.names import ROOT_NAMESPACE
from plait.mesh import clusters, gateways, inbound_listeners, ir, secured, security, status, tls
from plait.mesh.endpoints import endpoint_set
from plait.mesh.security import Mode
from tests.support.mesh import Mesh, gateway, key, service, stamp

WEB = (("app", "web"),)
HOST = "web.demo.svc.cluster.local"


def policy(name: str, mode: str = "", *, namespace: str = "demo", created: int = 0, **spec: str):
    lines = [f"  {field}: {value}" for field, value in spec.items()]
    if mode:
        lines.append(f"  mtls: {{mode: {mode}}}")
    return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: '{stamp(created)}'}}
spec:
""" + "\n".join(lines)


SELECTING = "{matchLabels: {app: web}}"


def mode(mesh: Mesh, port: int = 8080, labels: tuple[tuple[str, str], ...] = WEB) -> Mode:
    chosen = mesh.engine.get(security.in_force, "demo", labels)
    return mesh.engine.get(security.decision, chosen, port).mode


def entry(
    protocol: str = "HTTP", *, tls_mode: str = "istio", location: str = "MESH_INTERNAL"
) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web}}
spec:
  hosts: [{HOST}]
  resolution: STATIC
  location: {location}
  ports: [{{number: 80, name: main, protocol: {protocol}}}]
  endpoints:
  - address: 10.0.0.1
    serviceAccount: web
    labels: {{app: web, security.istio.io/tlsMode: {tls_mode}}}
"""


def cluster(mesh: Mesh, *, certified: bool = True) -> ir.Cluster | None:
    view = mesh.placed(certified=certified).view
    ref = mesh.engine.get(clusters.ref, view, f"outbound|80||{HOST}")
    assert ref is not None
    return mesh.engine.get(clusters.cluster, ref)


def test_without_a_policy_both_are_taken():
    assert mode(Mesh()) is Mode.PERMISSIVE


def test_the_narrower_policy_wins_and_what_it_does_not_say_comes_from_the_wider():
    mesh = Mesh(policy("mesh", "STRICT", namespace="istio-system"))
    assert mode(mesh) is Mode.STRICT

    mesh.apply(policy("space", "DISABLE"))
    assert mode(mesh) is Mode.DISABLE

    mesh.apply(policy("web", "UNSET", selector=SELECTING))
    assert mode(mesh) is Mode.DISABLE

    mesh.apply(policy("web", "PERMISSIVE", selector=SELECTING))
    assert mode(mesh) is Mode.PERMISSIVE
    assert mode(mesh, labels=(("app", "other"),)) is Mode.DISABLE


def test_of_two_policies_of_one_width_the_older_is_in_force():
    assert mode(Mesh(policy("a", "STRICT", created=9), policy("b", "DISABLE"))) is Mode.DISABLE


@pytest.mark.parametrize(
    ("namespace", "selecting"),
    [("demo", {}), ("demo", {"selector": SELECTING}), (ROOT_NAMESPACE, {})],
)
def test_the_younger_of_two_policies_of_one_width_is_told(
    namespace: str, selecting: dict[str, Any]
):
    one = policy("a", "STRICT", created=9, namespace=namespace, **selecting)
    mesh = Mesh(one, policy("b", "DISABLE", namespace=namespace, **selecting))

    assert [told(mesh, name, namespace) for name in ("a", "b")] == [["PLT3003"], []]


def test_policies_for_different_workloads_are_no_conflict():
    other = "{matchLabels: {app: other}}"
    mesh = Mesh(
        policy("a", "STRICT"),
        policy("b", "DISABLE", selector=SELECTING),
        policy("c", "DISABLE", selector=other),
    )

    assert [told(mesh, name) for name in ("a", "b", "c")] == [[], [], []]


def told(mesh: Mesh, name: str, namespace: str = "demo") -> list[str]:
    """What the status of a policy says."""
    found = mesh.engine.get(status.standing, key(security.TABLE, name, namespace))
    return [one.code for one in found.findings]


def test_a_port_is_what_it_says_itself():
    ports = '{"8080": {mode: DISABLE}, "8081": {mode: UNSET}}'
    selecting = policy("web", "STRICT", selector=SELECTING, portLevelMtls=ports)

    assert [mode(Mesh(selecting), port) for port in (8080, 8081, 8082)] == [
        Mode.DISABLE,
        Mode.STRICT,
        Mode.STRICT,
    ]


def test_a_policy_with_a_selector_in_the_root_namespace_is_for_that_namespace():
    mesh = Mesh(policy("root", "STRICT", namespace="istio-system", selector=SELECTING))

    assert mode(mesh) is Mode.PERMISSIVE


@pytest.mark.parametrize(
    ("said", "able", "expected"),
    [
        ("PERMISSIVE", "istio", True),
        ("PERMISSIVE", "disabled", False),
        ("STRICT", "disabled", True),
        ("DISABLE", "istio", False),
    ],
)
def test_endpoints_are_called_as_they_and_their_policies_say(
    said: str, able: str, *, expected: bool
):
    mesh = Mesh(entry(tls_mode=able), policy("space", said))
    found = mesh.placed(certified=True).view
    ref = mesh.engine.get(clusters.ref, found, f"outbound|80||{HOST}")
    assert ref is not None

    (group,) = mesh.engine.get(endpoint_set, ref.host, 80, ()).groups
    assert [one.tls for one in group.endpoints] == [expected]


def test_the_server_must_be_who_its_endpoints_say():
    found = cluster(Mesh(entry()))

    assert found is not None
    assert found.tls is not None
    assert found.automatic
    assert found.tls.names == (tls.Name("spiffe://cluster.local/ns/demo/sa/web"),)
    assert found.tls.sni == f"outbound_.80_._.{HOST}"


def test_a_server_may_still_have_a_certificate_of_a_former_trust_domain():
    settings = MeshConfig(trust_domain="new", trust_domain_aliases=("cluster.local",))
    found = cluster(Mesh(entry(), settings=settings))

    assert found is not None
    assert found.tls is not None
    assert [one.value for one in found.tls.names] == [
        "spiffe://new/ns/demo/sa/web",
        "spiffe://cluster.local/ns/demo/sa/web",
    ]


@pytest.mark.parametrize(
    ("protocol", "offered"),
    [
        ("HTTP", ("istio-http/1.1", "istio")),
        ("GRPC", ("istio-h2", "istio", "h2")),
        ("TCP", ("istio",)),
        ("''", ("istio-http/1.1", "istio")),
    ],
)
def test_callers_mark_what_they_speak(protocol: str, offered: tuple[str, ...]):
    found = cluster(Mesh(entry(protocol)))

    assert found is not None
    assert found.tls is not None
    assert found.tls.applications == offered


@pytest.mark.parametrize(
    "mesh",
    [
        Mesh(entry(), settings=MeshConfig(enable_auto_mtls=False)),
        Mesh(entry(location="MESH_EXTERNAL")),
    ],
    ids=["switched off", "outside"],
)
def test_nothing_is_encrypted_by_itself_where_it_is_not_the_meshs(mesh: Mesh):
    found = cluster(mesh)

    assert found is not None
    assert found.tls is None


def test_who_has_no_identity_calls_plainly_but_never_where_encryption_is_asked_for():
    rule = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web}}
spec: {{host: {HOST}, trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL}}}}}}
"""
    without = cluster(Mesh(entry()), certified=False)

    assert without is not None
    assert without.tls is None
    assert cluster(Mesh(entry(), rule), certified=False) is None
    asked = cluster(Mesh(entry(), rule))
    assert asked is not None
    assert not asked.automatic


def test_a_policy_re_shapes_inbound_listeners_and_endpoints_and_no_cluster():
    mesh = Mesh(entry())
    before = cluster(mesh)
    stood = mesh.placed(certified=True, labels={"app": "web"}).inbound

    mesh.apply(policy("web", "STRICT", selector=SELECTING))

    assert cluster(mesh) == before
    after = mesh.placed(certified=True, labels={"app": "web"}).inbound
    assert stood is not None
    assert after is not None
    assert stood.policies == ()
    assert after.policies == (key("PeerAuthentication", "web"),)


def test_a_port_that_is_reached_past_the_sidecar_is_called_plainly():
    annotations = f"{{traffic.sidecar.istio.io/excludeInboundPorts: '9090, 8080, {'1' * 5000}'}}"
    mesh = Mesh(
        f"""
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  labels: {{app: web, security.istio.io/tlsMode: istio}}
  annotations: {annotations}
spec: {{containers: [{{name: web, image: web}}]}}
status: {{phase: Running, podIP: 10.0.0.5, conditions: [{{type: Ready, status: "True"}}]}}
""",
        """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web}
spec:
  hosts: [web.demo.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 8080, name: a, protocol: HTTP}, {number: 8081, name: b, protocol: HTTP}]
  workloadSelector: {labels: {app: web}}
""",
        policy("space", "STRICT"),
    )
    view = mesh.placed(certified=True).view

    def takes(port: int) -> bool:
        ref = mesh.engine.get(clusters.ref, view, f"outbound|{port}||{HOST}")
        assert ref is not None
        (group,) = mesh.engine.get(endpoint_set, ref.host, port, ()).groups
        return group.endpoints[0].tls

    assert [takes(port) for port in (8080, 8081)] == [False, True]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", tls.Name("spiffe://cluster.local/", is_prefix=True)),
        (", subjectAltNames: [spiffe://x/ns/a/sa/b]", tls.Name("spiffe://x/ns/a/sa/b")),
    ],
)
def test_a_gateway_that_asks_for_identities_takes_those_of_the_mesh(said: str, expected: tls.Name):
    mesh = Mesh(f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: istio-system}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 443, name: mesh, protocol: HTTPS}}
    hosts: ["*"]
    tls: {{mode: ISTIO_MUTUAL{said}}}
""")
    view = mesh.view(**gateway(), certified=True)
    (server,) = mesh.engine.get(gateways.served, view)

    end = mesh.engine.get(secured.end, view, server)

    assert end is not None
    assert end.names == (expected,)


@pytest.mark.parametrize("port", ["http:8080", "tcp:8080", ":8080"])
def test_strict_lets_nobody_in_where_the_proxy_has_no_identity(port: str):
    strict = policy("all", "STRICT")
    open_, closed = (listener(Mesh(service("web", port), *more)) for more in ((), (strict,)))

    assert {one.match.port for one in open_.chains} == {one.match.port for one in closed.chains}
    assert "inbound|8080||" in sinks(open_)
    assert sinks(closed) == {"BlackHoleCluster"}
    assert {one.tls for one in closed.chains} == {None}


def test_a_port_that_is_not_strict_stays_open_without_an_identity():
    ports = '{"8080": {mode: DISABLE}}'
    strict = policy("web", "STRICT", selector=SELECTING, portLevelMtls=ports)
    mesh = Mesh(service("web", "http:8080"), strict)

    assert sinks(listener(mesh)) == {"BlackHoleCluster", "inbound|8080||"}


@pytest.mark.parametrize(
    ("all_", "one", "plain", "identified"),
    [
        ("PERMISSIVE", "STRICT", False, True),
        ("STRICT", "PERMISSIVE", True, True),
        ("STRICT", "DISABLE", True, False),
        ("PERMISSIVE", "UNSET", None, None),
    ],
)
def test_a_policy_may_speak_of_ports_that_no_service_has(
    all_: str, one: str, plain: bool | None, identified: bool | None
):
    ports = f'{{"9999": {{mode: {one}}}, "15006": {{mode: STRICT}}}}'
    mesh = Mesh(
        service("web", "http:8080"), policy("web", all_, selector=SELECTING, portLevelMtls=ports)
    )
    chains = [each for each in listener(mesh, certified=True).chains if each.match.port == 9999]
    transports = [each.match.transport for each in chains]

    assert plain is None or ("raw_buffer" in transports) == plain
    assert identified is None or any(each.tls for each in chains) == identified
    assert bool(chains) == (plain is not None)
    assert all("InboundPassthroughCluster" in repr(each.action) for each in chains)
    assert len({each.name for each in chains}) == len(chains)


def test_plain_calls_are_told_of_wherever_an_identity_could_be_asked_for():
    ports = '{"9999": {mode: PERMISSIVE}}'
    mesh = Mesh(
        service("web", "http:8080"),
        policy("web", "PERMISSIVE", selector=SELECTING, portLevelMtls=ports),
    )
    chains = listener(mesh, certified=True).chains

    assert {one.match.port for one in chains if one.told} == {None, 8080, 9999}
    assert {one.match.transport for one in chains if one.told} == {"raw_buffer"}


def test_who_is_strict_without_an_identity_is_told():
    mesh = Mesh(service("web", "http:8080"), policy("all", "STRICT"))
    inbound = mesh.placed(labels={"app": "web"}).inbound

    notes = mesh.notes(inbound_listeners.listener, inbound, "virtualInbound")

    assert notes == ["PLT3008 PeerAuthentication demo/all"]


def listener(mesh: Mesh, *, certified: bool = False) -> ir.Listener:
    """How calls come in to the workload ``web``."""
    inbound = mesh.placed(labels={"app": "web"}, certified=certified).inbound
    found: ir.Listener = mesh.engine.get(inbound_listeners.listener, inbound, "virtualInbound")
    return found


def sinks(found: ir.Listener) -> set[str]:
    """The clusters that connections and requests end up in."""
    known = r"inbound\|\d+\|\||BlackHoleCluster|InboundPassthroughCluster"
    return set(re.findall(known, repr(found.chains)))
