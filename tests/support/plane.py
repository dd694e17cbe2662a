"""A real control plane as a process, and what a user does with it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.envoy import base_id, eventually

ROOT = Path(__file__).parent.parent.parent
PLAIT = (sys.executable, "-m", "plait.ui.cli.main")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class PlaneEndedError(Exception):
    """The control plane did not start; what it said."""


class Plane:
    """``plait serve`` on free ports of loopback; it can be killed and started again."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        files: Path | None = None,
        module: str = "plait.ui.cli.main",
    ) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.xds = f"127.0.0.1:{free_port()}"
        self.api = f"127.0.0.1:{free_port()}"
        self.log = directory / "serve.log"
        watched = ("-f", str(files)) if files else ()
        own = ("--data", str(self.data), "--xds", self.xds, "--api", self.api)
        command = (sys.executable, "-m", module, "serve")
        self._command = [*command, *own, *watched, *options]
        self.environment = {
            **os.environ,
            "PLAIT_SERVER": f"http://{self.api}",
            "HOME": str(directory),
        }

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self.environment, cwd=ROOT
            )
        eventually(self._is_ready, 30, "the control plane is ready")
        return self

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, sign)
        self.process.wait(20)

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise PlaneEndedError(self.log.read_text()[-3000:])
        return self.get("/readyz")[0] == 200

    def get(self, path: str) -> tuple[int, Any]:
        """Status and body of a GET; JSON is decoded."""
        connection = http.client.HTTPConnection(self.api, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        is_json = "json" in (response.getheader("content-type") or "")
        return response.status, json.loads(body) if is_json else body.decode()

    def run(self, *arguments: str, stdin: str | None = None, ok: bool = True) -> str:
        """Run the CLI; its output, the error stream behind it."""
        done = subprocess.run(
            [*PLAIT, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=ROOT,
            timeout=120,
            check=False,
        )
        if ok:
            assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def apply(self, *objects: dict[str, Any], wait: bool = True) -> str:
        """``plait apply`` of the objects; with `wait`, until the last acknowledgement."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        flags = ("--wait",) if wait else ()
        return self.run("apply", "-f", "-", *flags, stdin=json.dumps(items))

    def proxies(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("status", "-o", "json"))["proxies"]
        return found


class Proxy:
    """``plait proxy`` as a process; `prefix` is put before its command (``ip netns exec …``)."""

    def __init__(self, directory: Path, *arguments: str, prefix: Sequence[str] = ()) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / "proxy.log"
        self.admin_path = str(directory / "admin.sock")
        own = ("--admin-socket", self.admin_path, "--base-id", base_id())
        self._command = [*prefix, *PLAIT, "proxy", *arguments, *own]

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=ROOT)
        eventually(self._is_ready, 30, "the proxy is ready")
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        self.process.wait(30)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return b"ready" in self.log.read_bytes()
