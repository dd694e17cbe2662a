"""What a sidecar costs: wrk over a direct path, through one Envoy, and through a pair.

``python -m benchmarks.sidecar`` (root, wrk).  Everything runs under ``plait up`` on this machine;
the application is an Envoy that answers by itself, so it is never the slowest part.  The CPU
column is the proxies' own time for each request: of all columns it depends least on what else the
machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks import machine
from plait.agent.binary import envoy_binary
from plait.base import place as places
from plait.base.place import Place, ProxyState

PORT = 8000
_BODY = "x" * 64
_HTTP = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_WRK = ("wrk", "-t1", "--latency")


class Run:
    """A mesh of callers and servers, each with a sidecar and without."""

    def __init__(self, top: Path) -> None:
        self._data = top / "data"
        self._mesh = top / "mesh"
        self._mesh.mkdir()
        self._environment = {**os.environ, "PLAIT_SERVER": f"unix:{self._data / 'api.sock'}"}  # noqa: TID251
        self._place = Place(self._data / "run")
        application = top / "app.json"  # not in the mesh: there it would be read as objects
        application.write_text(json.dumps(_application()))
        serve = [str(envoy_binary()), "-c", str(application), "--concurrency", "1"]
        serve += ["--use-dynamic-base-id"]
        images = {"server": serve, "caller": ["sleep", "86400"]}
        text = "\n".join(
            f'[images.{name}]\ndirectory = "."\ncommand = {json.dumps(words)}'
            for name, words in images.items()
        )
        (self._mesh / "images.toml").write_text(text)
        objects = [
            *(_deployment("server", "server", sidecar=True), _service("server")),
            *(_deployment("bare-server", "server", sidecar=False), _service("bare-server")),
            _deployment("caller", "caller", sidecar=True),
            _deployment("bare-caller", "caller", sidecar=False),
        ]
        (self._mesh / "mesh.json").write_text(
            json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def plait(self, *arguments: str) -> str:
        """Run the command line; its output."""
        command = [sys.executable, "-m", "plait.ui.cli.main", *arguments]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"plait {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def up(self) -> None:
        """Start it, and learn where everything is."""
        self.plait("up", str(self._mesh), "--data", str(self._data))
        pods = json.loads(self.plait("get", "pods", "-o", "json"))["items"]
        self._pods = {pod["metadata"]["labels"]["app"]: pod for pod in pods}
        services = json.loads(self.plait("get", "services", "-o", "json"))["items"]
        self._vips = {one["metadata"]["name"]: one["spec"]["clusterIP"] for one in services}

    def down(self) -> None:
        """End it."""
        self.plait("down", "--data", str(self._data))

    def paths(self) -> dict[str, tuple[str, str]]:
        """By name who calls, and what address."""
        return {
            "direct": ("bare-caller", self._pods["bare-server"]["status"]["podIP"]),
            "one Envoy": ("caller", self._vips["bare-server"]),
            "pair": ("caller", self._vips["server"]),
        }

    def measure(
        self, caller: str, address: str, connections: int, seconds: int
    ) -> dict[str, float]:
        """One round of wrk."""
        before = self._cpu()
        flags = (f"-c{connections}", f"-d{seconds}", f"http://{address}:{PORT}/")
        said = self.plait("exec", f"deployment/{caller}", "--", *_WRK, *flags)
        used = self._cpu() - before
        count = int(_found(r"(\d+) requests in", said))
        return {
            "rps": float(_found(r"Requests/sec: +([\d.]+)", said)),
            "cpu": used / count * 1e6,
            "p50": _microseconds(_found(r"50% +(\S+)", said)),
            "p99": _microseconds(_found(r"99% +(\S+)", said)),
        }

    def _cpu(self) -> float:
        states = (
            places.read(self._place.state(path.stem), ProxyState)
            for path in self._place.specs.glob("*.json")
        )
        return sum(machine.cpu_seconds(one.pid) for one in states if one and one.pid)


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


def _deployment(name: str, image: str, *, sidecar: bool) -> dict[str, Any]:
    labels = {"app": name}
    marks = {} if sidecar else {"sidecar.istio.io/inject": "false"}
    container: dict[str, Any] = {"name": image, "image": image}
    if image == "server":
        container["readinessProbe"] = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels | marks},
                "spec": {"containers": [container]},
            },
        },
    }


def _service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": PORT}]},
    }


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk said: {text}")
    return match.group(1)


def _microseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 1.0, "ms": 1e3, "s": 1e6}[unit]


def table(found: dict[tuple[str, int], list[dict[str, float]]]) -> str:
    """The medians."""
    rows = []
    for (name, connections), rounds in found.items():
        middle = {what: statistics.median(one[what] for one in rounds) for what in rounds[0]}
        cpu = f"{middle['cpu']:.1f}" if name != "direct" else "-"
        figures = (f"{middle['rps']:,.0f}", cpu, f"{middle['p50']:,.0f}", f"{middle['p99']:,.0f}")
        rows.append((f"{name}, {connections} connections", *figures))
    return machine.table(("path", "req/s", "proxy CPU µs/req", "p50 µs", "p99 µs"), rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="sidecar: what the proxies between cost")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed (Debian, Ubuntu: apt-get install wrk)")
    found: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="plait-s-") as top:
        Path(top).chmod(0o755)
        run = Run(Path(top))
        try:
            run.up()
            for _ in range(given.rounds):
                for connections in (1, 32):
                    for name, (caller, address) in run.paths().items():
                        one = run.measure(caller, address, connections, given.seconds)
                        found[name, connections].append(one)
        finally:
            run.down()
    title = "sidecar: wrk, keep-alive, 64 bytes, plaintext, one worker for each Envoy"
    head = f"{machine.headline(title)}\nmedians of {given.rounds} interleaved rounds"
    sys.stdout.write(f"{head}\n{table(found)}\n")


if __name__ == "__main__":
    main()
