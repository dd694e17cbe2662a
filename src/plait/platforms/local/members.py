"""Who runs in a network namespace, whoever started it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator
from pathlib import Path

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


def session(namespace: str, leader: int) -> frozenset[int]:
    """Those of them who are in the session that a process began; it may have ended."""
    return frozenset(pid for pid in members(namespace) if session_of(pid) == leader)


def of_user(uid: int) -> frozenset[int]:
    """All processes of a user."""
    found = set()
    for pid in _pids():
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid == uid:
                found.add(pid)
    return frozenset(found)


def kill(pids: Collection[int]) -> None:
    """Send SIGKILL."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_all(namespace: str) -> None:
    """Kill who runs in a namespace, and who they start meanwhile; returns when nobody does.

    Blocks; gives up after some seconds, when the kernel does not let somebody go.
    """
    deadline = time.monotonic() + _PATIENCE
    while (found := members(namespace)) and time.monotonic() < deadline:
        kill(found)
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


def session_of(pid: int) -> int:
    """The session of a process, by the number of who began it; 0: it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
