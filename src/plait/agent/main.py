"""One Envoy in the foreground: what ``plait proxy`` runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from plait.agent.admin import Admin
from plait.agent.beside import Beside
from plait.agent.binary import envoy_binary
from plait.agent.life import Action, Event, Life, Phase, step
from plait.agent.renewal import Claim
from plait.base import place as places
from plait.base.clock import Clock, WallClock
from plait.base.processes import Command
from plait.xds import bootstrap

_TICK = 0.05  # seconds between two looks at Envoy
_BASE_IDS = 100_000_000
_TAIL = 2000  # characters of Envoy's log that are shown when it fails


class Options(Struct, frozen=True, kw_only=True):
    """What one Envoy is and where it runs.

    Attributes:
        settings: of its bootstrap; an empty admin address: a socket in the private directory.
        concurrency: worker threads; 0: one for each core.
        base_id: keeps the shared memory of Envoys on one machine apart; None: one that goes with
            the proxy's id.
        drain_duration: seconds that connections of a removed listener, or of an Envoy that is
            replaced, are given.
        termination_drain_duration: seconds that open connections are given at the end.
        log_file: of Envoy's own words; None: a file in the private directory.
        claim: whose identity it has; None: it has none.
        kept: file that keeps the identity for the next start; None: it is not kept.
    """

    settings: bootstrap.Settings
    concurrency: int = 0
    base_id: int | None = None
    drain_duration: float = 45.0
    termination_drain_duration: float = 5.0
    log_level: str = "warning"
    log_file: Path | None = None
    claim: Claim | None = None
    kept: Path | None = None


def run(options: Options, say: Callable[[str], None]) -> int:
    """Run Envoy until SIGTERM or SIGINT, again if it crashes; returns the exit code.

    Args:
        options: what it is and where it runs.
        say: told in one line when it serves, crashes and ends.

    Raises:
        PlaitError: no Envoy is installed.
    """
    directory = Path(tempfile.mkdtemp(prefix="plait-proxy-"))  # mode 0700
    try:
        return asyncio.run(_Proxy(options, directory, say, WallClock()).run())
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        # Envoy leaves what it shares with a successor; there is none.
        places.shared_memory(_base_id(options)).unlink(missing_ok=True)


def _base_id(options: Options) -> int:
    """The same at each start: what a killed Envoy left is what its successor takes."""
    if options.base_id is not None:
        return options.base_id
    return zlib.crc32(options.settings.proxy.id.encode()) % _BASE_IDS


class _Proxy:
    """The shell around the state machine: performs its actions and tells it what happened."""

    def __init__(
        self, options: Options, directory: Path, say: Callable[[str], None], clock: Clock
    ) -> None:
        settings = options.settings
        if not settings.admin:
            settings = bootstrap.with_admin(settings, f"unix:{directory / 'admin.sock'}")
        self._beside: Beside | None = None
        if options.claim is not None:
            kept = options.kept or directory / "identity"
            self._beside = Beside(settings, options.claim, directory, kept, clock)
            settings = self._beside.settings
        self._config = directory / "envoy.json"
        self._config.write_text(json.dumps(bootstrap.bootstrap(settings)))
        self._log = options.log_file or directory / "envoy.log"
        self._first_words = directory / "envoy.err"  # before it has opened its log
        self._admin = Admin(settings.admin)
        self._options = options
        self._say = say
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._life = Life(drain=options.termination_drain_duration)
        self._stop_asked = 0

    async def run(self) -> int:
        with self._signals():
            if self._beside is None:
                await self._live()
            else:
                async with self._beside.running():
                    await self._live()
        return int(self._life.failed)

    async def _live(self) -> None:
        self._do(Action.START)
        try:
            while self._life.phase is not Phase.ENDED:
                for event in await self._events():
                    self._life, actions = step(self._life, event, self._clock.monotonic())
                    for action in actions:
                        await self._perform(action)
                await asyncio.sleep(_TICK)
        finally:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    async def _perform(self, action: Action) -> None:
        if action is Action.START:  # in this thread: the child's death signal follows the thread
            self._do(action)
        else:
            await asyncio.to_thread(self._do, action)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop)
        yield

    def _ask_to_stop(self) -> None:
        self._stop_asked += 1

    async def _events(self) -> list[Event]:
        """What happened since the last look, and that time went by."""
        found = [Event.STOP] * self._stop_asked
        self._stop_asked = 0
        phase = self._life.phase
        if phase is not Phase.WAITING and self._process and self._process.poll() is not None:
            found.append(Event.EXITED)
        elif phase is Phase.STARTING and await asyncio.to_thread(self._admin.is_live):
            found.append(Event.LIVE)
        elif phase is Phase.DRAINING and await asyncio.to_thread(self._admin.is_idle):
            found.append(Event.IDLE)
        return [*found, Event.TICK]

    def _do(self, action: Action) -> None:
        match action:
            case Action.START:
                self._process = self._started()
            case Action.ANNOUNCE:
                self._say(f"ready: listening on {', '.join(self._listening()) or 'nothing yet'}")
            case Action.REPORT:
                self._say(self._crashed())
            case Action.DRAIN:
                with contextlib.suppress(OSError):
                    self._admin.drain()
            case Action.TERMINATE:
                self._signal(signal.SIGTERM)
            case Action.KILL:
                self._signal(signal.SIGKILL)

    def _started(self) -> subprocess.Popen[bytes]:
        options = self._options
        workers = ("--concurrency", str(options.concurrency)) if options.concurrency else ()
        # No --disable-hot-restart: a later Envoy may take over from this one.
        command = (
            *("envoy", "-c", str(self._config), "--base-id", str(_base_id(options))),
            *("--log-path", str(self._log), "-l", options.log_level),
            *("--drain-time-s", str(round(options.drain_duration)), *workers),
        )
        # By a program of its own: code between fork and exec is none for who has threads.
        launched = Command(
            command=command,
            executable=str(envoy_binary()),
            directory=os.getcwd(),
            is_bound=True,
        )
        quiet = subprocess.DEVNULL
        with launched.launcher() as (launcher, request), self._first_words.open("wb") as words:
            return subprocess.Popen(  # noqa: S603 - our own binary and flags
                launcher, stdin=quiet, stdout=quiet, stderr=words, pass_fds=(request,)
            )

    def _listening(self) -> tuple[str, ...]:
        try:
            return self._admin.listening()
        except (OSError, ValueError, KeyError):
            return ()

    def _crashed(self) -> str:
        code = self._process.returncode if self._process else 0
        life = self._life
        if life.phase is Phase.ENDED:
            found = (one for one in (self._first_words, self._log) if one.exists())
            words = "".join(one.read_text(errors="replace")[-_TAIL:] for one in found)
            return f"error: Envoy did not start (exit code {code}):\n{words.strip()}"
        delay = (life.until or 0.0) - life.since
        return f"Envoy ended by itself (exit code {code}); starting it again in {delay:.1f} s"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)
