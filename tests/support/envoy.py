"""Real Envoys for tests: each with its own base id, admin socket and log, ended by pid."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from plait.agent.binary import envoy_binary
from plait.base import unix_http


def eventually(holds: Callable[[], Any], seconds: float = 15, what: str = "") -> Any:
    """The first true value of `holds`, tried until the deadline; the last error is shown."""
    deadline, last = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            if value := holds():
                return value
        except (OSError, AssertionError, KeyError, http.client.HTTPException) as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what or holds}: {last}")


def validate(config: dict[str, Any], directory: Path) -> None:
    """Fail with Envoy's own words if it would refuse `config`."""
    path = directory / "validate.json"
    path.write_text(json.dumps(config))
    command = [str(envoy_binary()), "--mode", "validate", "-c", str(path), "-l", "error"]
    done = subprocess.run(
        [*command, "--base-id", base_id()], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def base_id() -> str:
    """A base id that no other Envoy of this machine is likely to have."""
    return str(random.SystemRandom().randint(1000, 60000))


class Envoy:
    """One running Envoy; `prefix` is put before its command (``ip netns exec …``)."""

    def __init__(
        self,
        config: dict[str, Any],
        directory: Path,
        *flags: str,
        prefix: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.admin_path = str(directory / "admin.sock")
        address = {"pipe": {"path": self.admin_path, "mode": 0o666}}
        config = {**config, "admin": {"address": address}}
        path = directory / "envoy.json"
        path.write_text(json.dumps(config))
        directory.chmod(0o777)
        path.chmod(0o644)
        self.log = directory / "envoy.log"
        self._base_id = base_id()
        self._command = [
            *prefix,
            *(str(envoy_binary()), "-c", str(path), "--concurrency", "1"),
            *("--base-id", self._base_id, "-l", "warn", "--log-path", str(self.log)),
            *flags,
        ]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, sign)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.kill(self.process.pid, signal.SIGKILL)
                self.process.wait(10)
        Path(f"/dev/shm/envoy_shared_memory_{self._base_id}0").unlink(missing_ok=True)

    def admin(self, path: str, method: str = "GET") -> str:
        connection = unix_http.Connection(self.admin_path, 5.0)
        try:
            connection.request(method, path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def ready(self, seconds: float = 20) -> Self:
        def live() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            return self.admin("/ready").strip() == "LIVE"

        eventually(live, seconds, "Envoy is live")
        return self

    def stats(self, pattern: str) -> dict[str, int]:
        lines = self.admin(f"/stats?filter={pattern}").splitlines()
        pairs = (line.split(": ", 1) for line in lines if ": " in line)
        return {key: int(value) for key, value in pairs if value.isdigit()}

    def dump(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.admin("/config_dump"))["configs"]
        return found
