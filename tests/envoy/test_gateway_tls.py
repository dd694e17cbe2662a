"""A real gateway with certificates from Secrets: names, clients, renewal, mistakes."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from plait.mesh import ir
from tests.support import istio
from tests.support.envoy import eventually
from tests.support.pki import DAY, Authority, Pair
from tests.support.plane import free_port
from tests.support.scale import count
from tests.support.world import Loopback

AUTHORITY = Authority("public")
CLIENTS = Authority("clients")
STRANGERS = Authority("strangers")
ONE, TWO = AUTHORITY.issue("one.example"), AUTHORITY.issue("two.example")
CLIENT = CLIENTS.issue("client.example")


def secret(name: str, pair: Pair, **data: str) -> dict[str, Any]:
    texts = {"tls.crt": pair.chain, "tls.key": pair.key, **data}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()},
    }


def server(port: int, name: str, host: str, protocol: str = "HTTPS", **tls: Any) -> dict[str, Any]:
    number = {"number": port, "name": name, "protocol": protocol}
    return {"port": number, "hosts": [host], "tls": tls}


def fingerprint(pair: Pair) -> str:
    found = x509.load_pem_x509_certificate(pair.chain.encode())
    return hashlib.sha256(found.public_bytes(Encoding.DER)).hexdigest()


class World(Loopback):
    """A gateway in front of ``reviews`` and a server of its own TLS behind it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        super().__init__(directory, stack)
        self.tls = free_port()
        self.passed = free_port()
        self.roots = directory / "roots.pem"
        self.roots.write_text(AUTHORITY.root)
        self.files: dict[str, Path] = {}

    def serve(self, *servers: dict[str, Any]) -> str:
        """Have the gateway serve these beside its plain port, and wait for its word."""
        spec = {"selector": {"istio": "ingressgateway"}, "servers": list(servers)}
        return self.plane.apply(istio.document("Gateway", "secure", spec))

    def call(
        self, name: str, port: int = 0, *, client: Pair | None = None, roots: Path | None = None
    ) -> tuple[int, str]:
        """Status of a GET by TLS for a server name, and the digest of the certificate shown."""
        context = ssl.create_default_context(cafile=roots or self.roots)
        if client is not None:
            file = self.directory / f"{fingerprint(client)}.pem"
            file.write_text(client.chain + client.key)
            context.load_cert_chain(file)
        raw = socket.create_connection(("127.0.0.1", port or self.tls), timeout=10)
        with context.wrap_socket(raw, server_hostname=name) as sock:
            shown = sock.getpeercert(binary_form=True) or b""
            connection = http.client.HTTPConnection(name)
            connection.sock = sock
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
            return response.status, hashlib.sha256(shown).hexdigest()

    def served(self, name: str, pair: Pair, **options: Any) -> bool:
        return self.call(name, **options) == (200, fingerprint(pair))

    def refused(self, name: str, **options: Any) -> bool:
        """Whether the handshake, or the first bytes after it, fail."""
        try:
            self.call(name, **options)
        except (ssl.SSLError, ConnectionError, http.client.HTTPException, TimeoutError):
            return True
        return False


class Handshakes(threading.Thread):
    """New TLS connections with one request each, one after the other; what fails is kept."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(daemon=True)
        self._world, self._name = world, name
        self._stopping = threading.Event()
        self.seen: dict[str, int] = {}
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join(20)

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                status, shown = self._world.call(self._name)
            except OSError as error:
                self.failures.append(repr(error))
                continue
            self.seen[shown] = self.seen.get(shown, 0) + 1
            if status != 200:
                self.failures.append(str(status))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        found = World(tmp_path_factory.mktemp("tls"), stack)
        found.start(ir.Role.GATEWAY, "gateway")
        hosts = ["one.example", "two.example", "three.example"]
        rule = istio.virtual_service(
            "secure", istio.weights("reviews", v1=100), hosts=hosts, gateways=["secure"]
        )
        found.plane.apply(rule)
        yield found


@pytest.fixture
def gateway(world: World) -> Iterator[World]:
    """The gateway; what a test wrote is taken away after it."""
    yield world
    world.plane.run("delete", "gw", "secure")
    for name in ("one", "two", "one-cacert"):
        world.plane.run("delete", "secret", name, ok=False)


def both(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        server(world.tls, "one", "one.example", mode="SIMPLE", credentialName="one"),
        server(world.tls, "two", "two.example", mode="SIMPLE", credentialName="two"),
    )


def test_each_host_of_a_port_shows_its_own_certificate(gateway: World):
    gateway.plane.apply(secret("one", ONE), secret("two", TWO), wait=False)
    gateway.serve(*both(gateway))

    eventually(lambda: gateway.served("one.example", ONE), what="one is served")
    eventually(lambda: gateway.served("two.example", TWO), what="two is served")


def test_a_server_whose_secret_is_missing_waits_alone(gateway: World):
    gateway.plane.apply(secret("one", ONE), wait=False)
    gateway.serve(*both(gateway))

    eventually(lambda: gateway.served("one.example", ONE), what="one is served")
    assert gateway.refused("two.example")
    said = gateway.plane.run("describe", "gw", "secure")
    assert "PLT3007 spec.servers[1].tls: not served: Secret default/two does not exist" in said

    gateway.plane.apply(secret("two", TWO))

    eventually(lambda: gateway.served("two.example", TWO), what="two is served")
    assert "PLT3007" not in gateway.plane.run("describe", "gw", "secure")


def test_a_new_certificate_is_taken_without_a_failed_request(gateway: World):
    gateway.plane.apply(secret("one", ONE), wait=False)
    gateway.serve(both(gateway)[0])
    eventually(lambda: gateway.served("one.example", ONE), what="one is served")
    renewed = [AUTHORITY.issue("one.example") for _ in range(count(3, 20))]

    with Handshakes(gateway, "one.example") as load:
        for pair in renewed:
            gateway.plane.apply(secret("one", pair))
            eventually(partial(gateway.served, "one.example", pair), what="it is shown")

    assert load.failures == []
    assert {fingerprint(pair) for pair in renewed} & set(load.seen)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Pair(ONE.chain, TWO.key), "tls.key does not fit the certificate"),
        (Pair("junk", ONE.key), "tls.crt is not a certificate in PEM"),
        (Pair(ONE.chain, "junk"), "tls.key is not a private key in PEM"),
    ],
)
def test_a_broken_secret_is_refused_and_the_last_good_one_serves_on(
    gateway: World, broken: Pair, said: str
):
    gateway.plane.apply(secret("one", ONE), wait=False)
    gateway.serve(both(gateway)[0])
    eventually(lambda: gateway.served("one.example", ONE), what="one is served")

    told = gateway.plane.run("apply", "-f", "-", stdin=json.dumps(secret("one", broken)), ok=False)

    assert said in told
    assert gateway.served("one.example", ONE)


def test_clients_without_a_trusted_certificate_are_refused(gateway: World):
    roots = {"ca.crt": CLIENTS.root}
    gateway.plane.apply(secret("one", ONE, **roots), wait=False)
    gateway.serve(server(gateway.tls, "one", "one.example", mode="MUTUAL", credentialName="one"))

    eventually(lambda: gateway.served("one.example", ONE, client=CLIENT), what="it is served")
    assert gateway.refused("one.example")
    assert gateway.refused("one.example", client=STRANGERS.issue("client.example"))
    assert gateway.refused("one.example", client=CLIENTS.issue("c", valid=(-2 * DAY, -DAY)))


def test_clients_may_be_asked_by_roots_of_a_secret_of_its_own_and_by_name(gateway: World):
    alone = {
        **secret("one-cacert", ONE),
        "type": "Opaque",
        "data": {"cacert": base64.b64encode(CLIENTS.root.encode()).decode()},
    }
    gateway.plane.apply(secret("one", ONE), alone, wait=False)
    tls: dict[str, Any] = {"mode": "MUTUAL", "credentialName": "one"}
    tls["subjectAltNames"] = ["client.example"]
    gateway.serve(server(gateway.tls, "one", "one.example", **tls))

    eventually(lambda: gateway.served("one.example", ONE, client=CLIENT), what="it is served")
    assert gateway.refused("one.example", client=CLIENTS.issue("other.example"))


def test_a_certificate_of_the_client_may_be_optional(gateway: World):
    gateway.plane.apply(secret("one", ONE, **{"ca.crt": CLIENTS.root}), wait=False)
    tls = {"mode": "OPTIONAL_MUTUAL", "credentialName": "one"}
    gateway.serve(server(gateway.tls, "one", "one.example", **tls))

    eventually(lambda: gateway.served("one.example", ONE), what="it is served")
    assert gateway.served("one.example", ONE, client=CLIENT)
    assert gateway.refused("one.example", client=STRANGERS.issue("client.example"))


def test_versions_of_tls_are_those_that_are_written(gateway: World):
    gateway.plane.apply(secret("one", ONE), wait=False)
    tls = {"mode": "SIMPLE", "credentialName": "one", "minProtocolVersion": "TLSV1_3"}
    gateway.serve(server(gateway.tls, "one", "one.example", **tls))
    eventually(lambda: gateway.served("one.example", ONE), what="it is served")
    old = ssl.create_default_context(cafile=gateway.roots)
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    raw = socket.create_connection(("127.0.0.1", gateway.tls), timeout=10)
    with pytest.raises(ssl.SSLError), old.wrap_socket(raw, server_hostname="one.example"):
        pass


def test_connections_that_are_passed_on_are_encrypted_by_who_is_behind(
    gateway: World, tmp_path: Path
):
    """The gateway before itself: what it passes on ends at its own encrypted port."""
    behind = [("127.0.0.1", "v1")]
    inner = istio.entry("inner", behind, port=gateway.tls, protocol="TLS")
    match = {"sniHosts": ["one.example"]}
    route = {"match": [match], "route": [istio.to("inner", port=gateway.tls)]}
    passing = istio.virtual_service("passing", hosts=["one.example"], gateways=["secure"])
    passing["spec"]["tls"] = [route]
    gateway.plane.apply(secret("one", ONE), inner, passing, wait=False)
    outer = server(gateway.passed, "outer", "*.example", "TLS", mode="PASSTHROUGH")
    gateway.serve(both(gateway)[0], outer)

    eventually(
        lambda: gateway.served("one.example", ONE, port=gateway.passed), what="it is passed on"
    )
    assert gateway.refused("two.example", port=gateway.passed)


def test_bytes_behind_an_encrypted_port_are_passed_on(gateway: World):
    gateway.plane.apply(secret("one", ONE), wait=False)
    to = istio.to("greeter", port=gateway.tcp_port)
    rule = istio.virtual_service("bytes", hosts=["one.example"], gateways=["secure"])
    rule["spec"]["tcp"] = [{"route": [to]}]
    gateway.plane.apply(rule, wait=False)
    tls = {"mode": "SIMPLE", "credentialName": "one"}
    gateway.serve(server(gateway.tls, "one", "one.example", "TLS", **tls))

    def greeted() -> bytes:
        context = ssl.create_default_context(cafile=gateway.roots)
        raw = socket.create_connection(("127.0.0.1", gateway.tls), timeout=10)
        with context.wrap_socket(raw, server_hostname="one.example") as sock:
            return sock.recv(100)

    assert eventually(greeted, what="the greeting")


def test_no_key_is_shown_by_the_control_plane(gateway: World):
    gateway.plane.apply(secret("one", ONE), wait=False)
    gateway.serve(both(gateway)[0])
    eventually(lambda: gateway.served("one.example", ONE), what="one is served")
    (proxy,) = gateway.plane.proxies()
    middle = ONE.key.splitlines()[2]

    shown = [
        gateway.plane.run("proxy", "config", "all", proxy["id"], "-o", "json"),
        gateway.plane.run("status", "-o", "json"),
        gateway.plane.run("why", "resource", "listener", f"0.0.0.0_{gateway.tls}"),
        gateway.plane.log.read_text(),
    ]

    assert [text for text in shown if middle in text] == []
    assert "kubernetes://one" in shown[0]
