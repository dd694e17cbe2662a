"""Processes of a demo: started, watched, ended, and found again by what they inherited."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

TOKEN = "PLAIT_DEMO_RUN"  # noqa: S105 - a name, not a secret
"""Variable that everything started for one demo inherits, down to the Envoys."""

_PATIENCE = 12.0  # seconds that processes are given to end before they are killed
_PR_SET_PDEATHSIG = 1
_FOREIGN = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "kubeconfig")
_libc = ctypes.CDLL(None)


def environment(token: str, tmp: Path, **more: str) -> dict[str, str]:
    """The variables of what is started: those of this process without what would change plait."""
    kept = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - handed on to child processes
        if not name.startswith("PLAIT_") and name.lower() not in _FOREIGN
    }
    return {**kept, TOKEN: token, "TMPDIR": str(tmp), **more}


class Child:
    """One process, which the kernel ends when this one is gone."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, variables: dict[str, str]
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=variables,
                start_new_session=True,  # Ctrl-C is for the demo, which ends them in order
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None: it is running; negative: the signal that ended it."""
        return self._process.poll()

    def ask_to_end(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def wait(self) -> None:
        """Until it has ended, by force if it takes too long."""
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def end(children: Sequence[Child]) -> None:
    """End them together."""
    for child in children:
        child.ask_to_end()
    for child in children:
        child.wait()


def running(token: str) -> tuple[int, ...]:
    """Processes, but this one, that inherited `token`, in order; zombies are left out."""
    mark = f"{TOKEN}={token}".encode()
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (directory / "environ").read_bytes().split(b"\0"):
                found.append(int(directory.name))
    return tuple(sorted(set(found) - {os.getpid()})) if token else ()


def end_all(token: str) -> None:
    """End what runs with `token`, at last by force."""
    deadline = time.monotonic() + _PATIENCE
    asked: set[int] = set()
    while left := running(token):
        late = time.monotonic() > deadline
        for pid in left if late else set(left) - asked:
            send(pid, kill=late)
        asked.update(left)
        time.sleep(0.02)


def send(pid: int, *, kill: bool = False) -> None:
    """SIGTERM or SIGKILL to a process that may be gone by now."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL if kill else signal.SIGTERM)


def shared_memory(base_id: int) -> Path:
    """What an Envoy that is killed leaves behind."""
    return Path(f"/dev/shm/envoy_shared_memory_{base_id * 10}")  # noqa: S108 - Envoy's own name


def _die_with_parent() -> None:
    if hasattr(_libc, "prctl"):
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
