"""Servers before which no proxy stands."""

from __future__ import annotations

from plait.mesh import proxyless
from tests.support.mesh import Mesh, key

OWNER = key("ServiceEntry", "web")


def entry(location: str = "MESH_INTERNAL") -> str:
    """``web`` with an endpoint that takes mutual TLS, and one that does not say so."""
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web, namespace: demo}}
spec:
  hosts: [web.demo, www.demo]
  resolution: STATIC
  location: {location}
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}]
  endpoints:
  - {{address: 10.0.0.1, labels: {{app: web, security.istio.io/tlsMode: istio}}}}
  - {{address: 10.0.0.2, labels: {{app: old}}}}
"""


def policy(mode: str, labels: str = "{app: old}") -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: old, namespace: demo}}
spec: {{selector: {{matchLabels: {labels}}}, mtls: {{mode: {mode}}}}}
"""


def found(*texts: str) -> list[tuple[str, int, str, str]]:
    ports = Mesh(*texts).engine.get(proxyless.ports, OWNER)
    return [(one.workload, one.number, one.protocol.value, one.asked.mode.value) for one in ports]


def test_who_does_not_say_that_it_takes_mutual_tls_is_found_once():
    assert found(entry()) == [("web", 8080, "HTTP", "PERMISSIVE")]


def test_what_policies_say_of_it_is_told():
    assert found(entry(), policy("DISABLE")) == [("web", 8080, "HTTP", "DISABLE")]
    assert found(entry(), policy("STRICT", "{app: web}"))[0][3] == "PERMISSIVE"


def test_hosts_outside_the_mesh_and_objects_that_are_gone_have_none():
    assert found(entry("MESH_EXTERNAL")) == []
    assert found() == []
