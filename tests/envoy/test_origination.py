"""Real proxies that call servers outside by TLS, with certificates of Secrets."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plait.mesh import ir
from plait.xds.resource import SECRET
from tests.support import istio, traffic
from tests.support.envoy import Envoy, eventually
from tests.support.outside import Outside, fingerprint
from tests.support.pki import Authority, Pair
from tests.support.plane import Plane, free_port
from tests.support.scale import count
from tests.support.world import proxy
from tests.support.xds_client import connected, node

SERVERS, CLIENTS = Authority("servers"), Authority("clients")
BANK, SHOP = "bank.example", "shop.example"
CLIENT = CLIENTS.issue("client.example")
BY = ("sidecar", "gateway")


def secret(name: str, pair: Pair | None, **data: str) -> dict[str, Any]:
    texts = ({"tls.crt": pair.chain, "tls.key": pair.key} if pair else {}) | data
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()},
    }


def rule(name: str, host: str, app: str = "web", **tls: str) -> dict[str, Any]:
    """How the workload and the gateway call a host."""
    spec: dict[str, Any] = {"host": host, "trafficPolicy": {"tls": tls}}
    if app:
        spec["workloadSelector"] = {"matchLabels": {"app": app}}
    return istio.document("DestinationRule", name, spec)


def outside(name: str, host: str, port: int, target: int) -> dict[str, Any]:
    more: dict[str, Any] = {"location": "MESH_EXTERNAL", "hosts": [host]}
    return istio.entry(name, [("127.0.0.1", "v1")], port=port, target=target, **more)


def passed_on(name: str, host: str) -> dict[str, Any]:
    """The gateway sends on what comes for a host."""
    to = {"route": [{"destination": {"host": host}}]}
    return istio.virtual_service(name, to, hosts=[host], gateways=["gw"])


class World:
    """A sidecar and a gateway before a server that asks for certificates, and one that does not."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack
        bank = Outside(directory, SERVERS.issue(BANK), CLIENTS.root)
        shop = Outside(directory, SERVERS.issue(SHOP))
        self.bank, self.shop = stack.enter_context(bank), stack.enter_context(shop)
        self.port, self.out_port = free_port(), free_port()
        self.plane = stack.enter_context(Plane(directory))
        self.plane.apply(
            istio.gateway("gw", (self.port, "HTTP")),
            outside("bank", BANK, self.out_port, self.bank.port),
            outside("shop", SHOP, self.out_port, self.shop.port),
            passed_on("bank", BANK),
            passed_on("shop", SHOP),
            wait=False,
        )
        self._start(ir.Role.GATEWAY, istio="ingressgateway")
        self._start(ir.Role.SIDECAR, app="web")

    def _start(self, role: ir.Role, **labels: str) -> None:
        more: dict[str, Any] = {"labels": labels, "interception": ir.Interception.NONE}
        directory = self.directory / role.value
        directory.mkdir()
        config = proxy(self.plane.xds, role, role.value, **more)
        self._stack.enter_context(Envoy(config, directory)).ready()

    def address(self, by: str) -> str:
        """Where a proxy is called."""
        return f"127.0.0.1:{self.port if by == 'gateway' else self.out_port}"

    def call(self, by: str, host: str) -> str:
        """Whom the server saw; ``503`` and the like: it was not called."""
        status, body = traffic.get(self.address(by), headers={"Host": host})
        return str(body["name"]) if status == 200 else str(status)

    def called(self, host: str, expected: str) -> None:
        """Wait until both proxies call so."""
        for by in BY:
            eventually(partial(self.comes_to, by, host, expected), 20, f"{by}: {expected}")

    def comes_to(self, by: str, host: str, expected: str) -> bool:
        return self.call(by, host) == expected


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path_factory.mktemp("outside"), stack)


@pytest.fixture
def mesh(world: World) -> Iterator[World]:
    """The proxies; what a test wrote is taken away after it."""
    yield world
    for kind, names in {
        "dr": ("bank", "bank-gateways", "shop"),
        "secret": ("bank", "shop"),
    }.items():
        for name in names:
            world.plane.run("delete", kind, name, ok=False)


def both() -> tuple[dict[str, Any], dict[str, Any]]:
    """The rules by which a sidecar that is selected, and any gateway, calls the bank."""
    tls = {"mode": "MUTUAL", "credentialName": "bank"}
    return rule("bank", BANK, **tls), rule("bank-gateways", BANK, "", **tls)


def test_a_selected_sidecar_and_a_gateway_show_the_certificate_of_a_secret(mesh: World):
    mesh.plane.apply(secret("bank", CLIENT, **{"ca.crt": SERVERS.root}), *both())

    mesh.called(BANK, fingerprint(CLIENT))


def test_a_server_is_trusted_by_the_roots_of_the_secret_alone(mesh: World):
    simple = {"mode": "SIMPLE", "credentialName": "shop"}
    rules = rule("shop", SHOP, **simple), rule("bank-gateways", SHOP, "", **simple)
    mesh.plane.apply(secret("shop", None, **{"ca.crt": CLIENTS.root}), *rules)
    mesh.called(SHOP, "503")

    mesh.plane.apply(secret("shop", None, **{"ca.crt": SERVERS.root}))

    mesh.called(SHOP, "nobody")


def test_a_new_certificate_is_shown_without_a_failed_request(mesh: World):
    roots = {"ca.crt": SERVERS.root}
    mesh.plane.apply(secret("bank", CLIENT, **roots), *both())
    mesh.called(BANK, fingerprint(CLIENT))
    renewed = [CLIENTS.issue("client.example") for _ in range(count(3, 20))]
    host = {"Host": BANK}

    with (
        traffic.Load(mesh.address("sidecar"), rps=50, headers=host) as one,
        traffic.Load(mesh.address("gateway"), rps=50, headers=host) as two,
    ):
        for pair in renewed:
            mesh.plane.apply(secret("bank", pair, **roots))
            mesh.called(BANK, fingerprint(pair))

    assert (one.failures, two.failures) == ([], [])
    assert {fingerprint(pair) for pair in renewed} & set(one.seen) & set(two.seen)


def test_a_broken_secret_is_refused_and_the_last_good_one_is_shown(mesh: World):
    mesh.plane.apply(secret("bank", CLIENT, **{"ca.crt": SERVERS.root}), *both())
    mesh.called(BANK, fingerprint(CLIENT))
    other = CLIENTS.issue("client.example")
    broken = secret("bank", Pair(CLIENT.chain, other.key), **{"ca.crt": SERVERS.root})

    told = mesh.plane.run("apply", "-f", "-", stdin=json.dumps(broken), ok=False)

    assert "tls.key does not fit the certificate" in told
    assert [mesh.call(by, BANK) for by in BY] == [fingerprint(CLIENT)] * 2


def test_a_secret_that_is_missing_holds_up_its_own_host_and_is_named(mesh: World):
    simple = {"mode": "SIMPLE", "credentialName": "shop"}
    shop = rule("shop", SHOP, **simple)
    mesh.plane.apply(secret("shop", None, **{"ca.crt": SERVERS.root}), shop, *both())

    mesh.called(BANK, "503")
    assert mesh.call("sidecar", SHOP) == "nobody"
    assert "PLT3009 spec.trafficPolicy.tls.credentialName: requests are answered 503: " in (
        said := mesh.plane.run("describe", "dr", "bank")
    )
    assert "Secret default/bank does not exist" in said
    (sidecar,) = (one["id"] for one in mesh.plane.proxies() if one["id"].startswith("sidecar"))
    name = f"outbound|{mesh.out_port}||{BANK}"
    why = mesh.plane.run("why", "resource", "cluster", name, "--proxy", sidecar, ok=False)
    assert "Secret default/bank does not exist" in why

    mesh.plane.apply(secret("bank", CLIENT, **{"ca.crt": SERVERS.root}))

    mesh.called(BANK, fingerprint(CLIENT))
    assert "PLT3009" not in mesh.plane.run("describe", "dr", "bank")
    why = mesh.plane.run("why", "resource", "cluster", name, "--proxy", sidecar)
    assert "the certificates are of Secret default/bank" in why


def test_a_proxy_of_another_namespace_or_without_the_label_is_not_given_the_secret(mesh: World):
    mesh.plane.apply(secret("bank", CLIENT, **{"ca.crt": SERVERS.root}), both()[0])
    name = "kubernetes://bank"

    async def has(namespace: str, app: str) -> bool:
        who = f"sidecar~10.0.0.9~one.{namespace}~{namespace}.svc.cluster.local"
        async with connected(mesh.plane.xds, node=node(who, labels={"app": app})) as client:
            await client.subscribe(SECRET, name)
            await client.until(lambda: client.messages[SECRET] > 0)
            return name in client.resources.get(SECRET, {})

    assert asyncio.run(has("default", "web"))
    assert not asyncio.run(has("default", "other"))
    assert not asyncio.run(has("elsewhere", "web"))


def test_no_key_is_shown_by_the_control_plane(mesh: World):
    mesh.plane.apply(secret("bank", CLIENT, **{"ca.crt": SERVERS.root}), *both())
    mesh.called(BANK, fingerprint(CLIENT))
    middle = CLIENT.key.splitlines()[2]

    shown = [
        *(
            mesh.plane.run("proxy", "config", "all", p["id"], "-o", "json")
            for p in mesh.plane.proxies()
        ),
        mesh.plane.run("status", "-o", "json"),
        mesh.plane.log.read_text(),
    ]

    assert [text for text in shown if middle in text] == []
    assert "kubernetes://bank" in shown[0]
