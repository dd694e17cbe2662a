"""Callers and servers on this machine: with sidecars, without, and with Envoys by hand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks import machine
from benchmarks.handwritten import USER, HandWritten
from plait.agent.admin import Admin
from plait.agent.binary import envoy_binary
from plait.base import place as places
from plait.base.place import Place, ProxySpec, ProxyState

PORT = 8000
_BODY = "x" * 64
_HTTP = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_WRK = ("wrk", "-t1", "--latency")
_BARE = {"sidecar.istio.io/inject": "false"}
_PATIENCE = 30.0  # seconds until something must have happened


class Way(Struct, frozen=True, kw_only=True):
    """From whom to whom wrk's requests go.

    Attributes:
        caller: the workload that calls.
        server: the workload that is called.
        host: the Service by which it is called; empty: the Pod's address.
        by_hand: Envoys by hand are between, and no sidecars.
        logged: every request is logged.
        peer: the way that it is compared with.
    """

    name: str
    caller: str
    server: str
    host: str = ""
    by_hand: bool = False
    logged: bool = False
    peer: str = ""


_BY_HAND, _LOGGED = "pair by hand, mutual TLS", "pair by hand, and a log"
WAYS = (
    Way(name="direct", caller="bare-caller", server="bare-server"),
    Way(name="one Envoy", caller="caller", server="bare-server", host="bare-server"),
    Way(name="pair, plain text", caller="caller", server="plain-server", host="plain-server"),
    Way(name=_BY_HAND, caller="client", server="by-hand", by_hand=True),
    Way(name="pair, mutual TLS", caller="caller", server="server", host="server", peer=_BY_HAND),
    Way(name=_LOGGED, caller="logged-client", server="logged-by-hand", by_hand=True, logged=True),
    Way(
        name="pair, mutual TLS, and a log",
        caller="caller",
        server="server",
        host="server",
        logged=True,
        peer=_LOGGED,
    ),
)
"""In the order in which they are measured: those with a log come last."""


class Run:
    """The mesh, in a directory of its own."""

    def __init__(self, top: Path) -> None:
        self._data = top / "data"
        self._mesh = top / "mesh"
        self._mesh.mkdir()
        self._settings = top / "mesh-config.yaml"
        self._environment = {
            **os.environ,  # noqa: TID251
            "PLAIT_SERVER": f"unix:{self._data / 'api.sock'}",
            "PLAIT_MESH_CONFIG": str(self._settings),
        }
        self._place = Place(self._data / "run")
        self._hand = HandWritten(top, PORT)
        application = top / "app.json"  # not in the mesh: there it would be read as objects
        application.write_text(json.dumps(_application()))
        serve = [str(envoy_binary()), "-c", str(application), "--concurrency", "1"]
        serve += ["--use-dynamic-base-id"]
        images = {"server": serve, "caller": ["sleep", "86400"]}
        for logged in (False, True):
            images |= self._hand.images(logged=logged)
        text = "\n".join(
            f'[images.{name}]\ndirectory = "."\ncommand = {json.dumps(words)}'
            for name, words in images.items()
        )
        (self._mesh / "images.toml").write_text(text)
        documents = {"apiVersion": "v1", "kind": "List", "items": _objects()}
        (self._mesh / "mesh.json").write_text(json.dumps(documents))
        self._logs(wanted=False)

    def _logs(self, *, wanted: bool) -> None:
        said = {"accessLogFile": "/dev/stdout" if wanted else "", "accessLogEncoding": "JSON"}
        fresh = self._settings.with_suffix(".new")
        fresh.write_text(json.dumps(said))
        fresh.replace(self._settings)

    def plait(self, *arguments: str) -> str:
        """Run the command line; its output."""
        done = self._tried(*arguments)
        if done.returncode:
            raise SystemExit(f"plait {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def _tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "plait.ui.cli.main", *arguments]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False
        )

    def up(self) -> None:
        """Start it, and learn where everything is."""
        self.plait("up", str(self._mesh), "--data", str(self._data))
        pods = json.loads(self.plait("get", "pods", "-o", "json"))["items"]
        self._pods = {pod["metadata"]["labels"]["app"]: pod for pod in pods}
        services = json.loads(self.plait("get", "services", "-o", "json"))["items"]
        self._vips = {one["metadata"]["name"]: one["spec"]["clusterIP"] for one in services}
        for logged in (False, True):
            server = next(one for one in WAYS if one.by_hand and one.logged is logged).server
            self._hand.aim(self._address(server), logged=logged)
        for way in WAYS:
            if way.by_hand:
                _until(partial(self._is_open, way), f"there is an answer: {way.name}")

    def down(self) -> None:
        """End it."""
        self.plait("down", "--data", str(self._data))

    def log(self, *, wanted: bool) -> None:
        """Have all sidecars log every request, or none."""
        self._logs(wanted=wanted)
        for proxy in self._proxies():
            admin = Admin(f"unix:{self._place.proxy(proxy.id) / 'edge' / 'admin.sock'}")

            def is_told(admin: Admin = admin) -> bool:
                text = admin.ask("/config_dump?resource=dynamic_listeners")[1]
                return ("envoy.access_loggers.file" in text) is wanted

            _until(is_told, f"{proxy.name} has its log turned {'on' if wanted else 'off'}")

    def measure(self, way: Way, connections: int, seconds: float) -> dict[str, float]:
        """One round of wrk."""
        proxies = self._pids(way)
        before = sum(map(machine.cpu_seconds, proxies))
        said = self.plait(*self._wrk(way, f"-c{connections}", f"-d{seconds}"))
        used = sum(map(machine.cpu_seconds, proxies)) - before
        if "Non-2xx" in said or "Socket errors" in said:
            raise SystemExit(f"{way.name}: wrk said: {said}")
        return {
            "rps": float(_found(r"Requests/sec: +([\d.]+)", said)),
            "cpu": used / int(_found(r"(\d+) requests in", said)) * 1e6,
            "p50": _microseconds(_found(r"50% +(\S+)", said)),
            "p99": _microseconds(_found(r"99% +(\S+)", said)),
        }

    def _wrk(self, way: Way, *flags: str) -> tuple[str, ...]:
        address = self._vips[way.host] if way.host else self._address(way.server)
        place = ("exec", f"deployment/{way.caller}", "-c", "caller", "--")
        return (*place, *_WRK, *flags, f"http://{address}:{PORT}/")

    def _is_open(self, way: Way) -> bool:
        """Whether requests are answered; of sidecars, `up` knows it."""
        done = self._tried(*self._wrk(way, "-c1", "-d1"))
        return not done.returncode and "Non-2xx" not in done.stdout

    def _address(self, workload: str) -> str:
        found: str = self._pods[workload]["status"]["podIP"]
        return found

    def _pids(self, way: Way) -> tuple[int, ...]:
        """Of the proxies on a way."""
        if way.by_hand:
            return self._hand.pids(logged=way.logged)
        ends = [self._pods[one]["metadata"]["name"] for one in (way.caller, way.server)]
        states = (
            places.read(self._place.state(one.id), ProxyState)
            for one in self._proxies()
            if one.name in ends
        )
        return tuple(one.pid for one in states if one and one.pid)

    def _proxies(self) -> list[ProxySpec]:
        found = (places.read(path, ProxySpec) for path in self._place.specs.glob("*.json"))
        return [one for one in found if one is not None]


def _objects() -> list[dict[str, Any]]:
    """All that is in the mesh."""
    servers = ("server", "plain-server", "bare-server")
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "plain-server"}},
            "mtls": {"mode": "DISABLE"},
        },
    }
    return [
        *(_deployment(name, _server(), bare=name.startswith("bare")) for name in servers),
        *(_service(name) for name in servers),
        policy,
        _deployment("caller", _CALLER, bare=False),
        _deployment("bare-caller", _CALLER, bare=True),
        *(one for mark in ("", "logged-") for one in _by_hand(mark)),
    ]


_CALLER = {"name": "caller", "image": "caller"}


def _server() -> dict[str, Any]:
    probe = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    return {"name": "server", "image": "server", "readinessProbe": probe}


def _by_hand(mark: str) -> list[dict[str, Any]]:
    """A caller and a server, each with an Envoy beside it and its Pod's capture."""
    own = {"runAsUser": USER}
    capture = {"name": "capture", "image": f"{mark}capture"}
    made = []
    for workload, container, image in (
        (f"{mark}client", _CALLER, f"{mark}client-envoy"),
        (f"{mark}by-hand", _server(), f"{mark}server-envoy"),
    ):
        beside = {"name": "envoy", "image": image, "securityContext": own}
        made.append(_deployment(workload, container, beside, inits=[capture], bare=True))
    return made


def _deployment(
    name: str,
    *containers: dict[str, Any],
    bare: bool,
    inits: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """A Deployment; `bare`: without sidecar."""
    labels = {"app": name}
    spec = {"containers": [*containers], "initContainers": [*inits]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels | (_BARE if bare else {})}, "spec": spec},
        },
    }


def _service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": PORT}]},
    }


def _application() -> dict[str, Any]:
    """An Envoy that answers every request by itself."""
    reply = {"status": 200, "body": {"inline_string": _BODY}}
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "direct_response": reply}],
    }
    manager = {
        "@type": f"type.googleapis.com/{_HTTP}",
        "stat_prefix": "app",
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    address = {"socket_address": {"address": "0.0.0.0", "port_value": PORT}}
    listener = {"name": "app", "address": address, "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener]}}


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"it took too long until {what}")
        time.sleep(0.1)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk said: {text}")
    return match.group(1)


def _microseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 1.0, "ms": 1e3, "s": 1e6}[unit]
