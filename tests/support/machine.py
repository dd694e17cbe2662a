"""A mesh on this machine as a user has it: ``plait up`` of a directory, beside any other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from plait.base import place as places
from plait.base import processes
from plait.base.place import Place, ProxyState
from tests.support import istio, scale
from tests.support.envoy import eventually
from tests.support.plane import PLAIT, ROOT, free_port

PORTS = {"http": 9080, "grpc": 9081, "tcp": 9082}
MODES = ("encrypted", "plain")[: scale.count(1, 2)]
"""How workloads call each other, for tests that hold either way; plainly in the long tier."""
_CALL = """
import sys
sys.path.insert(0, {root!r})
from tests.support import traffic
print({expression})
"""
# The one clock of the program is set wrong.  libfaketime 0.9.10 would do it for libraries as well,
# but makes clock_nanosleep fail (EINVAL), with which Python 3.11 sleeps.
_AHEAD = """
from plait.base.clock import WallClock
right = WallClock.now
WallClock.now = lambda self: right(self) + {ahead}
from plait.ui.cli.main import main
main(prog_name="plait")
"""


class Machine:
    """One mesh: its directory of YAML, its data, and its gateway's port."""

    def __init__(self, top: Path) -> None:
        self.files = top / "mesh"
        self.data = top / "data"
        self.place = Place(self.data / "run")
        self.port = free_port()
        self.gateway = f"127.0.0.1:{self.port}"
        self.environment = {**os.environ, "PLAIT_SERVER": f"unix:{self.data / 'api.sock'}"}
        self.images: dict[str, dict[str, Any]] = {}
        self.prefix: tuple[str, ...] = ()  # put before the CLI's command
        self.files.mkdir()

    def write(self, name: str, *objects: dict[str, Any]) -> None:
        """Write a file of the mesh."""
        (self.files / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
        lines = [
            f"[images.{name!r}]\ndirectory = {str(ROOT)!r}\ncommand = {one['command']!r}\n"
            for name, one in self.images.items()
        ]
        (self.files / "images.toml").write_text("\n".join(lines))

    def backend(self, app: str, version: str = "v1", **spec: Any) -> dict[str, Any]:
        """A Deployment of the tests' own service, which tells its version."""
        image = f"{app}-{version}"
        ports = [f"--{kind} 0.0.0.0:{number}" for kind, number in PORTS.items()]
        words = ["-m", "tests.support.backend", version, *" ".join(ports).split()]
        self.images[image] = {"command": [sys.executable, *words]}
        return deployment(image, {"app": app, "version": version}, image=image, **spec)

    def up(self, *more: str, ok: bool = True, seconds: float = 150) -> str:
        """``plait up``; what it says."""
        return self.run(
            "up", str(self.files), "--data", str(self.data), *more, ok=ok, seconds=seconds
        )

    @contextmanager
    def another_plane(self, *, ahead: int = 0, **settings: str) -> Iterator[None]:
        """The machine's control plane is followed by one with these settings, and then by none.

        `ahead` is by how many seconds its clock is wrong.
        """
        pid = self.handle(self.place.mesh)["pid"]
        if processes.is_running(pid):
            os.kill(pid, signal.SIGTERM)
        eventually(lambda: not processes.is_running(pid), 30, "its end")
        doors = {"--xds": "xds.sock", "--api": "api.sock"}
        words = [w for flag, name in doors.items() for w in (flag, f"unix:{self.data / name}")]
        words += ["--files", str(self.files), "--images", str(self.files / "images.toml")]
        given = {f"PLAIT_{name.upper()}": value for name, value in settings.items()}
        program = [sys.executable, "-c", _AHEAD.format(ahead=ahead)] if ahead else PLAIT
        with (self.data / "another.log").open("wb") as log:
            process = subprocess.Popen(
                [*program, "serve", "--local", "--data", str(self.data), *words],
                env={**self.environment, **given},
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)

    def certificates(self) -> list[dict[str, Any]]:
        """The newest one of each proxy."""
        found: list[dict[str, Any]] = json.loads(self.run("cert", "-o", "json"))
        return found

    def serials(self) -> set[str]:
        """Of the certificates that connected proxies have."""
        return {one["serial"] for one in self.certificates() if one["connected"]}

    def down(self) -> str:
        """``plait down``; what it says."""
        return self.run("down", "--data", str(self.data))

    def run(self, *arguments: str, ok: bool = True, seconds: float = 60, stdin: str = "") -> str:
        """Run the CLI; its output, the error stream behind it."""
        done = subprocess.run(
            [*self.prefix, *PLAIT, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=ROOT,
            timeout=seconds,
            check=False,
        )
        said = done.stdout + done.stderr
        assert not ok or done.returncode == 0, f"plait {' '.join(arguments)}: {said}"
        assert ok or done.returncode, said
        return said

    def apply(self, *objects: dict[str, Any]) -> str:
        """``plait apply --wait`` of the objects."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        return self.run("apply", "-f", "-", "--wait", stdin=json.dumps(items))

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """The Pods with these labels."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        text = self.run("get", "pods", "-A", "-l", selector, "-o", "json")
        found: list[dict[str, Any]] = json.loads(text)["items"]
        return found

    def pod(self, **labels: str) -> dict[str, Any]:
        """The one Pod with these labels."""
        (found,) = self.pods(**labels)
        return found

    def workloads(self) -> dict[str, dict[str, Any]]:
        """What runs, by name."""
        page = json.loads(self.run("status", "-o", "json"))
        return {one["name"]: one for one in page["workloads"]}

    def inside(self, app: str, *command: str, version: str = "v1") -> str:
        """What a command says that runs in a workload, as root beside its program."""
        return self.beside(self.pod(app=app, version=version), *command)

    def beside(self, pod: dict[str, Any], *command: str) -> str:
        """What a command says that runs in a Pod."""
        enter = ("nsenter", "--target", str(self.program(pod)), "--net", "--mount", "--uts")
        done = subprocess.run(
            [*enter, *command], capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    @contextmanager
    def watching(self, *words: str) -> Iterator[Callable[[], str]]:
        """``plait get -w -o json``; what it has said so far."""
        with tempfile.NamedTemporaryFile() as file:
            command = [*PLAIT, "get", *words, "-w", "-o", "json"]
            process = subprocess.Popen(command, stdout=file, env=self.environment, cwd=ROOT)
            try:
                yield Path(file.name).read_text
            finally:
                process.terminate()
                process.wait(10)

    def programs(self) -> list[int]:
        """The processes of all Pods' programs."""
        journals = (self.data / "run" / "pods").glob("*/journal.json")
        runs = [run for path in journals for run in json.loads(path.read_text())["runs"].values()]
        return [run["handle"]["pid"] for run in runs if run.get("handle")]

    def program(self, pod: dict[str, Any]) -> int:
        """The process of a Pod's program."""
        (name,) = [one["name"] for one in pod["spec"]["containers"]]
        journal = json.loads((self._directory(pod) / "journal.json").read_text())
        found: int = journal["runs"][name]["handle"]["pid"]
        return found

    def _directory(self, pod: dict[str, Any]) -> Path:
        metadata = pod["metadata"]
        return self.place.pod(metadata["namespace"], metadata["name"])

    def call(self, expression: str, app: str = "web") -> str:
        """Evaluate an expression with `traffic` in a workload."""
        program = _CALL.format(root=str(ROOT), expression=expression)
        return self.inside(app, sys.executable, "-c", program)

    def stats(self, pattern: str, **labels: str) -> int:
        """Sum of a proxy's counters whose names match."""
        program = (
            "import urllib.request as r; "
            f"print(r.urlopen('http://127.0.0.1:15000/stats?filter={pattern}').read().decode())"
        )
        lines = self.beside(self.pod(**labels), sys.executable, "-c", program).splitlines()
        return sum(int(line.rpartition(": ")[2]) for line in lines if ": " in line)

    def proxy(self, **labels: str) -> ProxyState:
        """How the proxy of a Pod does."""
        metadata = self.pod(**labels)["metadata"]
        proxy = places.identifier(metadata["namespace"], metadata["name"])
        state = places.read(self.place.state(proxy), ProxyState)
        assert state is not None, f"the agent says nothing of {proxy}"
        return state

    def handle(self, path: Path) -> Any:
        """A note as plain data."""
        return json.loads(path.read_text())


def deployment(
    name: str,
    labels: dict[str, str],
    *,
    image: str,
    replicas: int = 1,
    annotations: Mapping[str, str] | None = None,
    **container: Any,
) -> dict[str, Any]:
    """A Deployment of one container; the annotations are its Pods'."""
    marks = {"labels": labels, "annotations": dict(annotations or {})}
    probe = {"tcpSocket": {"port": 9080}, "periodSeconds": 1}
    one = {"name": labels["app"], "image": image, "readinessProbe": probe, **container}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": marks, "spec": {"containers": [one]}},
        },
    }


def service(name: str, app: str = "", **ports: int) -> dict[str, Any]:
    """A Service of the Pods with label ``app``, by default its name: port names with numbers."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"app": app or name},
            "ports": [{"name": kind, "port": number} for kind, number in ports.items()],
        },
    }


@contextmanager
def directory() -> Iterator[Path]:
    """A directory with a short path that Envoy's user may enter.

    It is not below pytest's own, which every pytest that starts closes to other users.
    """
    with tempfile.TemporaryDirectory(prefix="plait-m-") as top:
        Path(top).chmod(0o755)
        yield Path(top)


@contextmanager
def machine(*, start: bool = True, mode: str = MODES[0]) -> Iterator[Machine]:
    """``web`` calls ``reviews`` v1 and v2, inside the mesh and through the gateway."""
    with directory() as top:
        world = Machine(top)
        world.write("web", service("web", http=9080), world.backend("web"))
        world.write(
            "reviews",
            service("reviews", http=9080),
            service("echo", app="reviews", grpc=9081, tcp=9082),
            world.backend("reviews", "v1"),
            world.backend("reviews", "v2"),
            istio.rule("reviews", "v1", "v2"),
        )
        world.write("gateway", istio.gateway("gw", (world.port, "HTTP")))
        if mode == "plain":
            world.write("plain", istio.peers("DISABLE", "istio-system"))
        try:
            if start:
                world.up()
            yield world
        finally:
            world.down()
