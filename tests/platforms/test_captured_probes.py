"""Probes reach the application past the capture, so what its proxy demands of callers is no matter.

Nobody listens at the port to which calls from outside are led: what is captured is refused.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from plait.base import netns
from plait.base.processes import Command
from plait.config import capture
from plait.config.kinds.container import GRPCAction, HTTPGetAction, Probe, TCPSocketAction
from plait.platforms.local.probes import Target, ask
from tests.support.envoy import eventually
from tests.support.netns import Network, needs_root

pytestmark = needs_root
HTTP, GRPC = 8080, 8081
_APPLICATION = f"""
import http.server
from concurrent import futures
import grpc
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
server = grpc.server(futures.ThreadPoolExecutor(2))
handler = grpc.unary_unary_rpc_method_handler(lambda request, context: bytes([8, 1]))
server.add_generic_rpc_handlers(
    (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {{"Check": handler}}),)
)
server.add_insecure_port("0.0.0.0:{GRPC}")
server.start()
http.server.HTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer(("0.0.0.0", {HTTP}), Page).serve_forever()
"""


def entry(command: Sequence[str]) -> Command:
    return Command(command=tuple(command))


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as made:
        made.host("web")
        made.host("other")
        made.capture("web", capture.Capture())
        command = [*made.prefix("web"), sys.executable, "-c", _APPLICATION]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: called(made, "web", "127.0.0.1"), 20, "the application listens")
            yield made
        finally:
            process.kill()
            process.wait(10)


def called(network: Network, host: str, address: str) -> bool:
    path = f"/run/netns/{network.namespace(host)}"
    netns.inside(path, lambda: socket.create_connection((address, HTTP), 10)).close()
    return True


def test_a_caller_from_outside_is_captured(network: Network):
    with pytest.raises(ConnectionRefusedError):
        called(network, "other", network.address("web"))


@pytest.mark.parametrize(
    "probe",
    [
        Probe(http_get=HTTPGetAction(port=HTTP)),
        Probe(tcp_socket=TCPSocketAction(port=HTTP)),
        Probe(grpc=GRPCAction(port=GRPC)),
    ],
    ids=["http", "tcp", "grpc"],
)
def test_a_probe_is_not(network: Network, probe: Probe):
    target = Target(
        network=f"/run/netns/{network.namespace('web')}",
        address=network.address("web"),
        ports={},
        entry=entry,
    )

    assert asyncio.run(ask(probe, target, 10)) == ""
