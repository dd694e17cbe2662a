"""From a subscription to the call that answers it."""

from __future__ import annotations

from plait.xds import resource, subscriptions
from plait.xds.resource import Absent, Pending, Present
from tests.support.mesh import Mesh, gateway, service

MESH = (service("a", "http:80"),)


def test_a_sidecar_has_an_outbound_part_that_is_shared_and_an_inbound_one():
    mesh = Mesh(*MESH)
    one, two = mesh.placed(labels={"app": "a"}), mesh.placed(labels={"app": "b"})

    first = subscriptions.wildcard(resource.LISTENER, one)
    second = subscriptions.wildcard(resource.LISTENER, two)
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_a_gateway_has_no_inbound_part():
    placed = Mesh(*MESH).placed(**gateway())

    assert len(subscriptions.wildcard(resource.CLUSTER, placed)) == 1


def test_routes_and_endpoints_are_asked_for_by_name():
    placed = Mesh(*MESH).placed()

    assert subscriptions.wildcard(resource.ROUTES, placed) == ()
    assert subscriptions.wildcard(resource.ENDPOINTS, placed) == ()


def test_every_type_can_be_asked_for_by_name():
    mesh = Mesh(*MESH)
    placed = mesh.placed()
    asked = {
        resource.ROUTES: "80",
        resource.LISTENER: "0.0.0.0_80",
        resource.CLUSTER: "outbound|80||a.demo.svc.cluster.local",
        resource.ENDPOINTS: "outbound|80||a.demo.svc.cluster.local",
    }

    for type_url, name in asked.items():
        query, arguments = subscriptions.named(type_url, name, placed)
        assert isinstance(mesh.engine.get(query, *arguments), Present), type_url


def test_what_is_not_there_is_absent():
    mesh = Mesh(*MESH)
    placed = mesh.placed()

    for type_url in (*resource.PUSH_ORDER, "type.googleapis.com/unknown"):
        query, arguments = subscriptions.named(type_url, "plait.extensions", placed)
        # an empty slot has its default: nobody need be told
        expected = Pending() if type_url == resource.EXTENSION else Absent()
        assert mesh.engine.get(query, *arguments) == expected, type_url
