"""What gateways listen to and which VirtualServices they serve."""

from __future__ import annotations

from typing import Any

import pytest

from plait.mesh import checks, gateways, listener_plans, route_tables
from tests.support.mesh import Mesh, gateway, key, service, stamp, virtual_service


def edge(servers: str, name: str = "edge", *, namespace: str = "demo", created: int = 0) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: '{stamp(created)}'}}
spec:
  selector: {{istio: ingressgateway}}
  servers: {servers}
"""


def http(*hosts: str, port: int = 80) -> str:
    written = ", ".join(f"'{host}'" for host in hosts)
    return f"[{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: [{written}]}}]"


def reply(name: str, host: str, gateways: str = "demo/edge", namespace: str = "demo") -> str:
    body = f"hosts: ['{host}']\ngateways: [{gateways}]\nhttp: [{{directResponse: {{status: 200}}}}]"
    return virtual_service(name, body, namespace=namespace)


def served(mesh: Mesh, port: int = 80) -> list[str]:
    table = mesh.engine.get(route_tables.table, mesh.view(**gateway()), f"http.{port}")
    assert table is not None
    return [domain for entry in table.entries for domain in entry.domains]


def names(mesh: Mesh) -> list[str]:
    plans: Any = mesh.engine.get(listener_plans.plans, mesh.view(**gateway()))
    return [plan.name for plan in plans]


def test_a_host_is_served_where_the_gateway_and_the_rule_meet():
    mesh = Mesh(edge(http("*.a.test")), reply("one", "x.a.test"), reply("two", "*"))

    assert served(mesh) == ["*.a.test", "x.a.test", "*"]


def test_a_host_of_another_namespace_is_not_served_where_the_gateway_names_one():
    rules = (reply("mine", "m.test"), reply("theirs", "t.test", namespace="other"))

    assert served(Mesh(edge(http("./*")), *rules)) == ["m.test", "*"]
    assert served(Mesh(edge(http("other/*")), *rules)) == ["t.test", "*"]


def test_a_rule_is_served_by_the_proxies_that_it_is_exported_to():
    mine = reply("mine", "m.test") + "  exportTo: ['.']\n"
    open_ = reply("open", "o.test") + "  exportTo: [istio-system]\n"
    mesh = Mesh(edge(http("*")), mine, open_)

    assert served(mesh) == ["o.test", "*"]
    beside = mesh.engine.get(
        route_tables.table, mesh.view(**{**gateway(), "namespace": "demo"}), "http.80"
    )
    assert beside is not None
    assert [entry.host for entry in beside.entries] == ["m.test", ""]


def test_a_rule_that_is_kept_from_the_proxies_of_its_gateway_says_so():
    mine = reply("mine", "m.test", "istio-system/edge") + "  exportTo: ['.']\n"
    mesh = Mesh(edge(http("*"), namespace="istio-system"), mine)

    found = mesh.notes(checks.virtual_service, key("VirtualService", "mine"))

    assert found == ["PLT2008 VirtualService demo/mine spec.exportTo"]


def test_a_host_is_served_at_the_address_of_its_server_alone():
    port = "{number: 80, name: NAME, protocol: HTTP}"
    one = f"{{port: {port.replace('NAME', 'a')}, bind: 10.0.0.1, hosts: [a.test]}}"
    other = f"{{port: {port.replace('NAME', 'b')}, bind: 10.0.0.2, hosts: [b.test]}}"
    mesh = Mesh(edge(f"[{one}, {other}]"), reply("one", "a.test"), reply("two", "b.test"))
    view = mesh.view(**gateway())

    plans: Any = mesh.engine.get(listener_plans.plans, view)
    tables: Any = [mesh.engine.get(route_tables.table, view, plan.table) for plan in plans]

    assert [plan.table for plan in plans] == ["http.80.10.0.0.1", "http.80.10.0.0.2"]
    assert [[entry.host for entry in table.entries] for table in tables] == [
        ["a.test", ""],
        ["b.test", ""],
    ]


def test_servers_of_several_gateways_on_one_port_are_one_listener():
    mesh = Mesh(
        edge(http("a.test")),
        edge(http("b.test"), "edge2"),
        reply("a", "a.test"),
        reply("b", "b.test", "edge2"),
    )

    assert names(mesh) == ["0.0.0.0_80"]
    assert served(mesh) == ["a.test", "b.test", "*"]


def test_requests_and_bytes_cannot_share_a_port_and_the_older_has_it():
    tcp = "[{port: {number: 80, name: t, protocol: TCP}, hosts: ['*']}]"
    mesh = Mesh(edge(http("*"), created=1), edge(tcp, "late", created=9))

    assert names(mesh) == ["0.0.0.0_80"]
    assert mesh.notes(checks.gateway, key("Gateway", "late")) == [
        "PLT3001 Gateway demo/late spec.servers[0].port"
    ]


def test_a_tcp_server_needs_a_rule_to_listen():
    tcp = edge("[{port: {number: 9000, name: t, protocol: TCP}, hosts: ['*']}]")
    rule = "hosts: ['*']\ngateways: [edge]\ntcp: [{route: [{destination: {host: db}}]}]"

    assert names(Mesh(tcp)) == []
    assert names(Mesh(tcp, service("db", "tcp:1"), virtual_service("v", rule))) == ["0.0.0.0_9000"]


def test_a_rule_for_an_unknown_gateway_or_an_unserved_host_is_told():
    mesh = Mesh(edge(http("a.test")), reply("v", "b.test", "edge, gone"))

    assert mesh.notes(checks.virtual_service, key("VirtualService", "v")) == [
        "PLT2007 VirtualService demo/v spec.gateways[1]",
        "PLT2008 VirtualService demo/v spec.hosts[0]",
    ]


def test_a_gateway_that_is_written_later_is_found():
    mesh = Mesh(reply("v", "a.test", "edge"))
    check = (checks.virtual_service, key("VirtualService", "v"))
    before = mesh.notes(*check)

    mesh.apply(edge(http("a.test")))

    assert before == ["PLT2007 VirtualService demo/v spec.gateways[0]"]
    assert mesh.notes(*check) == []


@pytest.mark.parametrize(
    ("protocol", "routed"),
    [("grpc", True), ("GRPC-WEB", True), ("HTTP2", True), ("TCP", False), ("MONGO", False)],
)
def test_servers_route_requests_or_pass_on_bytes_as_their_protocol_says(
    protocol: str, routed: bool
):
    port = f"{{number: 80, name: p, protocol: {protocol}}}"
    (found,) = Mesh(edge(f"[{{port: {port}, hosts: ['*']}}]")).engine.get(
        gateways.servers, key("Gateway", "edge")
    )

    assert found.http is routed


@pytest.mark.parametrize(
    ("protocol", "mode"), [("UDP", "PASSTHROUGH"), ("TLS", "AUTO_PASSTHROUGH")]
)
def test_servers_that_are_named_as_not_enforced_are_not_served(protocol: str, mode: str):
    port = f"{{number: 443, name: p, protocol: {protocol}}}"
    tls = f"tls: {{mode: {mode}}}" if protocol == "TLS" else ""
    mesh = Mesh(edge(f"[{{port: {port}, hosts: ['*'], {tls}}}]"))

    assert mesh.engine.get(gateways.servers, key("Gateway", "edge")) == ()


def test_a_server_takes_no_port_of_the_proxy_itself():
    mesh = Mesh(edge(http("*", port=15021)), reply("one", "a.test"))

    assert names(mesh) == []
    assert mesh.notes(checks.gateway, key("Gateway", "edge")) == [
        "PLT3001 Gateway demo/edge spec.servers[0].port"
    ]
