"""What the listeners of proxies accept of TLS: nothing that is known to be weak."""

from __future__ import annotations

import base64
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from plait.mesh import ir
from tests.support import istio
from tests.support.envoy import eventually
from tests.support.grading import needs_testssl, severe
from tests.support.netns import needs_root, run
from tests.support.pki import Authority
from tests.support.plane import free_port
from tests.support.secured import PORTS, SPIFFE, Secured, secured
from tests.support.world import Loopback

ALL = "ALL:@SECLEVEL=0"
HANDSHAKE = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["istio-http/1.1", "istio"])
context.load_cert_chain(sys.argv[3])
context.set_ciphers(sys.argv[5])
context.minimum_version = context.maximum_version = ssl.TLSVersion[sys.argv[4]]
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as raw:
        with context.wrap_socket(raw) as sock:
            print(*sock.cipher()[:2])
except (OSError, ssl.SSLError) as error:
    print("refused")
"""


@needs_testssl
def test_nothing_severe_is_found_at_a_gateway(tmp_path: Path):
    authority, port = Authority("public"), free_port()
    pair = authority.issue("shop.example")
    data = {"tls.crt": pair.chain, "tls.key": pair.key}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "shop", "namespace": "default"},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }
    server = {
        "port": {"number": port, "name": "https", "protocol": "HTTPS"},
        "hosts": ["*"],
        "tls": {"mode": "SIMPLE", "credentialName": "shop"},
    }
    spec = {"selector": {"istio": "ingressgateway"}, "servers": [server]}
    with ExitStack() as stack:
        world = Loopback(tmp_path, stack)
        world.start(ir.Role.GATEWAY, "gateway")
        world.plane.apply(secret, istio.document("Gateway", "shop", spec))
        eventually(lambda: ssl.get_server_certificate(("127.0.0.1", port)), 15, "the gateway")

        assert severe(f"127.0.0.1:{port}", authority.root, tmp_path) == {}


@pytest.fixture(scope="module")
def world() -> Iterator[Secured]:
    with secured() as found:
        found.mode("STRICT")
        yield found


# testssl cannot offer the mesh's ALPN, without which a workload's port lets nobody in
@needs_root
@pytest.mark.parametrize(
    ("version", "ciphers", "accepted"),
    [
        ("TLSv1_3", ALL, True),
        ("TLSv1_2", ALL, True),
        ("TLSv1_2", "ECDHE+AESGCM", True),
        ("TLSv1_1", ALL, False),
        ("TLSv1", ALL, False),
        ("TLSv1_2", "kRSA:@SECLEVEL=0", False),
        ("TLSv1_2", "aNULL:eNULL:@SECLEVEL=0", False),
    ],
)
def test_a_workload_agrees_to_no_weak_tls(
    world: Secured, version: str, ciphers: str, *, accepted: bool
):
    number = PORTS["http"][0]
    pair = world.mesh.issue(f"{SPIFFE}/web")
    file = world.directory / "client.pem"
    file.write_text(pair.chain + pair.key)
    words = (world.network.address("server"), str(number), str(file), version, ciphers)
    command = (sys.executable, "-c", HANDSHAKE, *words)

    said = run(*world.network.prefix("plain"), *command).strip()

    assert (said != "refused") == accepted, said
