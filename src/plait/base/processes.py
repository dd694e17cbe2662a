"""Processes that outlive who started them: started, found again, watched, ended.

They are watched by a pidfd and not waited for as children, so whoever comes next can take over;
a process is known by its number and the moment it began, because numbers are used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from plait.base import launch

_LAUNCH = str(Path(launch.__file__))
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_M_ARENA_MAX, _HEAPS = -8, 2  # a parameter of glibc's mallopt, and its value
_BECOMING, _MOMENT = 100, 0.001  # looks at a process that becomes another; seconds between them
_STATE, _STARTED = 0, 19  # fields of /proc/PID/stat behind the name


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to run, and where.

    Attributes:
        command: the arguments, the program's name first: a path, or looked up in PATH.
        environment: all variables that it has.
        directory: where it starts.
        network: path of its network namespace; empty: ours.
        mounts: pairs of a path and where the process sees it; nobody else does.
        hostname: empty: ours.
        uid, gid: its user and group; None: ours.
        executable: path of the program, opened before the user is changed, so that it may lie
            where that user cannot go; empty: found by the command.
        open_files: how many it may have; 0: as many as we.
        is_bound: the kernel ends it when the thread that started it is gone.
        is_orphan: it is a child of the machine's first process and not ours, so its exit code is
            lost; for programs that end themselves when their parent does.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = {}
    directory: str = "/"
    network: str = ""
    mounts: tuple[tuple[str, str], ...] = ()
    hostname: str = ""
    uid: int | None = None
    gid: int | None = None
    executable: str = ""
    open_files: int = 0
    is_bound: bool = False
    is_orphan: bool = False

    @contextmanager
    def launcher(self, **more: Any) -> Iterator[tuple[tuple[str, ...], int]]:
        """The command that becomes this one, for who must start it by itself.

        With it comes the number of an open file that it must inherit, and that is closed after.
        """
        request = {k: v for k, v in structs.asdict(self).items() if v is not None} | more
        del request["command"]
        with open(os.memfd_create("launch"), "wb+") as file:
            file.write(json.dumps(request).encode())
            file.seek(0)
            number = file.fileno()
            yield (sys.executable, "-I", "-S", _LAUNCH, str(number), *self.command), number


class Handle(Struct, frozen=True):
    """What a process is found by.

    Attributes:
        started: when it began, in the kernel's ticks since boot.
    """

    pid: int
    started: int


class Process:
    """A process of ours, or of who was here before."""

    def __init__(self, handle: Handle, child: subprocess.Popen[bytes] | None = None) -> None:
        self.handle = handle
        self._child = child

    @property
    def pid(self) -> int:
        """Its number."""
        return self.handle.pid

    def is_alive(self) -> bool:
        """Whether it still runs."""
        if self._child is not None:
            return self._child.poll() is None
        return _started(self.pid) == self.handle.started

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it started in its process group."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def wait(self) -> int | None:
        """Wait for its end; its exit code, negative: the signal; None: it was not our child."""
        try:
            file = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return self._child.poll() if self._child else None
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        try:
            if not self.is_alive():  # its number may be another's by now
                return self._child.poll() if self._child else None
            loop.add_reader(file, ended.set)
            await ended.wait()
        finally:
            loop.remove_reader(file)
            os.close(file)
        return self._child.wait() if self._child else None


class _Child(subprocess.Popen[bytes]):
    """A child that may outlive who started it: letting go of it is no mistake to warn of."""

    def __del__(self) -> None:
        self.poll()


def machine() -> str:
    """What all processes of this machine read alike, until it starts again, and no others."""
    return _BOOT.read_text().strip()


def start(command: Command, log: Path) -> Process:
    """Start a process in a session of its own; what it says is appended to `log`.

    What cannot be done in the end (no such program, no such namespace) is said in the log, and
    the process ends with 126 or 127.

    Raises:
        OSError: the log cannot be written, or there are too many processes.
    """
    if command.is_orphan:
        return _orphan(command, log)
    with command.launcher() as (launcher, request):
        child = _launched(launcher, log, request)
    return Process(Handle(child.pid, _started(child.pid) or 0), child)


def _launched(launcher: Sequence[str], log: Path, *files: int) -> _Child:
    with log.open("ab") as output:
        return _Child(
            launcher,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=files,
        )


def _orphan(command: Command, log: Path) -> Process:
    """Start the child of a process that ends at once; it tells the number through a pipe."""
    ours, theirs = os.pipe()
    try:
        with command.launcher(report=theirs) as (launcher, request):
            between = _launched(launcher, log, request, theirs)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    with open(ours, "rb") as told:
        number = int(told.read() or 0)
    between.wait()
    if not number:
        raise ChildProcessError(f"cannot start {command.command[0]}: see {log}")
    return Process(Handle(number, _started(number) or 0))


def adopt(handle: Handle) -> Process | None:
    """The process that somebody started before; None: it has ended."""
    return Process(handle) if _started(handle.pid) == handle.started else None


def find(*arguments: str) -> Process | None:
    """A process that has these arguments one after the other, or is about to; None: none has."""
    wanted = b"\0".join(one.encode() for one in ("", *arguments, ""))
    for one in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in _arguments(one):
                started = _started(int(one.name))
                return None if started is None else Process(Handle(int(one.name), started))
    return None


def _arguments(process: Path) -> bytes:
    """The arguments of a process, each with a zero behind it.

    While it becomes another program the kernel shows none: that is waited for.

    Raises:
        OSError: it is gone, or runs no program.
    """
    words = b""
    for _ in range(_BECOMING):
        words = (process / "cmdline").read_bytes()
        if words:
            break
        os.readlink(process / "exe")  # the kernel's own and dead ones have none
        time.sleep(_MOMENT)
    return words


def leave_no_core() -> None:
    """Have no memory written to a file when we, or what we start, crash: keys are in it.

    A limit of one byte also keeps back programs that the kernel hands cores to; 0 does not.  Who
    wants a core of a program that was started here can raise the limit there.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    least = 1 if most == resource.RLIM_INFINITY else min(1, most)
    resource.setrlimit(resource.RLIMIT_CORE, (least, most))


def share_memory() -> None:
    """Let threads share their heaps: what a flood of connections took is used again by the next.

    By itself glibc gives each of gRPC's threads a heap of its own, and each keeps what it once
    needed: five floods of 3,000 handshakes took 450 MB instead of 260.  No effect elsewhere.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _HEAPS)


def current() -> Handle:
    """This process."""
    return Handle(os.getpid(), _started(os.getpid()) or 0)


def handle(pid: int) -> Handle | None:
    """The process that has this number now; None: none has."""
    started = _started(pid)
    return None if started is None else Handle(pid, started)


def is_running(pid: int) -> bool:
    """Whether there is a process of this number, whoever's it is."""
    return pid > 0 and _started(pid) is not None


def _started(pid: int) -> int | None:
    """When a process began; None: it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(") ")[2].split()
    return None if fields[_STATE] in "ZX" else int(fields[_STARTED])
