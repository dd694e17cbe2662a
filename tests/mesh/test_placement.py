"""Where a proxy stands."""

from __future__ import annotations

from plait.mesh import ir, placement
from tests.support.mesh import Mesh, gateway, key, service, stamp, virtual_service


def sidecar(name: str, body: str = "", *, namespace: str = "demo", created: int = 0) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: '{stamp(created)}'}}
spec:
  egress: [{{hosts: ["./*"]}}]
{body}
"""


SELECTING = "  workloadSelector: {labels: {app: a}}"


def test_a_sidecar_that_selects_the_workload_wins_over_the_namespace_and_the_root():
    mesh = Mesh(
        sidecar("picked", SELECTING), sidecar("own"), sidecar("root", namespace="istio-system")
    )

    assert mesh.view(labels={"app": "a"}).scope == key("Sidecar", "picked")
    assert mesh.view(labels={"app": "b"}).scope == key("Sidecar", "own")
    assert mesh.view(namespace="other").scope == key("Sidecar", "root", "istio-system")


def test_of_two_defaults_the_older_is_in_force_and_the_other_is_told():
    mesh = Mesh(sidecar("a", created=9), sidecar("b", created=1))

    assert mesh.view().scope == key("Sidecar", "b")
    assert mesh.notes(placement.scopes_in, "demo") == [
        "PLT3003 Sidecar demo/a spec.workloadSelector"
    ]


def test_a_gateway_is_for_all_proxies_that_have_its_labels_in_any_namespace():
    edge = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
"""
    mesh = Mesh(edge)

    labels = {"istio": "ingressgateway", "more": "x"}
    assert mesh.view(**gateway(labels)).selected == (ir.Selected(key("Gateway", "edge")),)
    assert mesh.view(**gateway({"istio": "other"})).selected == ()


def test_callers_that_differ_in_no_rule_share_a_view():
    rule = virtual_service(
        "v",
        "hosts: [x]\nhttp: [{match: [{sourceLabels: {app: a}}], directResponse: {status: 200}}]",
    )
    mesh = Mesh(rule)

    assert mesh.view(labels={"app": "b"}) == mesh.view(labels={"app": "c"})
    assert mesh.view(labels={"app": "a"}).selected == (
        ir.Selected(key("VirtualService", "v"), "http[0].match[0]"),
    )


def test_a_match_that_names_gateways_does_not_look_at_the_caller():
    rule = virtual_service(
        "v",
        "hosts: [x]\nhttp:\n- match: [{sourceLabels: {app: a}, gateways: [mesh]}]\n"
        "  directResponse: {status: 200}",
    )

    assert Mesh(rule).view(labels={"app": "a"}).selected == ()


def test_inbound_ports_are_the_targets_of_services_that_select_the_workload():
    web = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: grpc-api, port: 81, targetPort: api}
"""
    pod = """
apiVersion: v1
kind: Pod
metadata: {name: web-1}
spec: {containers: [{name: c, ports: [{name: api, containerPort: 9000}]}]}
status: {podIP: 10.1.0.1}
"""
    mesh = Mesh(web, pod)
    placed = mesh.placed(labels={"app": "web"}, addresses=("10.1.0.1",))

    assert placed.inbound is not None
    assert [(port.number, port.protocol, port.service_port) for port in placed.inbound.ports] == [
        (8080, ir.Protocol.HTTP, 80),
        (9000, ir.Protocol.GRPC, 81),
    ]


def test_the_older_service_names_a_port_that_two_share():
    mesh = Mesh(
        service("web", "tcp:80", created=5),
        service("web2", "http:80").replace("{app: web2}", "{app: web}"),
    )
    placed = mesh.placed(labels={"app": "web"})

    assert placed.inbound is not None
    assert [port.protocol for port in placed.inbound.ports] == [ir.Protocol.HTTP]


def test_a_sidecar_with_ingress_replaces_the_services():
    body = """
  ingress:
  - port: {number: 7000, protocol: HTTP, name: http}
    defaultEndpoint: unix:///run/app.sock
    captureMode: NONE
    bind: 127.0.0.9"""
    mesh = Mesh(service("a", "http:80"), sidecar("s", body))
    placed = mesh.placed(labels={"app": "a"})

    assert placed.inbound is not None
    (port,) = placed.inbound.ports
    assert (port.number, port.endpoint, port.bind) == (7000, "unix:///run/app.sock", "127.0.0.9")


def test_replicas_share_their_inbound_side():
    mesh = Mesh(service("a", "http:80"))
    first = mesh.placed(labels={"app": "a", "pod": "1"}, addresses=("10.0.0.1",))
    second = mesh.placed(labels={"app": "a", "pod": "2"}, addresses=("10.0.0.2",))

    assert first == second


def test_a_workload_entry_says_where_its_service_listens():
    entry = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm}
spec: {address: 10.2.0.1, labels: {app: a}, ports: {http: 8081}}
"""
    mesh = Mesh(service("a", "http:80"), entry)
    placed = mesh.placed(labels={"app": "a"}, addresses=("10.2.0.1",))

    assert placed.inbound is not None
    assert [port.number for port in placed.inbound.ports] == [8081]
