"""Becomes another program: in its network namespace, as its user, with its files.

Run by path, ``python -I -S launch.py FILE COMMAND…``, so it may import the standard library alone.
A program of its own instead of code between fork and exec: it may do what it likes, and what goes
wrong is said on its error stream, which is the log of the program that it should have become.

FILE is the number of an open file with JSON, see `Request`: everybody may read what the arguments
of a program are, but its variables may be secret.  Exit codes as of a shell: 126 not executable,
127 not found.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import socket
import sys
import time
from typing import Any, TypedDict

_NEW_NAMESPACE_OF_FILES = 0x00020000
_NEW_NAMESPACE_OF_NAMES = 0x04000000
_NETWORK = 0x40000000
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000
_libc = ctypes.CDLL(None, use_errno=True)


class Request(TypedDict, total=False):
    """What to become; see `plait.base.processes.Command`."""

    command: list[str]
    environment: dict[str, str]
    directory: str
    network: str
    mounts: list[tuple[str, str]]
    hostname: str
    uid: int
    gid: int
    executable: str
    open_files: int
    is_bound: bool
    report: int  # file descriptor


def become(request: Request) -> None:
    """Does not return.

    Raises:
        OSError: something on the way failed; it says what.
    """
    if report := request.get("report"):
        _leave(report)
    program = _program(request)
    _enter(request)
    if limit := request.get("open_files"):
        _allow_files(limit)
    _change_user(request)
    if request.get("is_bound"):  # forgotten when the user changes, so after that
        _check(_libc.prctl(_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0), "end with its parent")
    os.chdir(request.get("directory") or "/")
    os.execve(program, request["command"], request.get("environment", {}))  # noqa: S606


def _leave(report: int) -> None:
    """Go on as the machine's first process's child, in a session of our own; tell our number."""
    parent = os.getpid()
    if child := os.fork():
        os.write(report, str(child).encode())
        os._exit(0)
    os.close(report)
    os.setsid()
    while os.getppid() == parent:
        time.sleep(0.001)


def _program(request: Request) -> Any:
    """A file descriptor of the named executable, opened while we may; else a path."""
    if executable := request.get("executable"):
        return os.open(executable, os.O_RDONLY | os.O_CLOEXEC)
    name = request["command"][0]
    path = request.get("environment", {}).get("PATH", os.defpath)
    inside = os.path.join(request.get("directory") or "/", name)
    found = inside if "/" in name else shutil.which(name, path=path)
    if found is None:
        raise FileNotFoundError(2, "no such command in PATH", name)
    return found


def _allow_files(limit: int) -> None:
    """As many as asked for; as many as are allowed where root may not raise that."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, most)))
        most = max(limit, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, most), most))


def _enter(request: Request) -> None:
    if network := request.get("network"):
        file = os.open(network, os.O_RDONLY | os.O_CLOEXEC)
        _check(_libc.setns(file, _NETWORK), f"enter {network}")
        os.close(file)
    if mounts := request.get("mounts"):
        _check(_libc.unshare(_NEW_NAMESPACE_OF_FILES), "make a namespace of files")
        _mount(None, "/", _RECURSIVE | _PRIVATE)
        for what, where in mounts:
            _mount(what, where, _BIND | _RECURSIVE)
    if hostname := request.get("hostname"):
        _check(_libc.unshare(_NEW_NAMESPACE_OF_NAMES), "make a namespace of names")
        socket.sethostname(hostname)


def _mount(what: str | None, where: str, flags: int) -> None:
    source = what.encode() if what else None
    _check(_libc.mount(source, where.encode(), None, flags, None), f"mount {what} at {where}")


def _change_user(request: Request) -> None:
    if (gid := request.get("gid")) is not None:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
    if (uid := request.get("uid")) is not None:
        os.setresuid(uid, uid, uid)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {what}: {os.strerror(number)}")


def main() -> int:
    """Become what is asked for; returns only if that fails."""
    with open(int(sys.argv[1]), encoding="utf-8") as file:
        request: Request = json.load(file)
    request["command"] = sys.argv[2:]
    try:
        become(request)
    except OSError as error:
        name = error.filename or request["command"][0]
        who = f" to user {os.geteuid()}" if isinstance(error, PermissionError) else ""
        sys.stderr.write(f"cannot start {name}: {error.strerror or error}{who}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126
    return 0


if __name__ == "__main__":
    sys.exit(main())
