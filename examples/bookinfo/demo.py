"""Bookinfo behind real Envoys on this machine: what ``scripts/demo`` runs.

scripts/demo          start; Ctrl-C ends everything
scripts/demo stop     the same from another terminal
scripts/demo --check  start, use every way to change it, stop, and see that nothing is left
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from examples.bookinfo import mesh, place, processes, visitor
from examples.bookinfo.place import DemoError, Place
from examples.bookinfo.processes import Child

ROOT = Path(__file__).resolve().parent.parent.parent
PLAIT = str(Path(sys.executable).parent / "plait")
API_PORT = 15080
"""The API's usual port, used if it is free."""

_PATIENCE = 60.0  # seconds that each part of the start may take
_TICK = 0.02

Say = Callable[[str], None]


class Stopped(Exception):  # noqa: N818 - not an error
    """Somebody asked to stop."""


class Stopping:
    """Notes SIGINT, SIGTERM and SIGHUP."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True

    def sleep(self) -> None:
        """For a moment.

        Raises:
            Stopped: it was asked for.
        """
        if self.asked:
            raise Stopped
        time.sleep(_TICK)


class Demo:
    """The control plane, six services, a gateway and a sidecar."""

    def __init__(self, here: Place, say: Say, stopping: Stopping) -> None:
        self._place = here
        self._say = say
        self._stopping = stopping
        self._services: list[Child] = []
        self._proxies: list[Child] = []
        self._plane: list[Child] = []
        self._told: set[str] = set()
        self._since = self._begun = time.monotonic()

    def start(self) -> None:
        """Start everything and wait until the page is there in full.

        Raises:
            DemoError: something ended, or took too long.
            Stopped: somebody asked for it.
        """
        here = self._place
        for note in mesh.copy(here.mesh):
            self._say(note)
        self._layout = mesh.layout(here.mesh)
        self.api = self._api_address()
        self._write_files()
        self._start_plane()
        self._start_services()
        self._until(self._plane_is_ready, "the control plane read the mesh")
        self._start_proxies()
        self._until(self._services_answer, "six services answer")
        self._until(self._gateway_answers, "the gateway has its listener")
        self._until(self._page_is_whole, "the page is complete, through gateway and sidecar")
        here.note(url=self.url, api=self.api, seconds=self.seconds, ready=True)

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://{self._layout.gateway}/productpage"

    @property
    def seconds(self) -> float:
        """Since the start began."""
        return time.monotonic() - self._begun

    def follow(self) -> None:
        """Until somebody asks to stop; says when a process ended by itself."""
        while True:
            for child in (*self._services, *self._proxies, *self._plane):
                if child.exit_code is not None and child.name not in self._told:
                    self._told.add(child.name)
                    self._say(f"{_ended(child)}; the rest goes on. Its log: {child.log}")
            self._stopping.sleep()

    def stop(self) -> None:
        """End everything: first those who take requests."""
        for children in (self._proxies, self._services, self._plane):
            processes.end(children)

    def _api_address(self) -> str:
        if mesh.is_free("127.0.0.1", API_PORT):
            return f"127.0.0.1:{API_PORT}"
        port = mesh.free_port("127.0.0.1")
        self._say(f"127.0.0.1:{API_PORT} is taken: the API is at port {port} instead")
        return f"127.0.0.1:{port}"

    # Files

    def _write_files(self) -> None:
        here = self._place
        (here.path / "settings.toml").write_text("# The demo gives all settings as flags.\n")
        log = json.dumps({"accessLogFile": str(here.logs / "access.log")})
        (here.path / "mesh-config.yaml").write_text(log + "\n")
        here.kubeconfig.write_text(json.dumps(_kubeconfig(f"http://{self.api}"), indent=1))
        here.env.write_text(self._variables())

    def _variables(self) -> str:
        """What another terminal reads to use the demo."""
        values = {
            "PLAIT_SERVER": f"http://{self.api}",
            "KUBECONFIG": str(self._place.kubeconfig),
            "KUBECACHEDIR": str(self._place.path / "kube-cache"),
            "BOOKINFO": str(ROOT / "examples" / "bookinfo"),
        }
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
        return "".join(lines) + f"export PATH={shlex.quote(str(Path(PLAIT).parent))}:$PATH\n"

    # Processes

    def _child(self, name: str, *command: str, **more: str) -> Child:
        here = self._place
        variables = processes.environment(
            here.token, here.tmp, PLAIT_SETTINGS=str(here.path / "settings.toml"), **more
        )
        return Child(name, command, here.logs / f"{name}.log", variables)

    @property
    def _xds(self) -> str:
        return f"unix:{self._place.path / 'xds.sock'}"

    def _start_plane(self) -> None:
        here = self._place
        files = ("-f", str(here.mesh), "--mesh-config", str(here.path / "mesh-config.yaml"))
        own = ("--data", str(here.path / "data"), "--xds", self._xds, "--api", self.api)
        self._plane.append(self._child("control-plane", PLAIT, "serve", *files, *own))

    def _start_services(self) -> None:
        proxy = f"http://{self._layout.proxy}"
        for one in self._layout.instances:
            module = f"examples.bookinfo.services.{one.app}"
            place_ = ("--host", one.host, "--port", str(one.port))
            who = ("--name", one.name, "--version", one.version)
            command = (sys.executable, "-m", module, *place_, *who)
            child = self._child(one.name, *command, http_proxy=proxy, PYTHONPATH=str(ROOT))
            self._services.append(child)

    def _start_proxies(self) -> None:
        edge = ("--namespace", "istio-system", "--labels", "istio=ingressgateway")
        self._start_proxy("gateway", *edge)
        inside = ("--ip", "127.0.10.10", "--namespace", "default", "--labels", "app=bookinfo")
        self._start_proxy("sidecar", *inside, "--interception", "NONE")

    def _start_proxy(self, role: str, *who: str) -> None:
        admin = ("--admin-socket", str(self._place.path / f"{role}.sock"))
        number = ("--base-id", str(self._place.base_id()))
        command = (PLAIT, "proxy", role, "--xds", self._xds, "--name", role, *who, *admin, *number)
        self._proxies.append(self._child(role, *command))

    # Waiting

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait, and say how long it took.

        Raises:
            DemoError: a process ended, or it took too long.
        """
        deadline = time.monotonic() + _PATIENCE
        while not _quietly(holds):
            for child in (*self._plane, *self._services, *self._proxies):
                if child.exit_code is not None:
                    raise DemoError(f"{_ended(child)}:\n{_tail(child.log)}")
            if time.monotonic() > deadline:
                raise DemoError(f"not within {_PATIENCE:.0f} s: {what}{self._logs()}")
            self._stopping.sleep()
        now = time.monotonic()
        self._say(f"{now - self._since:6.1f} s  {what}")
        self._since = now

    def _logs(self) -> str:
        logs = {child.name: _tail(child.log) for child in (*self._plane, *self._proxies)}
        return "".join(f"\n{name}:\n{text}" for name, text in logs.items())

    def _plane_is_ready(self) -> bool:
        return _status(self.api, "/readyz") == 200

    def _services_answer(self) -> bool:
        all_ = self._layout.instances
        return all(_status(f"{one.host}:{one.port}", "/health") == 200 for one in all_)

    def _gateway_answers(self) -> bool:
        return _status(self._layout.gateway, "/static/icon.svg") == 200

    def _page_is_whole(self) -> bool:
        seen = visitor.Visitor(self._layout.gateway).load()
        return seen.status == 200 and not seen.failures


def _quietly(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except OSError:
        return False


def _status(address: str, path: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def _ended(child: Child) -> str:
    return f"{child.name} (process {child.pid}) ended by itself with exit code {child.exit_code}"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _kubeconfig(server: str) -> dict[str, object]:
    name = "plait-demo"
    context = {"cluster": name, "user": name, "namespace": "default"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": {}}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }


def farewell(here: Place, url: str, seconds: float) -> str:
    """What the user reads once the page is there."""
    networking = "$BOOKINFO/networking"
    elsewhere = () if here.path == place.default() else ("--place", str(here.path))
    stop = shlex.join((str(ROOT / "scripts" / "demo"), "stop", *elsewhere))
    return f"""
bookinfo is up after {seconds:.1f} s: {url}

Edit the YAML in {here.mesh}: the page obeys as you save (try the weights in routing.yaml).
Or use plait and kubectl, in another terminal:

    . {shlex.quote(str(here.env))}
    plait apply -f {networking}/virtual-service-reviews-v3.yaml --wait
    kubectl apply -f {networking}/virtual-service-reviews-test-v2.yaml    # now sign in as jason
    plait status
    kubectl get virtualservices,destinationrules
    tail -f {shlex.quote(str(here.logs / "access.log"))}    # requests, and what routed them

Stop with Ctrl-C, or from another terminal: {stop}
"""


def run(path: Path, say: Say) -> int:
    """Run a demo in `path` until it is asked to stop; returns the exit code."""
    stopping = Stopping()
    with place.claimed(path) as here:
        demo = Demo(here, say, stopping)
        try:
            demo.start()
            say(farewell(here, demo.url, demo.seconds))
            demo.follow()
        except Stopped:
            say("stopping ...")
        finally:
            demo.stop()
    say("stopped; nothing is left")
    return 0


def main() -> int:
    """What the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=("start", "stop"), default="start")
    parser.add_argument("--check", action="store_true", help="try everything, beside any demo")
    parser.add_argument("--place", type=Path, default=place.default(), help="directory to use")
    given = parser.parse_args()
    try:
        if given.check:
            from examples.bookinfo import check

            return check.main(_say)
        if given.command == "stop":
            found = place.stop(given.place)
            _say("stopped; nothing is left" if found else "no demo is running")
            return 0
        return run(given.place, _say)
    except DemoError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except BrokenPipeError:  # nobody reads any more; all is stopped by now
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
