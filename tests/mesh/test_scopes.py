"""What a Sidecar lets through."""

from __future__ import annotations

import pytest

from plait.mesh import scopes, virtual_services, visibility
from tests.support.mesh import Mesh, key, service, virtual_service

DEFAULT = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: istio-system}
spec:
  egress: [{hosts: ['./*', 'istio-system/*']}]
"""


@pytest.mark.parametrize(
    ("patterns", "admitted"),
    [
        ((("*", "*"),), True),
        ((("demo", "*"),), True),
        ((("other", "*"),), False),
        ((("demo", "*.test"),), True),
        ((("demo", "*.other"),), False),
        ((("demo", "a.test"),), True),
        ((("~", "*"),), False),
        ((("*", "*"), ("~demo", "*")), False),
        ((("*", "*"), ("~other", "*")), True),
    ],
)
def test_a_host_passes_where_a_pattern_names_it_and_none_excludes_it(
    patterns: tuple[scopes.Pattern, ...], admitted: bool
):
    assert scopes.admits(patterns, "demo", "a.test") is admitted


def test_a_wildcard_passes_where_it_overlaps():
    assert scopes.admits((("*", "a.test"),), "demo", "*.test")


def test_the_default_of_the_mesh_shows_each_namespace_its_own_hosts():
    route = "hosts: [a]\nhttp: [{route: [{destination: {host: a}}]}]"
    mesh = Mesh(
        DEFAULT,
        service("a", "http:80"),
        service("b", "http:80", namespace="istio-system"),
        service("c", "http:80", namespace="other"),
        virtual_service("route", route),
    )
    view, name = mesh.view(), "a.demo.svc.cluster.local"

    seen = mesh.engine.get(visibility.visible, view)

    assert [host.name for host in seen] == [name, "b.istio-system.svc.cluster.local"]
    assert mesh.engine.get(visibility.visible_host, view, name) == seen[0]
    assert mesh.engine.get(virtual_services.chosen, view, name) == key("VirtualService", "route")
