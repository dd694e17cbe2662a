"""Route tables as Envoy gets them."""

from __future__ import annotations

from typing import Any

import pytest

from plait.config.kinds.observed import Rejection
from plait.mesh import ir, route_tables, virtual_hosts
from plait.xds import protos, routes
from plait.xds.resource import Absent, Child, Present
from tests.support.mesh import Mesh, decoded, service, virtual_service

A = service("a", "http:80")
B = service("b", "http:80")


def table(mesh: Mesh, name: str = "80") -> Present:
    answer = mesh.engine.get(routes.table, mesh.view(), name)
    assert isinstance(answer, Present)
    return answer


def child(mesh: Mesh, name: str) -> Child:
    return next(one for one in table(mesh).resource.children if one.name == name)


def refuse(mesh: Mesh, one: Child, accepted: bytes | None) -> None:
    row = Rejection(digest=one.digest, name=one.name, proxy="p", error="no", accepted=accepted)
    mesh.engine.commit([("Rejection", one.digest, row)])


def test_the_joined_table_parses_as_one_message():
    mesh = Mesh(A, B)
    message = protos.RouteConfiguration.FromString(table(mesh).resource.body)

    assert [host.name for host in message.virtual_hosts] == [
        "a.demo.svc.cluster.local:80",
        "b.demo.svc.cluster.local:80",
        "allow_any",
    ]
    assert message.ignore_port_in_host_matching
    assert not message.validate_clusters.value
    assert message.max_direct_response_body_size_bytes.value == 1048576


def test_a_refused_virtual_host_answers_503_and_the_others_go_on():
    mesh = Mesh(A, B)
    before = child(mesh, "a.demo.svc.cluster.local:80")
    other = child(mesh, "b.demo.svc.cluster.local:80")

    refuse(mesh, before, None)

    after = decoded(table(mesh))["virtual_hosts"][0]
    assert after["domains"][0] == "a.demo.svc.cluster.local"
    assert after["routes"][0]["direct_response"] == {"status": 503}
    assert child(mesh, "b.demo.svc.cluster.local:80") == other


def test_a_refused_virtual_host_keeps_its_last_accepted_form():
    mesh = Mesh(A)
    good = child(mesh, "a.demo.svc.cluster.local:80")
    mesh.apply(virtual_service("v", "hosts: [a]\nhttp: [{directResponse: {status: 200}}]"))
    bad = child(mesh, "a.demo.svc.cluster.local:80")

    refuse(mesh, bad, good.body)

    assert child(mesh, "a.demo.svc.cluster.local:80").body == good.body


def test_a_virtual_host_that_cannot_be_made_answers_503(monkeypatch: pytest.MonkeyPatch):
    mesh = Mesh(A, virtual_service("v", "hosts: [a]\nhttp: [{directResponse: {status: 200}}]"))

    def broken(*_: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr("plait.mesh.virtual_hosts.routes", broken)

    plain = decoded(table(mesh))["virtual_hosts"]
    assert plain[0]["routes"][0]["direct_response"] == {"status": 503}
    assert plain[1]["name"] == "allow_any"


def test_a_new_weight_re_runs_only_its_routes_and_re_sends_one_virtual_host():
    def split(weight: int) -> str:
        return virtual_service(
            "v",
            "hosts: [a]\nhttp: [{route: [{destination: {host: a}, weight: 1},"
            f" {{destination: {{host: b}}, weight: {weight}}}]}}]",
        )

    many = [service(f"s{i}", "http:80") for i in range(20)]
    mesh = Mesh(A, B, *many, split(1))
    view, far = mesh.view(), mesh.view(namespace="other")
    before = mesh.engine.watch(routes.table, view, "80")
    mesh.engine.watch(routes.table, far, "80")
    runs = mesh.engine.runs.copy()

    changed = mesh.apply(split(2))

    after = mesh.engine.get(routes.table, view, "80")
    assert isinstance(before, Present)
    assert isinstance(after, Present)
    pairs = zip(before.resource.children, after.resource.children, strict=True)
    assert sum(old != new for old, new in pairs) == 1
    assert {call[1][0] for call in changed} == {view, far}
    assert {query.__name__: n for query, n in (mesh.engine.runs - runs).items()} == {
        "rule": 1,  # what it applies to: equal, so nothing else looks again
        "routes": 1,
        "virtual_host": 2,  # for callers near and far, whose names for it differ
        "encoded": 2,
        "table": 2,
    }


def test_an_object_that_comes_back_the_same_changes_nothing():
    mesh = Mesh(A, virtual_service("v", "hosts: [a]\nhttp: [{directResponse: {status: 200}}]"))
    mesh.engine.watch(routes.table, mesh.view(), "80")
    runs = mesh.engine.runs.copy()

    assert mesh.apply(A) == set()
    assert mesh.engine.runs == runs


def test_an_unknown_table_is_absent():
    mesh = Mesh()

    assert mesh.engine.get(routes.table, mesh.view(), "nobody:1") == Absent()


def test_views_that_differ_only_in_namespace_share_what_short_names_do_not_touch():
    mesh = Mesh(A)
    tables = [mesh.engine.get(route_tables.table, mesh.view(namespace=name), "80") for name in "xy"]

    assert tables[0] == tables[1]
    assert tables[0] is not None
    mesh.engine.get(virtual_hosts.virtual_host, tables[0].entries[0])


def test_a_host_that_wants_tls_redirects_and_an_end_is_matched_as_an_expression():
    route = ir.Route(
        name="r", match=ir.Match(path=ir.Suffix(".png")), action=ir.Redirect(prefix="/x", port=81)
    )
    host = ir.VirtualHost(name="h", domains=("h",), routes=(route,), require_tls=True)
    message = protos.VirtualHost.FromString(routes.encode_virtual_host(host))

    assert message.require_tls == 2
    assert message.routes[0].match.safe_regex.regex == ".*\\.png"
    assert message.routes[0].redirect.prefix_rewrite == "/x"
    assert message.routes[0].redirect.port_redirect == 81
