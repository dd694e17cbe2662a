"""Secrets of a whole mesh, searched for in all that is said, written and left behind by it.

A mesh is brought up, used, hurt and ended, with every secret that there can be in it; meanwhile
everything is collected that people, programs and thieves of disks get to see.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plait.agent.identity import Identity
from plait.base import place as places
from plait.base import processes
from tests.support import istio
from tests.support.canaries import Canaries, core_limits, of_mesh
from tests.support.envoy import eventually
from tests.support.issuing import Authority as Signer
from tests.support.issuing import text
from tests.support.machine import Machine, directory, service
from tests.support.netns import needs_root
from tests.support.pki import Authority, Pair
from tests.support.plane import ROOT, free_port

pytestmark = needs_root

STORES = {
    "secrets.key": "the key of the Secrets in the database; sealed with it they are everywhere",
    "ca/*.key": "the authority's roots, until their rotation destroys them",
    "doors/tokens.pem": "the key that tokens of the API are signed with",
    "run/proxy/*/own/identity": "a workload's key, for Envoys that start while nobody signs",
    "run/pods/*/volumes/login/password": "a Secret as a file of a Pod, seen by its container alone",
    "run/proxy/*/own/cache.key": "the key of the agent's cache, which has keys of gateways",
}
"""Where secrets are in plain, and why; nobody but the mesh's own user can read any of them."""

VARIABLE = "variable of a program"
"""The name of the only secret that a program has among its variables."""

HOST = "shop.example"
CLUSTER = f"outbound|9080||{istio.host('reviews')}"
PUBLIC = Authority("public")
PEOPLE = ("pods", "services", "deployments", "replicasets", "endpointslices", "namespaces")
CONFIGURATION = ("gateways", "virtualservices", "destinationrules", "serviceaccounts", "configmaps")


def secret(name: str, namespace: str = "default", **values: str) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def certificate(name: str, pair: Pair, **more: str) -> dict[str, Any]:
    values = {"tls.crt": pair.chain, "tls.key": pair.key, **more}
    return {**secret(name, "istio-system", **values), "type": "kubernetes.io/tls"}


class World(Machine):
    """A mesh with a gateway that shows a certificate, and what was found out about it."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self.tls = free_port()
        self.canaries = Canaries()
        self.pair = PUBLIC.issue(HOST)
        self.said: dict[str, str] = {}
        self.leaks: dict[str, set[str]] = {}
        self.limits: set[str] = set()
        self.modes: dict[str, set[int]] = {pattern: set() for pattern in STORES}
        self.kept: set[str] = set()
        self.variables: set[str] = set()
        self.cores: list[Path] = []
        self.environment |= {"PLAIT_API_TLS": "true", "PLAIT_LOG_LEVEL": "debug"}
        self.prefix = ("prlimit", "--core=unlimited:unlimited")

    # What it is made of

    def prepare(self) -> None:
        """Write its files."""
        http = istio.gateway("gw", (self.port, "HTTP"))
        shown = {"mode": "SIMPLE", "credentialName": "shop"}
        port = {"number": self.tls, "name": "shop", "protocol": "HTTPS"}
        http["spec"]["servers"].append({"port": port, "hosts": [HOST], "tls": shown})
        self.write("web", service("web", http=9080), self.backend("web"))
        reference = {"name": "of-a-program", "key": "token"}
        reviews = self.backend(
            "reviews",
            env=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": reference}}],
            volumeMounts=[{"name": "login", "mountPath": str(self.files.parent / "mounted")}],
        )
        kept = {"secretName": "of-a-file", "defaultMode": 0o600}
        reviews["spec"]["template"]["spec"]["volumes"] = [{"name": "login", "secret": kept}]
        self.write("reviews", service("reviews", http=9080), reviews)
        route = istio.virtual_service(
            "reviews", {"route": [istio.to("reviews", port=9080)]}, hosts=["*"], gateways=["gw"]
        )
        self.write("gateway", http, route)
        password = f"canary-{secrets.token_hex(12)}"
        self.canaries.add("password in a file", password)
        token = f"canary-{secrets.token_hex(12)}"
        self.canaries.add(VARIABLE, token)
        self.write(
            "password",
            secret("of-a-file", password=password),
            secret("of-a-program", token=token),
        )

    def plant(self) -> None:
        """Write Secrets, good and broken, and have tokens made."""
        password = f"canary-{secrets.token_hex(12)}"
        self.canaries.add("password", password)
        self.canaries.add_key("key of the gateway", self.pair.key)
        found = [secret("login", password=password), certificate("shop", self.pair)]
        self.note("apply", "-f", "-", stdin=_list(*found))
        unfit = text(Signer("unfit").key).decode()
        self.canaries.add_key("key that fits nothing", unfit)
        broken = certificate("shop", self.pair._replace(key=unfit))
        self.note("apply", "-f", "-", stdin=_list(broken), ok=False)
        torn = {**secret("torn"), "data": {"password": password + "!"}}
        self.note("apply", "-f", "-", stdin=_list(torn), ok=False)
        account = ("-n", "default", "--service-account", "default")
        self.canaries.add("join token", self.run("token", "create", *account).strip())
        token = self.run("token", "api", "ann", "--role", "admin").splitlines()[0]
        self.canaries.add("token of the API", token)
        self.environment["PLAIT_TOKEN"] = token
        self.note("get", "pods")
        del self.environment["PLAIT_TOKEN"]

    def learn(self) -> None:
        """Search for the keys that the mesh made itself, too."""
        for path in self.data.glob("run/proxy/*/own/identity"):
            identity = json.loads(path.read_bytes())
            assert set(identity) == set(Identity.__struct_fields__)
            self.canaries.add_key(f"key of {path.parts[-3]}, {len(self.canaries)}", identity["key"])
        for path in (*self.data.glob("ca/*.key"), self.data / "doors" / "tokens.pem"):
            self.canaries.add_key(f"{path.name}, {len(self.canaries)}", path.read_text())
        for path in (self.data / "secrets.key", *self.data.glob("run/proxy/*/own/cache.key")):
            for line in path.read_text().split():
                self.canaries.add(f"{path.relative_to(self.data)}", bytes.fromhex(line))

    # What is seen of it

    def note(self, *arguments: str, **options: Any) -> None:
        """Run the CLI and keep what it says."""
        self.said[f"{len(self.said)} plait {' '.join(arguments)}"] = self.run(*arguments, **options)

    def ask(self) -> None:
        """Every verb that shows something."""
        for kind in (*PEOPLE, *CONFIGURATION):
            self.note("get", kind, "-A")
            self.note("get", kind, "-A", "-o", "yaml")
        self.note("get", "secrets", "-A")
        for which in (("login",), ("of-a-file",), ("shop", "-n", "istio-system")):
            self.note("describe", "secret", *which)
        self.note("describe", "gateway", "gw")
        for words in (("status",), ("cert",), ("ca", "status"), ("token", "list")):
            self.note(*words)
            self.note(*words, "-o", "json")
        for verb in (("version",), ("completion", "bash"), ("logs", "deployment/web-v1")):
            self.note(*verb)
        self.note("exec", "deployment/web-v1", "--", "env")
        for pod in self.pods():
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            self.note("logs", name, "-n", namespace, "-c", "istio-proxy")
            self.note("proxy", "config", "all", name, "-o", "json")
            self.said[f"{len(self.said)} pages of {name}"] = self.pages(pod)
        gateway = self.pod(istio="ingressgateway")["metadata"]["name"]
        for kind, part in (("listener", f"0.0.0.0_{self.tls}"), ("cluster", CLUSTER)):
            for form in ("tree", "json"):
                self.note("why", "resource", kind, part, "--proxy", gateway, "-o", form)

    def pages(self, pod: dict[str, Any]) -> str:
        """Envoy's own dumps, for root and for the workload, and what the agent counts."""
        metadata = pod["metadata"]
        proxy = places.identifier(metadata["namespace"], metadata["name"])
        admin = self.place.proxy(proxy) / "edge" / "admin.sock"
        said = [
            _output("curl", "-sS", "--unix-socket", str(admin), f"http://envoy/{page}")
            for page in ("config_dump?include_eds", "certs", "clusters", "server_info")
        ]
        assert "SecretsConfigDump" in said[0]
        inside = ("127.0.0.1:15000/server_info", "127.0.0.1:15020/stats/prometheus")
        spec = places.read(self.place.spec(proxy), places.ProxySpec)
        assert spec is not None
        enter = ("nsenter", f"--net={spec.network}", "curl", "-sS")
        said += [_output(*enter, f"http://{url}") for url in inside]
        return "\n".join(said)

    def search(self, when: str) -> None:
        """Look at all files and processes as they are now."""
        pids = [*of_mesh(self.data), *self.programs()]
        assert len(pids) >= 7, pids  # two programs, three proxies, the edge, the agent
        self.limits |= core_limits(pids)
        self.learn()
        for pattern in STORES:
            self.modes[pattern] |= {path.stat().st_mode & 0o777 for path in self.data.glob(pattern)}
        self.kept |= set().union(*self.canaries.below(self.data, {}).values())
        for where, names in self.canaries.below(self.data, STORES).items():
            self.leaks[f"{when}: {where}"] = names
        self.cores += [*ROOT.glob("core*"), *self.data.rglob("core")]
        own = {f"{pid}/environ" for pid in self.programs()}
        for where, names in self.canaries.among(pids).items():
            self.variables |= names if where in own else set()
            if leaked := names - ({VARIABLE} if where in own else set()):
                self.leaks[f"{when}: {where}"] = leaked

    # What is done to it

    def served(self) -> bool:
        """Whether the gateway shows the certificate and answers."""
        context = ssl.create_default_context(cadata=PUBLIC.root)
        raw = socket.create_connection(("127.0.0.1", self.tls), timeout=5)
        with context.wrap_socket(raw, server_hostname=HOST) as sock:
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            return sock.recv(64).startswith(b"HTTP/1.1 200")

    def crash_agent(self) -> None:
        """Another one takes over, with what the first kept."""
        before = places.read(self.place.agent, processes.Handle)
        assert before is not None
        os.kill(before.pid, signal.SIGABRT)
        eventually(lambda: self._agent() not in (0, before.pid), 30, "another agent")

    def _agent(self) -> int:
        handle = places.read(self.place.agent, processes.Handle)
        return handle.pid if handle else 0

    def crash_plane_and_gateway(self) -> None:
        """The gateway's Envoy comes back while there is no control plane."""
        mesh = places.read(self.place.mesh, places.Mesh)
        assert mesh is not None
        os.kill(mesh.pid, signal.SIGABRT)
        eventually(lambda: not processes.is_running(mesh.pid), 30, "its end")
        before = self._gateway()
        os.kill(before.pid, signal.SIGABRT)
        eventually(lambda: self._gateway().pid not in (0, before.pid), 30, "another Envoy")
        eventually(self.served, 30, "TLS from what the agent kept")

    def recover(self) -> None:
        """What can be read of the database is saved in another, and the first is kept."""
        mesh = places.read(self.place.mesh, places.Mesh)
        assert mesh is not None
        os.kill(mesh.pid, signal.SIGTERM)
        eventually(lambda: not processes.is_running(mesh.pid), 30, "its end")
        self.note("store", "recover", "--data", str(self.data))

    def _gateway(self) -> places.ProxyState:
        (path,) = self.data.glob("run/proxy/istio-system*/state.json")
        state = places.read(path, places.ProxyState)
        assert state is not None
        return state


def _list(*items: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)})


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Everything has happened to it, and it has ended."""
    with directory() as top:
        found = World(top)
        found.prepare()
        try:
            start = ("up", str(found.files), "--data", str(found.data))
            found.note(*start, ok=False, seconds=150)  # the gateway's Secret is still to come
            found.plant()
            eventually(found.served, 30, "the gateway serves TLS")
            assert found.call("traffic.get('reviews:9080')[0]") == "200"
            found.learn()
            found.ask()
            found.search("in use")
            found.crash_agent()
            found.crash_plane_and_gateway()
            found.search("without a control plane")
            found.note(*start, seconds=150)
            found.note("restart", "deployment/web-v1", "--wait")
            found.note("ca", "rotate", "--wait", "--timeout", "100", seconds=120)
            found.note("delete", "secret", "login")
            found.recover()
            found.note(*start, seconds=150)
            found.search("after a rotation and a recovery")
        finally:
            found.note("down", "--data", str(found.data))
        yield found


def test_the_search_finds_what_is_there_to_be_found(world: World):
    canaries = world.canaries

    assert canaries.found(json.dumps(certificate("shop", world.pair))) == {"key of the gateway"}
    assert canaries.found(world.pair.key) == {"key of the gateway", "a private key"}
    assert {"a private key", "secrets.key", "password in a file"} <= world.kept
    assert world.variables == {VARIABLE}


def test_nothing_that_is_printed_has_a_secret(world: World):
    leaks = {
        what: names for what, said in world.said.items() if (names := world.canaries.found(said))
    }

    assert leaks == {}


def test_no_file_and_no_process_has_one_outside_its_store(world: World):
    assert world.leaks == {}


def test_crashes_leave_no_core(world: World):
    assert world.limits == {"1"}
    assert world.cores == []


@pytest.mark.parametrize("pattern", STORES)
def test_a_store_is_for_one_user_alone(world: World, pattern: str):
    assert world.modes[pattern] == {0o600}
