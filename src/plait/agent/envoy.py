"""One Envoy that outlives its keeper: started, found again by its journal, restarted, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace

from plait.agent.admin import Admin
from plait.agent.binary import envoy_binary
from plait.agent.life import LAST_WAIT, Action, Event, Life, Phase, step
from plait.base import place as places
from plait.base import processes
from plait.base.clock import Clock
from plait.base.processes import Command, Handle, Process

CONFIG, JOURNAL = "envoy.json", "journal.json"
"""Names of files in its directory: the bootstrap, and what the next keeper must know."""
TICK = 0.05
"""Seconds between two looks at an Envoy that starts or ends."""
DRAIN, SHUTDOWN = 45, 60
"""Seconds that connections of an Envoy that is replaced are given, and that it may live."""

_FILES = 1_048_576  # file descriptors at most
_TAIL = 500  # characters of Envoy's last words
_FIRST_DELAY = 0.1  # seconds before it is started again: its requests wait, or fail
_LONGEST = 32 * 1024 * 1024  # bytes of a log, and of the one before it
_log = structlog.get_logger(__name__)


class Settings(Struct, frozen=True, kw_only=True):
    """What one Envoy is.

    Attributes:
        directory: holds its bootstrap ``envoy.json``, log and journal.
        network: path of its network namespace; empty: ours.
        admin: where its own pages are.
        uid: its user and group; None: ours.
        drain: seconds that open connections are given at the end.
    """

    name: str
    directory: Path
    admin: str
    network: str = ""
    uid: int | None = None
    concurrency: int = 1
    drain: float = 5.0
    log_level: str = "warning"


class Journal(Struct, frozen=True, kw_only=True):
    """What the next keeper must know, and who takes everything away.

    Attributes:
        handle: None: it is about to be started.
        quit: somebody asked for its end; it is not started again.
    """

    handle: Handle | None = None
    base_id: int
    restarts: int = 0
    quit: bool = False


class Status(Struct, frozen=True, kw_only=True):
    """How it does; `since` is in seconds since the epoch."""

    pid: int = 0
    ready: bool = False
    restarts: int = 0
    since: float = 0.0
    message: str = ""


class Envoy:
    """The shell around `life.step`: performs its actions and tells it what happened."""

    def __init__(self, settings: Settings, changed: Callable[[Status], None], clock: Clock) -> None:
        self.admin = Admin(settings.admin)
        self.status = Status()
        self._settings = settings
        self._changed = changed
        self._clock = clock
        self._life = Life(drain=settings.drain, patient=True, delay=_FIRST_DELAY)
        self._process: Process | None = None
        self._group: asyncio.TaskGroup | None = None
        self._news = asyncio.Event()
        self._exited = False
        self._asked: list[Event] = []
        self._journal = Journal(base_id=0)
        self._last_words = ""

    @property
    def log(self) -> Path:
        """Its words, and its access log where that goes to standard output."""
        return self._settings.directory / "envoy.log"

    @property
    def handle(self) -> Handle | None:
        """The process; None: there was none yet."""
        return self._process.handle if self._process else None

    def stop(self) -> None:
        """Ask for the end: open connections are finished; a second time: at once."""
        self._ask(Event.STOP)

    def quit(self) -> None:
        """Ask for the end at once, for good: the next keeper does not start it either."""
        self._write(quit=True)
        self._ask(Event.QUIT)

    def _ask(self, event: Event) -> None:
        self._asked.append(event)
        self._news.set()

    async def run(self) -> None:
        """Keep it running until it was asked to end; if cancelled it runs on without us."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            if not self._adopt():
                await self._begin()
            while self._life.phase is not Phase.ENDED:
                event = await self._next()
                self._life, actions = step(self._life, event, self._clock.monotonic())
                for action in actions:
                    await self._perform(action)
                self._tell()
        places.shared_memory(self._journal.base_id).unlink(missing_ok=True)

    async def _begin(self) -> None:
        if self._journal.quit:
            self._life = replace(self._life, phase=Phase.ENDED)
            self._tell()
        else:
            await self._perform(Action.START)

    def _adopt(self) -> bool:
        """Go on with the Envoy that another keeper started; False: it does not run."""
        self._journal = _journal(self._settings.directory) or Journal(base_id=_free_base_id())
        process = running(self._settings.directory)
        if process is None:
            return False
        _log.info("envoy found", proxy=self._settings.name, pid=process.pid)
        self._write(handle=process.handle)
        self._watch(process)
        return True

    def _write(self, **changes: Any) -> None:
        self._journal = replace(self._journal, **changes)
        places.write(self._settings.directory / JOURNAL, self._journal)

    async def _next(self) -> Event:
        """What happens next, or that time went by."""
        if self._exited:
            self._exited = False
            return Event.EXITED
        if self._asked:
            return self._asked.pop(0)
        phase = self._life.phase
        if phase is Phase.STARTING and await asyncio.to_thread(self.admin.is_live):
            return Event.LIVE
        if phase is Phase.DRAINING and await asyncio.to_thread(self.admin.is_idle):
            return Event.IDLE
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if phase is Phase.READY else TICK):
                await self._news.wait()
        self._news.clear()
        return Event.TICK

    async def _perform(self, action: Action) -> None:
        match action:
            case Action.START:
                self._watch(await asyncio.to_thread(self._started))
            case Action.ANNOUNCE:
                self._last_words = ""
                _log.info("envoy ready", proxy=self._settings.name, pid=self.status.pid)
            case Action.REPORT:
                self._last_words = await asyncio.to_thread(last_words, self.log)
                self._write(restarts=self._journal.restarts + 1)
                _log.warning("envoy ended", proxy=self._settings.name, path=str(self.log))
            case Action.DRAIN:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(self.admin.drain)
            case Action.TERMINATE | Action.KILL:
                number = signal.SIGTERM if action is Action.TERMINATE else signal.SIGKILL
                if self._process is not None:
                    self._process.send(number)

    def _started(self) -> Process:
        settings = self._settings
        binary = str(envoy_binary())
        # No --disable-hot-restart: a later Envoy may take over from this one.
        command = (
            *("envoy", "-c", str(settings.directory / CONFIG)),
            *("--base-id", str(self._journal.base_id), "--restart-epoch", "0"),
            *("--drain-time-s", str(DRAIN), "--parent-shutdown-time-s", str(SHUTDOWN)),
            *("--drain-strategy", "immediate", "--local-address-ip-version", "v4"),
            *("--file-flush-interval-msec", "1000", "--allow-unknown-static-fields"),
            *("--concurrency", str(settings.concurrency), "-l", settings.log_level),
        )
        self._prepare()
        self._write(handle=None)  # with its base id, before anything has that
        process = processes.start(
            Command(
                command=command,
                executable=binary,
                network=settings.network,
                uid=settings.uid,
                gid=settings.uid,
                open_files=_FILES,
                is_orphan=True,  # Envoy that can hot-restart ends with its parent
            ),
            self.log,
        )
        self._write(handle=process.handle)
        return process

    def _prepare(self) -> None:
        """Envoy opens its log anew, as its own user, where access logs go to standard output."""
        rotate(self.log)
        self.log.touch(0o640)
        if self._settings.uid is not None:
            os.chown(self.log, self._settings.uid, self._settings.uid)

    def _watch(self, process: Process) -> None:
        self._process, self._exited = process, False
        if self._group is not None:
            self._group.create_task(self._await_end(process), name="envoy:end")

    async def _await_end(self, process: Process) -> None:
        await process.wait()
        if self._process is process:
            self._exited = True
            self._news.set()

    def _tell(self) -> None:
        """Say how it does, if that is another than before."""
        phase = self._life.phase
        is_running = self._process is not None and phase not in (Phase.WAITING, Phase.ENDED)
        status = Status(
            pid=self._process.pid if is_running and self._process else 0,
            ready=phase is Phase.READY,
            restarts=self._journal.restarts,
            since=self.status.since,
            message=self._words(phase),
        )
        if status != self.status:
            self.status = replace(status, since=self._clock.now())
            self._changed(self.status)

    def _words(self, phase: Phase) -> str:
        match phase:
            case Phase.READY:
                return ""
            case Phase.STARTING | Phase.WAITING if self._last_words:
                return f"Envoy ended and is started again; it said: {self._last_words}"
            case Phase.STARTING | Phase.WAITING:
                return "Envoy waits for its configuration"
            case _ if self._journal.quit:
                return "Envoy was asked to end by /quitquitquit"
            case _:
                return "Envoy is ending"


def running(directory: Path) -> Process | None:
    """The Envoy of a directory, whoever started it; None: it does not run."""
    journal = _journal(directory)
    if journal is None:
        return None
    if journal.handle is not None:
        return processes.adopt(journal.handle)
    # who started it was killed before it could write down what it started
    return processes.find("-c", str(directory / CONFIG))


async def clear(directory: Path) -> None:
    """End the Envoy of a directory that nobody wants any more, and take away all of it."""
    process, journal = running(directory), _journal(directory)
    if process is not None:
        process.send(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WAIT):
                await process.wait()
        process.send(signal.SIGKILL)
        await process.wait()
    if journal is not None:
        places.shared_memory(journal.base_id).unlink(missing_ok=True)
    await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


def last_words(log: Path) -> str:
    """The end of a log in one line; complaints alone if there are any."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16 * _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    told = [line for line in lines if "[critical]" in line or "[error]" in line]
    return " ".join((told or lines)[-3:])[-_TAIL:].strip()


def rotate(log: Path) -> None:
    """Keep a log that is being written short: what is in it goes to the one before it."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > _LONGEST:
            log.with_name("envoy.previous.log").write_bytes(log.read_bytes())
            os.truncate(log, 0)


def _journal(directory: Path) -> Journal | None:
    return places.read(directory / JOURNAL, Journal)


def _free_base_id() -> int:
    """A number under which no Envoy of this machine shares memory."""
    while places.shared_memory(number := 1000 + secrets.randbelow(100_000_000)).exists():
        pass
    return number
