"""Servers under load as processes: plait, and the bare server it is compared with."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import machine, mesh
from benchmarks.papers import Papers
from benchmarks.scout import Known, Scout
from plait.base.clock import WallClock
from plait.config import codec
from plait.config.ports import Change
from plait.config.record import Write
from plait.config.store import Store

_PATIENCE = 60.0  # seconds until a server must be there, or gone
_SETTLED = 0.005  # share of its memory by which a settled process may still change
_PLURALS = {"ServiceEntry": "serviceentries", "VirtualService": "virtualservices"}


class Served:
    """A server as a process.

    Attributes:
        address: where proxies connect.
        papers: what they show there, and the server to them; None: nothing is encrypted.
        plain: where they can connect without.
        join: where they get their first certificate; empty: nowhere.
    """

    def __init__(self, papers: Papers | None) -> None:
        self.papers = papers
        self.plain = f"127.0.0.1:{free_port()}"
        self.address = f"127.0.0.1:{free_port()}" if papers else self.plain
        self.join = f"127.0.0.1:{free_port()}" if papers else ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.launch()
        _until(self._is_there, "the server listens")

    def launch(self) -> None:
        """Start it."""
        self.process = self._spawn()

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self.process is not None
        return self.process.pid

    def _spawn(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _is_there(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise SystemExit("the server ended")
        host, _, port = self.address.rpartition(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(sign)
            try:
                self.process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Plait(Served):
    """``plait serve`` with a mesh in its database."""

    def __init__(self, directory: Path, papers: Papers | None = None) -> None:
        super().__init__(papers)
        self.api = f"127.0.0.1:{free_port()}"
        self._directory = directory
        self._connection: http.client.HTTPConnection | None = None

    def start(self) -> None:
        """Start it; agents trust it then, and have their certificate of it."""
        if self.papers:
            self.papers.give(self._directory)
        super().start()
        if self.papers:
            self.papers.join(self._directory, self.join)

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "plait.ui.cli.main",
            "serve",
            "--data",
            str(self._directory),
        ]
        command += ["--xds", self.plain, "--api", self.api, "--log-format", "json"]
        if self.papers:
            command += ["--xds-tls", self.address, "--join", self.join]
        with (self._directory / "serve.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def _is_there(self) -> bool:
        if not super()._is_there():
            return False
        try:
            return self._ask("GET", "/readyz", b"") == 200
        except OSError:
            self._connection = None
            return False

    def patch(self, document: dict[str, Any]) -> float:
        """Replace the spec of an object; the moment before it was asked for."""
        meta = document["metadata"]
        path = f"/apis/{document['apiVersion']}/namespaces/{meta['namespace']}/"
        path += f"{_PLURALS[document['kind']]}/{meta['name']}"
        body = json.dumps({"spec": document["spec"]}).encode()
        started = time.monotonic()
        status = self._ask("PATCH", path, body)
        if status != 200:
            raise SystemExit(f"PATCH {path}: {status}")
        return started

    def _ask(self, method: str, path: str, body: bytes) -> int:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.api, timeout=_PATIENCE)
        headers = {"Content-Type": "application/merge-patch+json"} if body else {}
        self._connection.request(method, path, body or None, headers)
        response = self._connection.getresponse()
        response.read()
        return response.status


class BareServer(Served):
    """The bare server with what plait sent."""

    def __init__(
        self, known: Path, papers: Papers | None = None, *, returning: bool = False
    ) -> None:
        super().__init__(papers)
        self._known = known
        self._flags = ["returning"] if returning else []

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "benchmarks.bare", self.plain, str(self._known)]
        tls: list[str] = []
        if self.papers:
            self.papers.issue()
            tls = ["tls", str(self.papers.directory), self.address, self.join]
        return subprocess.Popen(command + self._flags + tls, stdin=subprocess.PIPE)

    def push(self, path: Path) -> float:
        """Send the bytes of a file to all; the moment before it was told to."""
        assert self.process is not None
        assert self.process.stdin is not None
        started = time.monotonic()
        self.process.stdin.write(f"{path}\n".encode())
        self.process.stdin.flush()
        return started


class Cost:
    """CPU seconds of a process since this was made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = machine.cpu_seconds(pid)

    def seconds(self) -> float:
        """So far."""
        return machine.cpu_seconds(self._pid) - self._before


def prepare(directory: Path, services: int, *, scoped: bool) -> None:
    """Make a data directory that holds the mesh."""
    asyncio.run(_prepare(directory, mesh.objects(services, scoped=scoped)))


async def _prepare(directory: Path, documents: list[dict[str, Any]]) -> None:
    store = await Store.open(directory, WallClock())
    writes = []
    for document in documents:
        change = codec.decode(document, source="api")
        assert isinstance(change, Change)
        writes.append(Write(key=change.key, change=change))
    async with asyncio.TaskGroup() as group:
        writer = group.create_task(store.run())
        await store.commit(writes)
        writer.cancel()
    await store.close()


async def learn(directory: Path) -> Known:
    """What a proxy is sent from the mesh of a data directory."""
    server = Plait(directory)
    server.start()
    try:
        scout = await Scout.start(server.address)
        await scout.stop()
    finally:
        server.stop()
    return scout.known


@contextmanager
def prepared(services: int, *, scoped: bool) -> Iterator[tuple[Callable[[], Path], Path]]:
    """A way to get fresh data directories with the mesh, and the file of what clients know."""
    with tempfile.TemporaryDirectory(prefix="plait-bench-") as name:
        base = Path(name)
        prepare(base / "mesh", services, scoped=scoped)
        known = base / "known"
        asyncio.run(learn(_copy(base))).save(known)
        yield lambda: _copy(base), known


def _copy(base: Path) -> Path:
    fresh = Path(tempfile.mkdtemp(dir=base))
    shutil.copytree(base / "mesh", fresh, dirs_exist_ok=True)
    return fresh


async def settled_rss(pid: int) -> int:
    """Memory of a process when it has stopped changing, in bytes."""
    before = 0
    for _ in range(20):
        now = machine.rss(pid)
        if abs(now - before) < now * _SETTLED:
            break
        before = now
        await asyncio.sleep(2)
    return machine.rss(pid)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"it took too long until {what}")
        time.sleep(0.01)
