"""A gateway that an agent runs: certificates of Secrets pass its relay, and so do new ones."""

from __future__ import annotations

import base64
import os
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

from plait.base.place import ProxySpec
from tests.support import istio, traffic
from tests.support.agent import LONG, agent
from tests.support.envoy import eventually
from tests.support.netns import needs_root
from tests.support.outside import Outside, fingerprint
from tests.support.pki import Authority, Pair
from tests.support.plane import Plane, free_port

pytestmark = needs_root
AUTHORITY = Authority()
GATEWAY = ProxySpec(
    id="default.gw-1",
    role="router",
    name="gw-1",
    namespace="default",
    addresses=("127.0.0.1",),
    labels={"istio": "ingressgateway"},
)


def secret(pair: Pair, **more: str) -> dict[str, Any]:
    texts = {"tls.crt": pair.chain, "tls.key": pair.key, **more}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "web", "namespace": "default"},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()},
    }


def test_certificates_of_secrets_reach_a_gateway_behind_its_agent(tmp_path: Path):
    port, roots = free_port(), tmp_path / "roots.pem"
    roots.write_text(AUTHORITY.root)
    first, second = AUTHORITY.issue("a.example"), AUTHORITY.issue("a.example")
    server = {
        "port": {"number": port, "name": "https", "protocol": "HTTPS"},
        "hosts": ["a.example"],
        "tls": {"mode": "SIMPLE", "credentialName": "web"},
    }
    gateway = {"selector": {"istio": "ingressgateway"}, "servers": [server]}

    def shown() -> bytes:
        context = ssl.create_default_context(cafile=roots)
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        with context.wrap_socket(raw, server_hostname="a.example") as sock:
            return sock.getpeercert(binary_form=True) or b""

    with Plane(tmp_path) as plane, agent(plane.xds) as running:
        plane.apply(istio.document("Gateway", "gw", gateway), secret(first), wait=False)
        running.want(GATEWAY)
        running.ready(GATEWAY.id)
        eventually(lambda: shown() == ssl.PEM_cert_to_DER_cert(first.chain), LONG, "the first")

        plane.apply(secret(second))

        eventually(lambda: shown() == ssl.PEM_cert_to_DER_cert(second.chain), LONG, "the second")
        kept = [path for path in running.place.run.rglob("*") if path.is_file()]
        middle = second.key.splitlines()[2].encode()
        assert all(p.stat().st_mode & 0o077 == 0 for p in kept if middle in p.read_bytes())


def test_a_gateway_calls_out_by_a_secret_also_while_the_control_plane_is_away(tmp_path: Path):
    port, host = free_port(), "bank.example"
    client = AUTHORITY.issue("client.example")
    more: dict[str, Any] = {"location": "MESH_EXTERNAL", "hosts": [host]}
    tls = {"mode": "MUTUAL", "credentialName": "web"}
    to = {"route": [{"destination": {"host": host}}]}

    def seen() -> str:
        status, body = traffic.get(f"127.0.0.1:{port}", headers={"Host": host})
        return str(body["name"]) if status == 200 else str(status)

    server = Outside(tmp_path, AUTHORITY.issue(host), AUTHORITY.root)
    with server, Plane(tmp_path) as plane, agent(plane.xds) as running:
        plane.apply(
            secret(client, **{"ca.crt": AUTHORITY.root}),
            istio.gateway("gw", (port, "HTTP")),
            istio.entry("bank", [("127.0.0.1", "v1")], port=443, target=server.port, **more),
            istio.virtual_service("bank", to, hosts=[host], gateways=["gw"]),
            istio.document(
                "DestinationRule", "bank", {"host": host, "trafficPolicy": {"tls": tls}}
            ),
            wait=False,
        )
        running.want(GATEWAY)
        before = running.ready(GATEWAY.id)
        eventually(lambda: seen() == fingerprint(client), LONG, "the certificate is shown")

        plane.stop(signal.SIGKILL)
        os.kill(before.pid, signal.SIGKILL)

        running.ready(GATEWAY.id, other_than=before.pid)
        eventually(lambda: seen() == fingerprint(client), LONG, "it is shown again")
