"""What a VirtualService makes of requests."""

from __future__ import annotations

from typing import Any

import pytest

from plait.config.kinds import virtual_service as kinds
from plait.mesh import destinations, ir, route_actions, route_tables, virtual_hosts
from plait.mesh.virtual_hosts import Entry
from tests.support.mesh import Mesh, gateway, service, virtual_service

REVIEWS = service("reviews", "http:9080", ip="10.0.0.1")


def entries(mesh: Mesh, table: str, **identity: Any) -> dict[str, Entry]:
    found = mesh.engine.get(route_tables.table, mesh.view(**identity), table)
    assert found is not None
    return {entry.name: entry for entry in found.entries}


def routes(
    mesh: Mesh, name: str = "reviews.demo.svc.cluster.local:9080", **identity: Any
) -> tuple[Any, ...]:
    table = name.rpartition(":")[2]
    entry = entries(mesh, table, **identity)[name]
    return mesh.engine.get(virtual_hosts.virtual_host, entry).routes


def one_rule(body: str) -> Mesh:
    indented = "\n".join(f"  {line}" for line in body.strip("\n").splitlines())
    return Mesh(REVIEWS, virtual_service("r", f"hosts: [reviews]\nhttp:\n-\n{indented}"))


def test_a_host_without_rules_has_the_default_route():
    (route,) = routes(Mesh(REVIEWS))

    assert route.name == "default"
    assert route.operation == "reviews.demo.svc.cluster.local:9080/*"
    assert route.action == ir.Forward(
        to=(ir.Weighted(cluster="outbound|9080||reviews.demo.svc.cluster.local"),)
    )
    assert route.retry is not None
    assert route.retry.on[:2] == ("connect-failure", "refused-stream")
    assert route.retry.codes == ()


def test_a_rule_that_only_delegates_leaves_its_requests_to_those_behind_it():
    rules = """
  hosts: [reviews]
  http:
  - delegate: {name: other}
  - route: [{destination: {host: reviews}}]
"""
    (route,) = routes(Mesh(REVIEWS, virtual_service("r", rules)))

    assert route.name == "VirtualService/demo/r#http[1]"


def test_a_timeout_of_nothing_is_no_limit():
    assert routes(one_rule("route: [{destination: {host: reviews}}]"))[0].timeout is None


def test_all_weights_zero_share_equally():
    zero = kinds.HTTPRouteDestination()

    assert destinations.shares((zero, zero)) == ((0, zero, 1), (1, zero, 1))


def test_a_lone_destination_of_weight_zero_gets_all():
    mesh = one_rule("route: [{destination: {host: reviews}, weight: 0}]")

    assert len(routes(mesh)[0].action.to) == 1


def test_numbers_in_retry_on_are_status_codes():
    mesh = one_rule(
        'retries: {attempts: 1, retryOn: "reset, 503"}\nroute: [{destination: {host: reviews}}]'
    )

    retry = routes(mesh)[0].retry
    assert retry is not None
    assert retry.on == ("reset", "retriable-status-codes")
    assert retry.codes == (503,)


def test_no_attempts_is_no_retry_at_all():
    mesh = one_rule("retries: {attempts: 0}\nroute: [{destination: {host: reviews}}]")

    assert routes(mesh)[0].retry is None


def test_a_rewritten_authority_wins_over_a_host_header():
    mesh = one_rule(
        "rewrite: {authority: a.example}\nheaders: {request: {set: {Host: b.example}}}\n"
        "route: [{destination: {host: reviews}}]"
    )

    route = routes(mesh)[0]
    assert route.action.host_rewrite == "a.example"
    assert route.request_headers == ir.HeaderOps()


@pytest.mark.parametrize(
    ("written", "spoken", "port"),
    [
        (kinds.HTTPRedirect(port=80), "http", 0),
        (kinds.HTTPRedirect(port=443), "http", 443),
        (kinds.HTTPRedirect(port=443), "https", 0),
        (kinds.HTTPRedirect(port=80), "https", 80),
        (kinds.HTTPRedirect(port=443, scheme="https"), "http", 0),
        (kinds.HTTPRedirect(port=80, scheme="https"), "http", 80),
    ],
)
def test_a_redirect_leaves_out_the_port_that_its_scheme_implies(
    written: kinds.HTTPRedirect, spoken: str, port: int
):
    assert route_actions.redirect(written, 80, spoken).port == port


def test_a_redirect_at_a_gateway_knows_that_requests_come_by_tls():
    edge = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: demo}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: s, protocol: HTTPS}
    hosts: [a.test]
    tls: {mode: SIMPLE, credentialName: c}
"""
    rule = "hosts: [a.test]\ngateways: [edge]\nhttp: [{redirect: {uri: /x, port: 443}}]"
    mesh = Mesh(edge, virtual_service("r", rule))

    table = mesh.engine.get(route_tables.table, mesh.view(**gateway()), "https.443.s.edge.demo")

    assert table is not None
    host = mesh.engine.get(virtual_hosts.virtual_host, table.entries[0])
    assert [route.action for route in host.routes] == [ir.Redirect(path="/x")]


def test_a_rule_for_another_port_leaves_the_default_route():
    mesh = one_rule("match: [{port: 1}]\nroute: [{destination: {host: elsewhere}}]")

    assert [route.name for route in routes(mesh)] == ["default"]


def test_rules_behind_one_that_takes_everything_are_left_out_and_named():
    mesh = Mesh(
        REVIEWS,
        virtual_service(
            "r",
            "hosts: [reviews]\nhttp:\n- directResponse: {status: 200}\n"
            "- match: [{uri: {prefix: /a}}]\n  directResponse: {status: 201}\n",
        ),
    )
    view = mesh.view()

    assert [route.name for route in routes(mesh)] == ["VirtualService/demo/r#http[0]"]
    entry = entries(mesh, "9080")["reviews.demo.svc.cluster.local:9080"]
    assert mesh.notes(virtual_hosts.virtual_host, entry) == [
        "PLT2006 VirtualService demo/r spec.http[1].match[0]"
    ]
    assert view == mesh.view()


def test_a_rule_for_some_callers_hides_nothing_from_the_others():
    mesh = Mesh(
        REVIEWS,
        virtual_service(
            "r",
            "hosts: [reviews]\nhttp:\n"
            "- match: [{sourceLabels: {app: a}}]\n  directResponse: {status: 200}\n"
            "- directResponse: {status: 201}\n",
        ),
    )

    assert [r.action.status for r in routes(mesh, labels={"app": "a"})] == [200, 201]
    assert [r.action.status for r in routes(mesh, labels={"app": "b"})] == [201]


def test_names_of_entries_and_matches_stay_visible():
    mesh = one_rule(
        "name: first\nmatch: [{name: second, uri: {exact: /}}]\n"
        "route: [{destination: {host: reviews}}]"
    )

    assert routes(mesh)[0].name == "VirtualService/demo/r#http[0](first.second)"


def test_short_names_are_for_the_own_namespace():
    mesh = Mesh(REVIEWS)
    near = entries(mesh, "9080")["reviews.demo.svc.cluster.local:9080"].domains
    far = entries(mesh, "9080", namespace="other")["reviews.demo.svc.cluster.local:9080"].domains

    assert set(near) - set(far) == {"reviews"}
    assert {"reviews.demo", "reviews.demo.svc", "10.0.0.1"} <= set(far)


def test_a_domain_that_two_hosts_would_have_goes_to_the_one_it_is_the_full_name_of():
    entry = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: e}
spec:
  hosts: [reviews.demo]
  ports: [{number: 9080, name: http, protocol: HTTP}]
  resolution: DNS
"""
    mesh = Mesh(REVIEWS, entry)
    found = entries(mesh, "9080")

    assert found["reviews.demo:9080"].domains == ("reviews.demo", "reviews.demo.")
    assert "reviews.demo" not in found["reviews.demo.svc.cluster.local:9080"].domains


def test_a_host_that_only_a_rule_names_is_served_on_port_80():
    rule = virtual_service("v", "hosts: [new.example]\nhttp: [{directResponse: {status: 200}}]")
    mesh = Mesh(service("web", "http:80"), rule)

    found = entries(mesh, "80")["new.example:80"]
    assert found.domains == ("new.example",)


def test_a_wildcard_in_a_label_routes_what_it_covers():
    part = "hosts: ['*b.demo.svc.cluster.local']\nhttp: [{directResponse: {status: 201}}]"
    wide = "hosts: ['*.demo.svc.cluster.local']\nhttp: [{directResponse: {status: 200}}]"
    mesh = Mesh(
        service("web", "http:80"),
        service("api", "http:80"),
        virtual_service("part", part, created=5),
        virtual_service("wide", wide),
    )

    found = entries(mesh, "80")

    rules = {name: [one.key.name for one in entry.rules] for name, entry in found.items()}
    assert rules["web.demo.svc.cluster.local:80"] == ["part"]
    assert rules["api.demo.svc.cluster.local:80"] == ["wide"]


def test_an_address_is_routed_as_callers_say_it():
    body = "hosts: ['fd00::1']\nhttp: [{directResponse: {status: 200}}]"
    mesh = Mesh(virtual_service("six", body))

    table = mesh.engine.get(route_tables.table, mesh.view(), "80")

    assert table is not None
    assert table.entries[0].domains == ("[fd00::1]",)


def test_a_rule_for_an_unknown_host_does_not_take_a_name_that_a_known_one_has():
    rule = virtual_service("v", "hosts: [web.demo]\nhttp: [{directResponse: {status: 200}}]")
    mesh = Mesh(service("web", "http:80"), rule)

    assert list(entries(mesh, "80")) == ["web.demo.svc.cluster.local:80", "allow_any"]


def test_a_headless_service_is_called_by_its_pods_names_too():
    mesh = Mesh(service("set", "http:80", ip="None"))

    assert (
        "*.set.demo.svc.cluster.local"
        in entries(mesh, "80")["set.demo.svc.cluster.local:80"].domains
    )


@pytest.mark.parametrize(
    "match", ["", "match: [{uri: {prefix: /}}], ", "match: [{uri: {regex: '.*'}}], "]
)
def test_a_gateway_puts_what_takes_everything_last(match: str):
    edge = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
"""
    old = f"hosts: [a.test]\ngateways: [edge]\nhttp: [{{{match}directResponse: {{status: 200}}}}]"
    new = (
        "hosts: [a.test]\ngateways: [edge]\n"
        "http: [{match: [{uri: {prefix: /n}}], directResponse: {status: 201}}]"
    )
    mesh = Mesh(edge, virtual_service("old", old), virtual_service("new", new, created=5))
    view = mesh.view(**gateway())
    found = mesh.engine.get(route_tables.table, view, "http.80")
    assert found is not None
    host = mesh.engine.get(virtual_hosts.virtual_host, found.entries[0])

    actions: list[Any] = [route.action for route in host.routes]
    assert [action.status for action in actions] == [201, 200]


def test_a_table_nobody_has_is_none():
    mesh = Mesh(REVIEWS)

    assert mesh.engine.get(route_tables.table, mesh.view(), "no.such:1") is None
    assert mesh.engine.get(route_tables.table, mesh.view(**gateway()), "http.1") is None
    assert mesh.engine.get(route_tables.table, mesh.view(**gateway()), "80") is None


def test_each_port_of_a_wildcard_host_is_reached_through_a_listener_of_a_sidecar():
    wide = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wide, namespace: demo}
spec:
  hosts: ["*.ext.test"]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: more, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: demo}
spec:
  egress: [{port: {number: 8000, name: p, protocol: HTTP}, hosts: ['*/*']}]
"""
    found = entries(Mesh(wide), "0.0.0.0_8000")

    assert {name: entry.domains for name, entry in found.items()} == {
        "*.ext.test:80": ("*.ext.test:80", "*.ext.test"),
        "*.ext.test:81": ("*.ext.test:81",),
        "allow_any": ("*",),
    }
