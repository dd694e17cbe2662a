"""A gateway that an agent runs: certificates of Secrets pass its relay, and so do new ones."""

from __future__ import annotations

import base64
import socket
import ssl
from pathlib import Path
from typing import Any

from plait.base.place import ProxySpec
from tests.support import istio
from tests.support.agent import LONG, agent
from tests.support.envoy import eventually
from tests.support.netns import needs_root
from tests.support.pki import Authority, Pair
from tests.support.plane import Plane, free_port

pytestmark = needs_root
AUTHORITY = Authority()


def secret(pair: Pair) -> dict[str, Any]:
    texts = {"tls.crt": pair.chain, "tls.key": pair.key}
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
    spec = ProxySpec(
        id="default.gw-1",
        role="router",
        name="gw-1",
        namespace="default",
        addresses=("127.0.0.1",),
        labels={"istio": "ingressgateway"},
    )

    def shown() -> bytes:
        context = ssl.create_default_context(cafile=roots)
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        with context.wrap_socket(raw, server_hostname="a.example") as sock:
            return sock.getpeercert(binary_form=True) or b""

    with Plane(tmp_path) as plane, agent(plane.xds) as running:
        plane.apply(istio.document("Gateway", "gw", gateway), secret(first), wait=False)
        running.want(spec)
        running.ready(spec.id)
        eventually(lambda: shown() == ssl.PEM_cert_to_DER_cert(first.chain), LONG, "the first")

        plane.apply(secret(second))

        eventually(lambda: shown() == ssl.PEM_cert_to_DER_cert(second.chain), LONG, "the second")
        kept = [path for path in running.place.run.rglob("*") if path.is_file()]
        middle = second.key.splitlines()[2].encode()
        assert all(p.stat().st_mode & 0o077 == 0 for p in kept if middle in p.read_bytes())
