"""Why calls are encrypted or not, at both ends, and how it is said."""

from __future__ import annotations

from typing import Any

import pytest

from plait.config.mesh_config import MeshConfig
from plait.config.meta import Key
from plait.mesh import clusters as mesh_clusters
from plait.serve import encryption
from plait.ui.cli import why_encryption
from plait.xds import clusters, listeners
from tests.support.mesh import Mesh

HOST = "web.demo.svc.cluster.local"
AUTOMATIC = "automatic: no DestinationRule says how to call it"
UNABLE = "; it does not say that it takes mutual TLS"
DEFAULT = "the default: no PeerAuthentication says otherwise"


def entry(*modes: str, location: str = "MESH_INTERNAL", resolution: str = "STATIC") -> str:
    """``web`` with an endpoint for each mode that its workload says it takes."""
    listed = "\n".join(
        f"  - {{address: 10.0.0.{i}, labels: "
        f"{{app: web, version: v{i}, security.istio.io/tlsMode: {mode}}}}}"
        for i, mode in enumerate(modes, 1)
    )
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web}}
spec:
  hosts: [{HOST}]
  resolution: {resolution}
  location: {location}
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}]
  endpoints:
{listed}
"""


def rule(policy: str, subset: str = "{}") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web}}
spec:
  host: {HOST}
  trafficPolicy: {policy}
  subsets: [{{name: v1, labels: {{version: v1}}, trafficPolicy: {subset}}}]
"""


def peers(spec: str, name: str = "peers", namespace: str = "demo") -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
"""


SELECTING = "selector: {matchLabels: {app: web}}"


def located(key: Key) -> str:
    return f"{key.name}.yaml:1"


def cluster(mesh: Mesh, subset: str = "", *, certified: bool = True) -> dict[str, Any]:
    view = mesh.placed(certified=certified).view
    ref = mesh.engine.get(mesh_clusters.ref, view, f"outbound|80|{subset}|{HOST}")
    return encryption.told(mesh.engine, (clusters.outbound, (ref,)), located)


def said(page: dict[str, Any]) -> list[str]:
    return list(why_encryption.lines(page))


def test_by_itself_each_endpoint_is_called_by_what_it_takes():
    found = said(cluster(Mesh(entry("istio", "disabled"))))

    assert found == [
        f"calls by mutual TLS where the endpoint takes it: {AUTOMATIC}",
        f"  1 endpoint of web in demo: mutual TLS; port 8080 is PERMISSIVE  {DEFAULT}",
        f"  1 endpoint of web in demo: plain text; port 8080 is PERMISSIVE  {DEFAULT}{UNABLE}",
    ]


@pytest.mark.parametrize(
    ("spec", "port"),
    [
        ("{mtls: {mode: STRICT}}", "STRICT  PeerAuthentication demo/peers spec.mtls"),
        (
            f'{{{SELECTING}, portLevelMtls: {{"8080": {{mode: STRICT}}}}}}',
            "STRICT  PeerAuthentication demo/peers spec.portLevelMtls.8080",
        ),
    ],
)
def test_the_policy_of_the_server_is_named_with_its_field(spec: str, port: str):
    _, server = said(cluster(Mesh(entry("istio"), peers(spec))))

    assert server == (f"  1 endpoint of web in demo: mutual TLS; port 8080 is {port}  peers.yaml:1")


def test_a_server_that_takes_plain_text_alone_is_called_so_by_itself():
    _, server = said(cluster(Mesh(entry("istio"), peers("{mtls: {mode: DISABLE}}"))))

    assert server.startswith("  1 endpoint of web in demo: plain text; port 8080 is DISABLE")


@pytest.mark.parametrize(
    ("policy", "subset", "speaks", "path"),
    [
        ("{tls: {mode: DISABLE}}", "{}", "plain text: DISABLE", "spec.trafficPolicy.tls"),
        ("{tls: {mode: SIMPLE}}", "{}", "TLS: SIMPLE", "spec.trafficPolicy.tls"),
        (
            "{portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]}",
            "{}",
            "mutual TLS: ISTIO_MUTUAL",
            "spec.trafficPolicy.portLevelSettings[0].tls",
        ),
        (
            "{tls: {mode: SIMPLE}}",
            "{tls: {mode: DISABLE}}",
            "plain text: DISABLE",
            "spec.subsets[0].trafficPolicy.tls",
        ),
    ],
)
def test_the_rule_of_the_caller_is_named_with_its_field(
    policy: str, subset: str, speaks: str, path: str
):
    caller, _ = said(cluster(Mesh(entry("istio"), rule(policy, subset)), "v1"))

    assert caller == f"calls by {speaks}  DestinationRule demo/web {path}  web.yaml:1"


@pytest.mark.parametrize(
    ("mode", "other", "problem"),
    [
        ("DISABLE", "STRICT", "refused: the port takes mutual TLS alone"),
        ("SIMPLE", "STRICT", "refused: the port takes mutual TLS alone"),
        (
            "ISTIO_MUTUAL",
            "DISABLE",
            "the proxy decrypts nothing: the application gets what comes",
        ),
    ],
)
def test_two_ends_that_do_not_fit_are_said(mode: str, other: str, problem: str):
    mesh = Mesh(
        entry("istio"), rule(f"{{tls: {{mode: {mode}}}}}"), peers(f"{{mtls: {{mode: {other}}}}}")
    )

    assert said(cluster(mesh))[1].endswith(f"; {problem}")


@pytest.mark.parametrize(
    ("mesh", "certified", "reason"),
    [
        (Mesh(entry("istio")), False, "the caller has no identity"),
        (
            Mesh(entry("istio"), settings=MeshConfig(enable_auto_mtls=False)),
            True,
            "enableAutoMtls is off in the mesh configuration",
        ),
        (Mesh(entry("istio", location="MESH_EXTERNAL")), True, "the host is outside the mesh"),
    ],
)
def test_why_nothing_is_encrypted_by_itself_is_said(mesh: Mesh, reason: str, *, certified: bool):
    assert said(cluster(mesh, certified=certified))[0] == f"calls by plain text: {reason}"


def test_endpoints_outside_the_mesh_are_under_no_policy():
    mesh = Mesh(entry("istio", location="MESH_EXTERNAL"), peers("{mtls: {mode: STRICT}}"))

    assert said(cluster(mesh))[1] == (
        "  1 endpoint of web in demo: plain text; it is outside the mesh"
    )


def test_what_cannot_be_had_is_said_and_so_is_that_nobody_is_there():
    mesh = Mesh(entry("istio"), rule("{tls: {mode: ISTIO_MUTUAL}}"))

    assert said(cluster(mesh, certified=False))[0].endswith(
        "web.yaml:1; it needs an identity that the caller has not"
    )
    assert said(cluster(Mesh(entry())))[1] == "  no endpoint is ready"


def inbound(mesh: Mesh, *, certified: bool = True) -> list[str]:
    placed = mesh.placed(certified=certified, labels={"app": "web"}, addresses=("10.0.0.1",))
    call = (listeners.inbound_listener, (placed.inbound, "virtualInbound"))
    return said(encryption.told(mesh.engine, call, located))


def test_each_port_of_a_workload_names_its_policy():
    ports = '{"8080": {mode: DISABLE}}'
    mesh = Mesh(
        entry("istio"),
        peers(f"{{{SELECTING}, portLevelMtls: {ports}}}", "web"),
        peers("{mtls: {mode: STRICT}}", "mesh", "istio-system"),
    )

    wider = "PeerAuthentication istio-system/mesh"
    assert inbound(mesh) == [
        "port 8080: DISABLE  PeerAuthentication demo/web spec.portLevelMtls.8080  web.yaml:1",
        f"ports that nothing names: STRICT  {wider} spec.mtls  mesh.yaml:1",
    ]


def test_ports_without_a_policy_or_an_identity_say_so():
    mesh = Mesh(entry("istio"))

    assert inbound(mesh)[0] == f"port 8080: PERMISSIVE  {DEFAULT}"
    assert inbound(mesh, certified=False)[0] == (
        "port 8080: DISABLE  the workload has no identity, so no caller is asked"
    )


def test_ports_that_a_policy_alone_names_and_closed_ones_are_said():
    ports = '{"9999": {mode: STRICT}}'
    mesh = Mesh(entry("istio"), peers(f"{{{SELECTING}, portLevelMtls: {ports}}}", "web"))
    strict = "STRICT  PeerAuthentication demo/web spec.portLevelMtls.9999  web.yaml:1"

    assert inbound(mesh)[1] == f"port 9999: {strict}"
    assert inbound(mesh, certified=False)[1] == f"port 9999: {strict}"
    assert inbound(mesh, certified=False)[0].startswith("port 8080: DISABLE")


def test_other_resources_say_nothing():
    assert encryption.told(Mesh().engine, (clusters.fixed, ()), located) == {}
