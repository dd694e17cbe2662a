"""Which listeners a view has, and the chains in them."""

from __future__ import annotations

from typing import Any

import pytest

from plait.mesh import called, checks, inbound_listeners, ir, listener_plans, listeners
from tests.support.mesh import Mesh, key, service, stamp, virtual_service

SIDECAR = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s}
spec:
"""


def entry(name: str, protocol: str, spec: str = "", *, port: int = 3306, created: int = 0) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, creationTimestamp: '{stamp(created)}'}}
spec:
  hosts: [{name}.test]
  ports: [{{number: {port}, name: p, protocol: '{protocol}'}}]
  resolution: STATIC
  endpoints: [{{address: 192.0.2.1}}]
  {spec}
"""


def outbound(mesh: Mesh, **identity: Any) -> dict[str, ir.Listener]:
    plans = mesh.engine.get(listener_plans.plans, mesh.view(**identity))
    return {plan.name: mesh.engine.get(listeners.listener, plan) for plan in plans}


def clusters(chain: ir.Chain | None) -> list[str]:
    assert chain is not None
    assert isinstance(chain.action, ir.TcpChain)
    return [to.cluster for to in chain.action.to]


def test_requests_of_all_hosts_share_a_port_and_other_bytes_pass():
    found = outbound(Mesh(service("a", "http:80"), service("b", "http:80")))["0.0.0.0_80"]

    assert found.detect
    assert not found.bind
    assert [chain.match for chain in found.chains] == [listeners.DETECTED]
    assert clusters(found.default) == ["PassthroughCluster"]


def test_a_service_declared_as_bytes_has_a_listener_on_its_address_without_inspection():
    found = outbound(Mesh(service("db", "tcp:3306", ip="10.0.0.9")))

    assert set(found) == {"10.0.0.9_3306", "virtualOutbound"}
    assert not found["10.0.0.9_3306"].detect
    assert clusters(found["10.0.0.9_3306"].chains[0]) == [
        "outbound|3306||db.demo.svc.cluster.local"
    ]


def test_bytes_without_an_address_take_what_requests_leave_of_a_port():
    found = outbound(Mesh(entry("web", "HTTP"), entry("db", "TCP")))["0.0.0.0_3306"]

    assert found.detect
    assert clusters(found.default) == ["outbound|3306||db.test"]


def test_of_two_hosts_with_one_address_the_older_has_it():
    mesh = Mesh(
        entry("young", "TCP", "addresses: [10.9.9.9]", created=7),
        entry("old", "TCP", "addresses: [10.9.9.9]", created=1),
    )

    assert clusters(outbound(mesh)["10.9.9.9_3306"].chains[0]) == ["outbound|3306||old.test"]
    assert mesh.notes(listener_plans.captured_plans, mesh.view(), 3306) == [
        "PLT3001 ServiceEntry demo/young"
    ]


def test_an_address_is_one_however_it_is_written():
    mesh = Mesh(
        entry("a", "TCP", "addresses: ['FD00:0::1', 10.9.9.9/32]", created=1),
        entry("b", "TCP", "addresses: ['fd00::1', 10.9.9.9]", created=2),
        service("web", "http:80", ip="FD00:0::2"),
    )
    view = mesh.view()

    assert set(outbound(mesh)) == {
        "10.9.9.9_3306",
        "fd00::1_3306",
        "0.0.0.0_80",
        "virtualOutbound",
    }
    assert mesh.notes(checks.host, key("ServiceEntry", "b")) == ["PLT3001 ServiceEntry demo/b"]
    (web,) = mesh.engine.get(called.on_port, view, 80)
    assert "[fd00::2]" in called.domains(web, "demo")


def test_a_range_of_addresses_is_a_chain():
    found = outbound(Mesh(entry("net", "TCP", "addresses: [10.8.0.0/16]")))["0.0.0.0_3306"]

    assert [chain.match.prefixes for chain in found.chains] == [("10.8.0.0/16",)]
    assert clusters(found.default) == ["PassthroughCluster"]


def test_a_range_that_two_routes_name_is_the_first_ones():
    rule = virtual_service(
        "v",
        "hosts: [db]\ntcp:\n"
        "- match: [{destinationSubnets: [10.0.0.0/8]}]\n  route: [{destination: {host: a}}]\n"
        "- match: [{destinationSubnets: [10.0.0.0/8, 11.0.0.0/8]}]\n"
        "  route: [{destination: {host: b}}]",
    )
    found = outbound(Mesh(service("db", "tcp:1", ip="10.0.0.1"), rule))["10.0.0.1_1"]

    assert [chain.match.prefixes for chain in found.chains] == [("10.0.0.0/8",), ("11.0.0.0/8",)]
    assert clusters(found.default) == ["outbound|1||db.demo.svc.cluster.local"]


def test_tls_hosts_of_one_port_are_told_apart_by_server_name():
    found = outbound(Mesh(entry("a", "TLS"), entry("b", "HTTPS")))["0.0.0.0_3306"]

    assert found.inspect_tls
    assert not found.detect
    assert [chain.match.server_names for chain in found.chains] == [("a.test",), ("b.test",)]


def test_a_headless_service_of_bytes_is_reached_at_its_endpoints():
    piece = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints: [{addresses: [10.1.1.1]}, {addresses: [10.1.1.2]}]
ports: [{name: tcp, port: 3306}]
"""
    found = outbound(Mesh(service("db", "tcp:3306", ip="None"), piece))

    assert set(found) == {"10.1.1.1_3306", "10.1.1.2_3306", "virtualOutbound"}


def test_a_headless_service_of_anything_is_reached_at_its_endpoints():
    endpoints = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: set-1, labels: {kubernetes.io/service-name: set}}
addressType: IPv4
ports: [{port: 5432}]
endpoints: [{addresses: [10.1.0.1]}]
"""
    found = outbound(Mesh(service("set", ":5432", ip="None"), endpoints))
    (requests,) = found["10.1.0.1_5432"].chains

    assert isinstance(requests.action, ir.HttpChain)
    assert requests.action.table == "set.demo.svc.cluster.local:5432"
    assert clusters(found["10.1.0.1_5432"].default) == ["outbound|5432||set.demo.svc.cluster.local"]


def test_an_endpoint_of_a_headless_service_without_an_ip_address_has_no_listener():
    machine = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: NAME}
spec: {address: 'ADDRESS', labels: {app: db}}
"""
    texts = [
        machine.replace("NAME", name).replace("ADDRESS", address)
        for name, address in (("a", "db.example"), ("b", "unix:///run/db"), ("c", "10.1.1.3"))
    ]

    found = outbound(Mesh(service("db", "tcp:3306", ip="None"), *texts))

    assert set(found) == {"10.1.1.3_3306", "virtualOutbound"}


def test_a_detected_service_has_its_own_table_for_its_address():
    found = outbound(Mesh(service("any", ":7000", ip="10.0.0.7")))["10.0.0.7_7000"]

    (chain,) = found.chains
    assert isinstance(chain.action, ir.HttpChain)
    assert chain.action.table == "any.demo.svc.cluster.local:7000"
    assert clusters(found.default) == ["outbound|7000||any.demo.svc.cluster.local"]


def test_everything_else_is_passed_on_or_closed():
    policy = SIDECAR + "  outboundTrafficPolicy: {mode: REGISTRY_ONLY}"

    assert clusters(outbound(Mesh())["virtualOutbound"].default) == ["PassthroughCluster"]
    assert clusters(outbound(Mesh(policy))["virtualOutbound"].default) == ["BlackHoleCluster"]


def test_a_call_to_the_capture_port_itself_goes_nowhere():
    (trap,) = outbound(Mesh())["virtualOutbound"].chains

    assert trap.match.port == 15001
    assert clusters(trap) == ["BlackHoleCluster"]


@pytest.mark.parametrize("number", [15001, 15006, 15021, 15090])
def test_a_host_takes_no_port_of_the_proxy_itself(number: int):
    mesh = Mesh(service("a", f"http:{number}"), entry("b", "TCP", port=number, created=1))

    assert set(outbound(mesh)) == {"virtualOutbound"}
    assert mesh.notes(checks.host, key("Service", "a")) == ["PLT3001 Service demo/a"]
    assert mesh.notes(checks.host, key("ServiceEntry", "b")) == ["PLT3001 ServiceEntry demo/b"]


def test_bytes_with_an_address_of_their_own_may_have_any_port():
    mesh = Mesh(service("db", "tcp:15001", ip="10.0.0.9"))

    assert set(outbound(mesh)) == {"10.0.0.9_15001", "virtualOutbound"}
    assert mesh.notes(checks.host, key("Service", "db")) == []


def test_a_workload_that_serves_on_the_capture_port_has_no_chain_that_leads_round():
    mesh = Mesh(service("a", "http:15006"))

    found = inbound(mesh, labels={"app": "a"})

    chains = [chain.name for chain in found.chains if chain.match.port == 15006]
    assert chains == ["virtualInbound-blackhole"]


def test_tcp_routes_share_connections_by_weight():
    rule = virtual_service(
        "v",
        "hosts: [db]\ntcp:\n- route: [{destination: {host: db}, weight: 3},"
        " {destination: {host: db2}, weight: 1}]",
    )
    mesh = Mesh(service("db", "tcp:1", ip="10.0.0.1"), service("db2", "tcp:1", ip="10.0.0.2"), rule)
    (chain,) = outbound(mesh)["10.0.0.1_1"].chains

    assert isinstance(chain.action, ir.TcpChain)
    assert [to.weight for to in chain.action.to] == [3, 1]
    assert chain.origin[0] == key("VirtualService", "v")


def test_an_explicit_egress_listener_replaces_the_one_it_collides_with():
    explicit = SIDECAR + (
        "  egress:\n"
        "  - {port: {number: 80, protocol: HTTP, name: h}, bind: 0.0.0.0, hosts: ['./*']}\n"
        "  - {hosts: ['./*']}"
    )
    found = outbound(Mesh(service("a", "http:80"), explicit))["0.0.0.0_80"]

    assert isinstance(found.chains[0].action, ir.HttpChain)
    assert found.chains[0].action.table == "0.0.0.0_80"


def test_what_is_not_captured_binds_loopback_and_needs_no_detection():
    mesh = Mesh(service("a", "http:80"), service("db", "tcp:81"))
    found = outbound(mesh, interception=ir.Interception.NONE)

    assert set(found) == {"127.0.0.1_80", "127.0.0.1_81"}
    assert found["127.0.0.1_80"].bind
    assert not found["127.0.0.1_80"].detect
    assert found["127.0.0.1_80"].default is None


def inbound(mesh: Mesh, name: str = "virtualInbound", **identity: Any) -> ir.Listener:
    placed = mesh.placed(**identity)
    assert placed.inbound is not None
    return mesh.engine.get(inbound_listeners.listener, placed.inbound, name)


def test_inbound_chains_stand_in_istios_order():
    mesh = Mesh(service("a", "http:80", "tcp-x:81", "any:82"))

    assert [chain.name for chain in inbound(mesh, labels={"app": "a"}).chains] == [
        "virtualInbound-blackhole",
        "virtualInbound-catchall-http",
        "virtualInbound",
        "virtualInbound-tls",
        "0.0.0.0_80",
        "0.0.0.0_81",
        "0.0.0.0_82-http",
        "0.0.0.0_82",
        "0.0.0.0_82-tls",
    ]


def test_inbound_matches_are_all_different():
    mesh = Mesh(service("a", "http:80", "tcp-x:81", "any:82"))
    matches = [chain.match for chain in inbound(mesh, labels={"app": "a"}).chains]

    assert len({str(match) for match in matches}) == len(matches)


def test_a_server_on_a_port_declared_as_bytes_may_speak_first():
    mesh = Mesh(service("a", "http:80", "tcp-x:81", "any:82"))

    assert inbound(mesh, labels={"app": "a"}).uninspected == (81,)


def test_inbound_requests_are_tried_again_only_where_nothing_was_read_and_never_for_grpc():
    mesh = Mesh(service("a", "http:80", "grpc:81"))
    chains = {chain.name: chain for chain in inbound(mesh, labels={"app": "a"}).chains}

    def retry(name: str) -> ir.Retry | None:
        action = chains[name].action
        assert isinstance(action, ir.HttpChain)
        return action.routes[0].routes[0].retry

    assert retry("0.0.0.0_80") == ir.Retry(
        attempts=2, on=("reset-before-request",), previous_hosts=False
    )
    assert retry("0.0.0.0_81") is None


def test_an_uncaptured_workload_is_reached_only_where_its_sidecar_says():
    ingress = SIDECAR + (
        "  ingress: [{port: {number: 7000, protocol: HTTP, name: h}, bind: 127.0.0.8,"
        " defaultEndpoint: '127.0.0.1:7001'}]"
    )
    plain, written = Mesh(service("a", "http:80")), Mesh(service("a", "http:80"), ingress)
    identity: dict[str, Any] = {"labels": {"app": "a"}, "interception": ir.Interception.NONE}

    none = plain.placed(**identity).inbound
    one = written.placed(**identity).inbound
    assert none is not None
    assert one is not None
    assert inbound_listeners.names(none) == ()
    assert inbound_listeners.names(one) == ("127.0.0.8_7000",)
    assert inbound(written, "127.0.0.8_7000", **identity).address == "127.0.0.8"


def test_an_explicit_listener_for_bytes_leads_to_the_host_with_its_port():
    explicit = SIDECAR + (
        "  egress:\n  - port: {number: 3306, protocol: TCP, name: t}\n"
        "    bind: 127.0.0.1\n    captureMode: NONE\n    hosts: ['./*']"
    )
    mesh = Mesh(service("a", "tcp:1"), service("db", "tcp:3306"), explicit)
    found = outbound(mesh)["127.0.0.1_3306"]

    assert found.bind
    assert clusters(found.chains[0]) == ["outbound|3306||db.demo.svc.cluster.local"]


def test_a_bound_port_whose_protocol_is_not_declared_is_detected():
    port = ir.InboundPort(number=7, protocol=ir.Protocol.AUTO, bind="127.0.0.8")
    own = ir.Inbound(namespace="demo", interception=ir.Interception.NONE, ports=(port,))
    found = Mesh().engine.get(inbound_listeners.listener, own, "127.0.0.8_7")

    assert found.detect
    assert [chain.name for chain in found.chains] == ["127.0.0.8_7-http", "127.0.0.8_7"]


@pytest.mark.parametrize("protocol", ["HTTP", "http2", "GRPC", "GRPC-WEB", "HTTP_PROXY", "''"])
def test_sidecars_route_requests_of_every_protocol_that_carries_them(protocol: str):
    port = f"port: {{number: 7000, protocol: {protocol}, name: p}}"
    written = SIDECAR + f"  ingress: [{{{port}, captureMode: NONE}}]\n"
    written += f"  egress: [{{{port}, captureMode: NONE, hosts: ['*/*']}}]\n"
    mesh = Mesh(service("a", "http:80"), written)

    accepted = inbound(mesh, "0.0.0.0_7000", interception=ir.Interception.NONE).chains[0]
    called = outbound(mesh, interception=ir.Interception.NONE)["127.0.0.1_7000"].chains[0]

    assert isinstance(accepted.action, ir.HttpChain)
    assert isinstance(called.action, ir.HttpChain)


@pytest.mark.parametrize("protocol", ["TCP", "mongo", "REDIS", "MYSQL"])
def test_sidecars_pass_on_bytes_of_every_protocol_that_is_not_requests(protocol: str):
    port = f"port: {{number: 7000, protocol: {protocol}, name: p}}"
    written = SIDECAR + f"  ingress: [{{{port}, captureMode: NONE}}]\n"
    written += f"  egress: [{{{port}, captureMode: NONE, hosts: ['*/*']}}]\n"
    mesh = Mesh(service("a", "tcp:7000"), written)

    accepted = inbound(mesh, "0.0.0.0_7000", interception=ir.Interception.NONE).chains[0]
    called = outbound(mesh, interception=ir.Interception.NONE)["127.0.0.1_7000"].chains[0]

    assert isinstance(accepted.action, ir.TcpChain)
    assert isinstance(called.action, ir.TcpChain)


def test_a_captured_workload_takes_no_socket_where_calls_are_handed_over():
    port = "port: {number: 8080, protocol: HTTP, name: h}, captureMode: NONE"
    mesh = Mesh(
        service("a", "http:8080"),
        SIDECAR + f"  ingress: [{{{port}}}]\n",
    )
    accepted = mesh.placed(addresses=("10.0.0.7",)).inbound

    assert accepted is not None
    assert inbound_listeners.names(accepted) == ("virtualInbound", "10.0.0.7_8080")
    assert set(outbound(mesh)) == {"0.0.0.0_8080", "virtualOutbound"}


@pytest.mark.parametrize(
    ("written", "led"),
    [
        ("0.0.0.0:81", "10.1.1.1:81"),
        ("[::]:81", "[fd00::1]:81"),
        ("127.0.0.1:81", "127.0.0.1:81"),
        ("unix:///a", "unix:///a"),
    ],
)
def test_a_sidecar_leads_to_the_workloads_own_address_where_it_says_all(written: str, led: str):
    port = "{number: 80, protocol: HTTP, name: a}"
    mesh = Mesh(f"{SIDECAR}  ingress: [{{port: {port}, defaultEndpoint: '{written}'}}]")

    found = mesh.placed(addresses=("10.1.1.1", "fd00::1")).inbound

    assert found is not None
    assert [one.endpoint for one in found.ports] == [led]
