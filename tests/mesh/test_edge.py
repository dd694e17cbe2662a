"""Which ports of the machine lead to which gateways."""

from __future__ import annotations

from plait.mesh import edge
from tests.support.mesh import Mesh, key


def gateway_pod(name: str, label: str = "ingressgateway") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: edge
  labels: {{istio: {label}}}
  annotations: {{inject.istio.io/templates: gateway}}
spec:
  containers: [{{name: istio-proxy, image: auto}}]
"""


def gateway(name: str, port: int, label: str = "ingressgateway") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: demo}}
spec:
  selector: {{istio: {label}}}
  servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*']}}]
"""


def doors(mesh: Mesh) -> dict[int, list[str]]:
    return {d.port: [pod.name for pod in d.pods] for d in mesh.engine.get(edge.doors)}


def test_a_port_leads_to_every_gateway_that_serves_it():
    mesh = Mesh(gateway_pod("one"), gateway_pod("two"), gateway("web", 8080))

    assert doors(mesh) == {8080: ["one", "two"]}


def test_pods_that_are_no_gateways_have_no_port():
    mesh = Mesh(gateway("web", 8080), gateway_pod("one").replace("image: auto", "image: web"))

    assert doors(mesh) == {}


def test_of_unlike_gateways_the_first_by_name_has_the_port():
    mesh = Mesh(
        *(gateway_pod("b-pod", "b"), gateway_pod("a-pod", "a")),
        *(gateway("b", 8080, "b"), gateway("a", 8080, "a"), gateway("more", 8081, "b")),
    )

    assert doors(mesh) == {8080: ["a-pod"], 8081: ["b-pod"]}
    assert mesh.notes(edge.doors) == ["PLT3001 Pod edge/b-pod"]


def test_a_gateway_that_is_written_later_opens_its_port():
    mesh = Mesh(gateway_pod("one"))
    assert doors(mesh) == {}

    mesh.apply(gateway("web", 8080))

    assert doors(mesh) == {8080: ["one"]}


def test_a_gateway_that_is_gone_leaves_its_port():
    mesh = Mesh(gateway_pod("one"), gateway("web", 8080))
    assert doors(mesh) == {8080: ["one"]}

    mesh.delete(key("Pod", "one", "edge"))

    assert doors(mesh) == {}
