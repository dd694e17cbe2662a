"""Who runs in a network namespace, whoever started it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

MARK = "PLAIT_CONTAINER"
"""Variable that names the container to all who run in it: children inherit it."""

_PAUSE = 0.02
_PATIENCE = 5.0


def members(namespace: str) -> frozenset[int]:
    """Numbers of all processes in a network namespace; none if there is no such namespace."""
    try:
        wanted = os.stat(namespace)
    except OSError:
        return frozenset()
    return frozenset(
        pid for pid, found in _networks() if (found.st_ino, found.st_dev) == _id(wanted)
    )


def of_container(namespace: str, name: str) -> frozenset[int]:
    """Those of them who have a container's `MARK`, in whatever session.

    Who was started without variables has none, and is found at the end of the Pod.
    """
    mark = f"{MARK}={name}".encode()
    return frozenset(pid for pid in members(namespace) if mark in _variables(pid))


def kill_all(namespace: str) -> None:
    """Kill who runs in a namespace, and who they start meanwhile; returns when nobody does.

    Blocks; gives up after some seconds, when the kernel does not let somebody go.
    """
    _kill(lambda: members(namespace))


def kill_container(namespace: str, name: str) -> None:
    """The same for who belongs to a container."""
    _kill(lambda: of_container(namespace, name))


def _kill(who: Callable[[], Collection[int]]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while (found := who()) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)


def mounted() -> frozenset[str]:
    """Every path at which some process of this machine sees a mount."""
    found: set[str] = set()
    seen: set[tuple[int, int]] = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            namespace = _id(os.stat(f"/proc/{pid}/ns/mnt"))
            if namespace not in seen:
                seen.add(namespace)
                lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
                found.update(line.split(" ", 5)[4] for line in lines)
    return frozenset(found)


def _networks() -> Iterator[tuple[int, os.stat_result]]:
    for pid in _pids():
        with contextlib.suppress(OSError):
            yield pid, os.stat(f"/proc/{pid}/ns/net")


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def _id(found: os.stat_result) -> tuple[int, int]:
    return found.st_ino, found.st_dev


def _variables(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []
