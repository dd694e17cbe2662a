"""What a real Envoy does with listeners and routes: an egress listener used as an HTTP proxy."""

from __future__ import annotations

import contextlib
import http.client
import socket
from pathlib import Path

from tests.envoy.test_cases_accepted import bootstrap
from tests.support.case import Case
from tests.support.envoy import Envoy
from tests.support.plane import free_port

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {{name: reviews}}
spec: {{clusterIP: 10.96.0.10, ports: [{{name: http, port: 9080}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: greeter}}
spec:
  hosts: [greeter.test]
  ports: [{{number: {tcp}, name: tcp, protocol: TCP}}]
  resolution: DNS
  endpoints: [{{address: 127.0.0.1, ports: {{tcp: {server}}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http:
  - match: [{{uri: {{exact: /teapot}}}}]
    directResponse: {{status: 418, body: {{string: short}}}}
  - match: [{{uri: {{prefix: /old}}}}]
    redirect: {{uri: /new, redirectCode: 308}}
  - match: [{{headers: {{user: {{regex: "j.*n"}}}}}}]
    directResponse: {{status: 299}}
  - match: [{{withoutHeaders: {{wanted: {{exact: "yes"}}}}}}]
    directResponse: {{status: 298}}
  - route: [{{destination: {{host: reviews, subset: missing}}}}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: client}}
spec:
  outboundTrafficPolicy: {{mode: REGISTRY_ONLY}}
  egress:
  - port: {{number: {proxy}, protocol: HTTP, name: http}}
    bind: 127.0.0.1
    captureMode: NONE
    hosts: ["./*"]
  - hosts: ["./greeter.test"]
"""


def test_a_proxied_client_is_answered_as_the_rules_say(tmp_path: Path):
    proxy, tcp = free_port(), free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        text = OBJECTS.format(proxy=proxy, tcp=tcp, server=server.getsockname()[1])
        envoy = Envoy(bootstrap(resources(tmp_path, text)), tmp_path)
        with envoy:
            envoy.ready()

            def status(url: str, **headers: str) -> int:
                connection = http.client.HTTPConnection("127.0.0.1", proxy, timeout=10)
                with contextlib.closing(connection):
                    connection.request("GET", url, headers=headers)
                    return connection.getresponse().status

            host = "http://reviews:9080"
            assert status(f"{host}/teapot") == 418
            assert status("http://reviews/teapot") == 418
            assert status("http://reviews.default.svc.cluster.local:9080/teapot") == 418
            assert status(f"{host}/older") == 308
            assert status(f"{host}/", user="jason") == 299
            assert status(f"{host}/", user="jasons") == 298
            assert status(f"{host}/", wanted="yes") == 503
            assert status("http://unknown.test/") == 502
            assert greeting(server, tcp) == b"hello"


def resources(directory: Path, text: str):
    """What a sidecar that is not captured is sent for these objects."""
    (directory / "in").mkdir()
    (directory / "in" / "objects.yaml").write_text(text)
    (directory / "proxies.yaml").write_text("client: {interception: NONE}")
    found = Case(directory).resources("client")
    clusters = found["clusters"]
    # there is no control plane here that could be asked for endpoints
    found["clusters"] = {name: one for name, one in clusters.items() if one.get("type") != "EDS"}
    return found


def greeting(server: socket.socket, port: int) -> bytes:
    """What a server says that speaks first, through the proxy."""
    server.settimeout(10)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        accepted, _ = server.accept()
        with accepted:
            accepted.sendall(b"hello")
            return client.recv(5)
