"""The agent as a process, and what the platform and a Pod see of it."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plait.agent.envoy import Journal
from plait.base import netns, processes
from plait.base import place as places
from plait.base.place import EdgeSpec, EdgeState, Place, ProxySpec, ProxyState
from tests.support.envoy import eventually
from tests.support.plane import PLAIT, ROOT

LONG = 30.0
"""Seconds that an Envoy may take to be ready on a busy machine."""


class Agent:
    """``plait agent``; it can be killed and started again."""

    def __init__(self, place: Place, xds: str) -> None:
        self.place = place
        self.log = place.run.parent / "agent.log"
        self._command = [*PLAIT, "agent", "--run", str(place.run), "--xds", xds]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=ROOT)
        wanted = self.process.pid
        eventually(lambda: self._in_charge() == wanted, LONG, "the agent is in charge")

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, sign)
            self.process.wait(20)

    def second(self) -> subprocess.CompletedProcess[str]:
        """Another one in the same place, to its end."""
        return subprocess.run(
            self._command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )

    def want(self, spec: ProxySpec) -> None:
        places.write(self.place.spec(spec.id), spec)

    def unwant(self, proxy: str) -> None:
        self.place.spec(proxy).unlink()

    def want_ports(self, spec: EdgeSpec) -> None:
        places.write(self.place.edge, spec)

    def edge(self) -> EdgeState:
        state = places.read(self.place.proxy(places.EDGE) / "state.json", EdgeState)
        return state or EdgeState()

    def state(self, proxy: str) -> ProxyState:
        return places.read(self.place.state(proxy), ProxyState) or ProxyState(id=proxy)

    def ready(self, proxy: str, *, other_than: int = 0) -> ProxyState:
        """Wait until it is, as another process than `other_than`."""

        def found() -> ProxyState | None:
            assert self.process is None or self.process.poll() is None, self.log.read_text()[-3000:]
            state = self.state(proxy)
            return state if state.ready and state.pid != other_than else None

        state: ProxyState = eventually(found, LONG, f"{proxy} is ready")
        return state

    def gone(self, proxy: str) -> None:
        """Wait until nothing of a proxy is left."""
        eventually(lambda: not self.place.proxy(proxy).exists(), LONG, f"{proxy} is gone")

    def end_proxies(self) -> None:
        """Take away what runs on without an agent."""
        for note in self.place.run.glob("proxy/*/journal.json"):
            journal = places.read(note, Journal)
            found = processes.adopt(journal.handle) if journal and journal.handle else None
            if found is not None:
                found.send(signal.SIGKILL)
            if journal is not None:
                memory(journal.base_id).unlink(missing_ok=True)

    def journal(self, proxy: str) -> Journal:
        found = places.read(self.place.proxy(proxy) / "journal.json", Journal)
        assert found is not None
        return found

    def _in_charge(self) -> int:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        handle = places.read(self.place.agent, processes.Handle)
        return handle.pid if handle else 0


@contextmanager
def agent(xds: str) -> Iterator[Agent]:
    """An agent in a place that Envoy's user can come to, and that is gone at the end."""
    top = Path(tempfile.mkdtemp(prefix="plait-"))
    top.chmod(0o711)
    run = top / "run"
    run.mkdir()
    running = Agent(Place(run), xds)
    try:
        running.start()
        yield running
    finally:
        running.stop(signal.SIGKILL)
        running.end_proxies()
        shutil.rmtree(top, ignore_errors=True)


def memory(base_id: int) -> Path:
    """What an Envoy leaves in shared memory."""
    return Path(f"/dev/shm/envoy_shared_memory_{base_id * 10}")


def page(
    namespace: str, port: int, path: str, method: str = "GET", host: str = "127.0.0.1"
) -> tuple[int, str]:
    """Status and text of a page as a process in a network namespace gets it."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.sock = netns.inside(namespace, lambda: socket.create_connection((host, port), 10))
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def status(pid: int) -> dict[str, Any]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
