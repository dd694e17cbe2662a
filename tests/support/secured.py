"""Hosts with captured sidecars that have identities, handed out as by another mesh's agent.

``server`` serves HTTP, gRPC and bytes on declared and on undeclared ports; ``web`` has an identity
of the mesh, ``plain`` has no sidecar, and the others have an identity that something is wrong with
(``alias``: one of a former trust domain that is still trusted).
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from plait.config import capture
from plait.mesh import ir
from plait.xds.tls import SDS_CLUSTER
from tests.support import istio
from tests.support.backend import Backend
from tests.support.envoy import Envoy, eventually
from tests.support.machine import directory
from tests.support.netns import Network, run
from tests.support.pki import DAY, Authority, Pair
from tests.support.plane import ROOT, Plane
from tests.support.sds import Secrets
from tests.support.world import proxy

SPIFFE = "spiffe://cluster.local/ns/default/sa"
UNNAMED = 9085
"""A port of the server, with requests, that no host has."""
CLIENTS = ("web", "plain", "wrong-ca", "expired", "alien", "alias")
MESH_CONFIG = """
trustDomainAliases: [old.example]
accessLogFile: /dev/stdout
accessLogEncoding: JSON
"""
PORTS = {
    "http": (9080, "HTTP", "10.88.0.1"),
    "grpc": (9081, "GRPC", "10.88.0.2"),
    "tcp": (9082, "TCP", "10.88.0.3"),
    "sniffed": (9083, "", "10.88.0.4"),
    "sniffed-tcp": (9084, "", "10.88.0.5"),
}
"""Of the server: number, declared protocol and virtual IP, by the name of its host."""

CALLS = """
import json, sys
sys.path.insert(0, {root!r})
from tests.support import traffic
print(json.dumps({expression}))
"""


def identity(client: str, mesh: Authority, other: Authority) -> Pair:
    """The certificate of a host."""
    hour = datetime.timedelta(hours=1)
    wrong = {
        "wrong-ca": lambda: other.issue(f"{SPIFFE}/web"),
        "expired": lambda: mesh.issue(f"{SPIFFE}/web", valid=(-2 * DAY, -hour)),
        "alien": lambda: mesh.issue("spiffe://elsewhere/ns/default/sa/web"),
        "alias": lambda: mesh.issue("spiffe://old.example/ns/default/sa/web"),
    }
    return wrong.get(client, lambda: mesh.issue(f"{SPIFFE}/{client}"))()


class Secured:
    """The hosts, started.

    Attributes:
        mesh: whom all trust.
        secrets: what each sidecar is handed, by host.
    """

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack
        self.mesh, self.other = Authority(), Authority("other")
        self.network = stack.enter_context(Network())
        self.socket = directory / "xds.sock"
        config = directory / "mesh.yaml"
        config.write_text(MESH_CONFIG)
        options = ("--xds", f"unix:{self.socket}", "--mesh-config", str(config))
        self.plane = stack.enter_context(Plane(directory, *options))
        self.socket.chmod(0o777)
        for name in ("server", *CLIENTS):
            self.network.host(name)
        self.plane.apply(*self.objects(), wait=False)
        listening = (
            *("--http", "0.0.0.0:9080", "--http", "0.0.0.0:9083", "--grpc", "0.0.0.0:9081"),
            *("--tcp", "0.0.0.0:9082", "--tcp", "0.0.0.0:9084", "--http", f"0.0.0.0:{UNNAMED}"),
        )
        stack.enter_context(Backend("server", *listening, prefix=self.network.prefix("server")))
        self.secrets: dict[str, Secrets] = {}
        with_sidecar = ("server", *(one for one in CLIENTS if one != "plain"))
        self.proxies = {name: self._sidecar(name) for name in with_sidecar}
        for name, envoy in self.proxies.items():
            if name != "expired":  # Envoy takes no certificate that has expired ...
                envoy.ready()
            self.network.capture(name, capture.Capture())

    def objects(self, account: str = "server") -> list[dict[str, Any]]:
        """The hosts of the server, whose service account is said to be `account`."""
        found = []
        for name, (number, protocol, address) in PORTS.items():
            entry = istio.entry(
                name,
                [(self.network.address("server"), "v1")],
                port=number,
                protocol=protocol,
                addresses=[address],
            )
            (endpoint,) = entry["spec"]["endpoints"]
            endpoint["labels"] = {"app": "server", "security.istio.io/tlsMode": "istio"}
            endpoint["serviceAccount"] = account
            found.append(entry)
        return found

    def mode(self, mode: str, **ports: str) -> None:
        """What the server asks for, and on single ports; waits until it is in force."""
        spec: dict[str, Any] = {"mtls": {"mode": mode}}
        if ports:
            spec["selector"] = {"matchLabels": {"app": "server"}}
            known = {name.replace("-", "_"): number for name, (number, _, _) in PORTS.items()}
            known["unnamed"] = UNNAMED
            numbers = {str(known[name]): m for name, m in ports.items()}
            spec["portLevelMtls"] = {number: {"mode": m} for number, m in numbers.items()}
        document = istio.document("PeerAuthentication", "server", spec)
        self.plane.apply({**document, "apiVersion": "security.istio.io/v1"})

    def headers(self, client: str, kind: str, given: dict[str, str]) -> dict[str, str]:
        """What headers the server sees of a GET from a host."""
        number, _, address = PORTS[kind]
        target = f"{address if client != 'plain' else self.network.address('server')}:{number}"
        expression = f"traffic.get({target!r}, headers={ ({**given, 'Host': target})!r})[1]"
        program = CALLS.format(root=str(ROOT), expression=expression)
        said = run(*self.network.prefix(client), sys.executable, "-c", program)
        found: dict[str, str] = json.loads(said)["headers"]
        return found

    def unnamed(self, client: str) -> str:
        """How a request to the port ends that no host has: see `traffic.outcome`."""
        target = f"{self.network.address('server')}:{UNNAMED}"
        program = CALLS.format(root=str(ROOT), expression=f"traffic.outcome('http', {target!r})")
        found: str = json.loads(run(*self.network.prefix(client), sys.executable, "-c", program))
        return found

    def come_to(self, client: str, expected: dict[str, str]) -> bool:
        """Whether calls of a host end so, once connections of an earlier policy are drained."""
        found: dict[str, str] = {}

        def holds() -> bool:
            found.update(self.outcomes(client))
            return found == expected

        try:
            return bool(eventually(holds, 20))
        except AssertionError:
            assert found == expected
            raise

    def outcomes(self, client: str) -> dict[str, str]:
        """How calls of a host end, by protocol: see `traffic.outcome`."""
        targets = {name: f"{address}:{number}" for name, (number, _, address) in PORTS.items()}
        server = self.network.address("server")
        if client == "plain":
            targets = {name: f"{server}:{number}" for name, (number, _, _) in PORTS.items()}
        targets["server-first"] = targets["tcp"]
        expression = f"{{name: traffic.outcome(name, at) for name, at in {targets!r}.items()}}"
        program = CALLS.format(root=str(ROOT), expression=expression)
        said = run(*self.network.prefix(client), sys.executable, "-c", program)
        found: dict[str, str] = json.loads(said)
        return found

    def _sidecar(self, name: str) -> Envoy:
        directory = self.directory / name
        directory.mkdir()
        address = self.network.address(name)
        labels = {"app": "server" if name == "server" else "web"}
        more = {"labels": labels, "metadata": {"PILOT_SAN": ["istiod.istio-system.svc"]}}
        config = proxy(f"unix:{self.socket}", ir.Role.SIDECAR, name, address, **more)
        path = directory / "sds.sock"
        pair = identity(name, self.mesh, self.other)
        self.secrets[name] = self._stack.enter_context(Secrets(path, pair, self.mesh.root))
        config["static_resources"]["clusters"].append(sds_cluster(path))
        directory.chmod(0o777)
        prefix = self.network.prefix(name, uid=capture.PROXY_UID)
        # so that what a policy no longer lets in ends at once, and not after ten minutes
        flags = ("--drain-time-s", "1", "--drain-strategy", "immediate")
        return self._stack.enter_context(Envoy(config, directory, *flags, prefix=prefix))


def sds_cluster(path: Path) -> dict[str, Any]:
    """The cluster by which Istio's proxies ask their agent for secrets."""
    kind = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    options = {"@type": kind, "explicit_http_config": {"http2_protocol_options": {}}}
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(path)}}}}
    return {
        "name": SDS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
        },
        "load_assignment": {
            "cluster_name": SDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }


@contextmanager
def secured() -> Iterator[Secured]:
    """The hosts, started and connected."""
    with ExitStack() as stack:
        world = Secured(stack.enter_context(directory()), stack)
        eventually(lambda: len(world.plane.proxies()) == len(world.proxies), what="all proxies")
        yield world
