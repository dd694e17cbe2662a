"""Servers and clients whose certificate is revoked, by lists in files of the proxy's machine."""

from __future__ import annotations

import http.client
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from plait.base.place import ProxySpec
from plait.mesh import ir
from tests.support import istio, traffic
from tests.support.agent import LONG, agent
from tests.support.envoy import Envoy, eventually
from tests.support.netns import needs_root
from tests.support.outside import Outside
from tests.support.pki import Authority, Pair
from tests.support.plane import Plane, free_port
from tests.support.sds import Secrets
from tests.support.secured import sds_cluster
from tests.support.world import proxy

SERVERS = Authority("servers")
HOST = "bank.example"
GOOD, REVOKED = SERVERS.issue(HOST), SERVERS.issue(HOST)
LABELS = {"istio": "ingressgateway"}


class World:
    """A control plane with a gateway's objects, and the server behind it."""

    def __init__(self, stack: ExitStack) -> None:
        # not below pytest's own directory, which other users may not enter
        made = stack.enter_context(tempfile.TemporaryDirectory(prefix="plait-crl-"))
        self.directory = Path(made)
        self.directory.chmod(0o755)
        self.roots, self.revoked = self.directory / "ca.pem", self.directory / "ca.crl"
        self.roots.write_text(SERVERS.root)
        self.revoked.write_text(SERVERS.revoke(REVOKED))
        self.server = stack.enter_context(Outside(self.directory, GOOD))
        self.port, out = free_port(), free_port()
        self.socket = self.directory / "xds.sock"
        self.plane = stack.enter_context(Plane(self.directory, "--xds", f"unix:{self.socket}"))
        more: dict[str, Any] = {"location": "MESH_EXTERNAL", "hosts": [HOST]}
        to = {"route": [{"destination": {"host": HOST}}]}
        self.plane.apply(
            istio.gateway("gw", (self.port, "HTTP")),
            istio.entry("bank", [("127.0.0.1", "v1")], port=out, target=self.server.port, **more),
            istio.virtual_service("bank", to, hosts=[HOST], gateways=["gw"]),
            wait=False,
        )
        self.rule(self.revoked)

    def rule(self, revoked: Path) -> None:
        """Have the server called by TLS, without the certificates that a file lists."""
        tls = {"mode": "SIMPLE", "caCertificates": str(self.roots), "caCrl": str(revoked)}
        spec = {"host": HOST, "trafficPolicy": {"tls": tls}}
        self.plane.apply(istio.document("DestinationRule", "bank", spec), wait=False)

    def status(self) -> int:
        return traffic.get(f"127.0.0.1:{self.port}", headers={"Host": HOST})[0]

    def answers(self, status: int) -> None:
        eventually(lambda: self.status() == status, LONG, f"the gateway answers {status}")


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


class Foreign:
    """A gateway beside an agent of another mesh."""

    def __init__(self, world: World, directory: Path, stack: ExitStack) -> None:
        metadata = {"PILOT_SAN": ["istiod.istio-system.svc"]}
        more: dict[str, Any] = {"labels": LABELS, "metadata": metadata}
        config = proxy(f"unix:{world.socket}", ir.Role.GATEWAY, "gateway", **more)
        path = world.directory / "sds.sock"
        config["static_resources"]["clusters"].append(sds_cluster(path))
        self.secrets = stack.enter_context(Secrets(path, None))
        self.secrets.roots(f"file-root:{world.roots}", SERVERS.root)
        stack.enter_context(Envoy(config, directory)).ready()


@pytest.fixture
def foreign(world: World, tmp_path: Path) -> Iterator[Foreign]:
    with ExitStack() as stack:
        yield Foreign(world, tmp_path, stack)


@pytest.mark.usefixtures("foreign")
def test_a_proxy_of_another_agent_reads_the_list_itself_and_refuses_a_revoked_server(world: World):
    world.answers(200)

    world.server.show(REVOKED)
    world.answers(503)

    world.server.show(GOOD)
    world.answers(200)


@pytest.mark.usefixtures("foreign")
def test_a_list_that_envoy_cannot_read_is_named_and_the_last_good_one_stays(world: World):
    world.answers(200)

    world.rule(world.directory / "gone.crl")

    said = f"Invalid path: {world.directory}/gone.crl"
    eventually(lambda: said in world.plane.run("describe", "dr", "bank"), LONG, "it is told")
    assert world.status() == 200
    world.server.show(REVOKED)
    world.answers(503)


def asks(world: World, port: int, **more: Any) -> dict[str, Any]:
    """A Gateway that asks its clients for certificates."""
    files = {"serverCertificate": "/s.pem", "privateKey": "/s.key"}
    tls = {"mode": "MUTUAL", **files, "caCertificates": str(world.roots), **more}
    number = {"number": port, "name": "https", "protocol": "HTTPS"}
    servers = [{"port": number, "hosts": ["*"], "tls": tls}]
    return istio.document("Gateway", "gw", {"selector": LABELS, "servers": servers})


def test_a_gateway_refuses_clients_that_are_revoked_or_are_not_listed(
    world: World, foreign: Foreign
):
    port, listed = free_port(), str(world.revoked)
    foreign.secrets.certificate("file-cert:/s.pem~/s.key", GOOD)

    def status(client: Pair) -> int:
        """Of a GET with this certificate; 0: the handshake fails, or nobody listens yet."""
        context = ssl.create_default_context(cafile=world.roots)
        file = world.directory / "client.pem"
        file.write_text(client.chain + client.key)
        context.load_cert_chain(file)
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
        try:
            connection.sock = context.wrap_socket(
                socket.create_connection(("127.0.0.1", port), timeout=10), server_hostname=HOST
            )
            connection.request("GET", "/", headers={"Host": HOST})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    world.plane.apply(asks(world, port, caCrl=listed))
    eventually(lambda: status(GOOD) == 200, LONG, "it is served")
    assert status(REVOKED) == 0

    only = x509.load_pem_x509_certificate(REVOKED.chain.encode())
    digest = only.fingerprint(hashes.SHA256()).hex()
    world.plane.apply(asks(world, port, verifyCertificateHash=[digest]))
    eventually(lambda: status(REVOKED) == 200, LONG, "the one that is listed is served")
    assert status(GOOD) == 0


@needs_root
def test_an_agent_follows_the_list_and_a_server_is_refused_once_it_is_revoked(world: World):
    account = {"serviceAccountName": "gw", "containers": [{"name": "istio-proxy", "image": "auto"}]}
    pod = {**istio.document("Pod", "gw-1", account), "apiVersion": "v1"}
    world.plane.apply(pod, wait=False)
    spec = ProxySpec(
        id="default.gw-1",
        role="router",
        name="gw-1",
        namespace="default",
        addresses=("127.0.0.1",),
        labels=LABELS,
        service_account="gw",
    )
    world.revoked.write_text(SERVERS.revoke())
    world.server.show(REVOKED)
    with agent(f"unix:{world.socket}") as running:
        running.want(spec)
        running.ready(spec.id)
        world.answers(200)

        world.revoked.write_text(SERVERS.revoke(REVOKED))
        world.answers(503)

        world.revoked.write_text("junk")  # the last good list stays in force
        eventually(lambda: "secret not read" in running.log.read_text(), LONG, "it is told")
        assert world.status() == 503

        world.server.show(GOOD)
        world.answers(200)
