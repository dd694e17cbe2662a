"""Keeps one container: performs what its life says, and tells its life what happens."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from plait.base import processes
from plait.base.clock import Clock
from plait.base.processes import Command, Process
from plait.config.kinds.container import Container, LifecycleHandler
from plait.config.kinds.container import Probe as ProbeSpec
from plait.platforms.local import logs, members, probes
from plait.platforms.local.containers import (
    BACK_OFF,
    Action,
    Blocked,
    Event,
    Exit,
    Exited,
    Failed,
    Life,
    Passed,
    Phase,
    Probe,
    Rules,
    Stop,
    Tick,
    step,
)
from plait.platforms.local.journal import Run

_CANNOT_START = 128
_LOST = Exit(code=137, reason="ContainerStatusUnknown", message="it ended while nobody watched it")
_log = structlog.get_logger(__name__)


class BlockedError(Exception):
    """A container cannot be started now."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Home(Protocol):
    """The Pod, as its containers' keepers see it."""

    directory: Path
    network: str
    address: str

    def command(self, container: Container) -> Command:
        """How to start it.

        Raises:
            BlockedError: it cannot be started now.
        """
        ...

    def entry(self, container: Container, command: Sequence[str]) -> Command:
        """How to start something else beside it."""
        ...


class Keeper:
    """One container of one Pod; `on_change` is called at each change of its `run`."""

    def __init__(
        self, container: Container, rules: Rules, run: Run, *, home: Home, clock: Clock
    ) -> None:
        self.container = container
        self.run = run
        self.on_change: Callable[[], None] = lambda: None
        self.changed = asyncio.Event()
        self._rules = rules
        self._home = home
        self._clock = clock
        self._events: asyncio.Queue[Event] = asyncio.Queue(64)
        self._process: Process | None = None

    @property
    def life(self) -> Life:
        """Where in its life the container is."""
        return self.run.life

    async def keep(self) -> None:
        """Run the container, again after it ended, until it is not to be started again."""
        async with asyncio.TaskGroup() as group:
            await self._adopt(group)
            while self.life.phase is not Phase.ENDED:
                life, actions = step(self.life, self._rules, await self._next(), self._clock.now())
                self._move(life)
                for action in actions:
                    await self._perform(action, group)

    async def reached(self, is_there: Callable[[Life], bool]) -> None:
        """Wait until the life is as wanted, or over."""
        while not (is_there(self.life) or self.life.phase is Phase.ENDED):
            self.changed.clear()
            await self.changed.wait()

    async def stop(self, grace: float) -> None:
        """Ask for the end; does not wait for it."""
        await self._events.put(Stop(grace))

    async def _adopt(self, group: asyncio.TaskGroup) -> None:
        """Go on with the process that the journal names."""
        handle = self.run.handle
        process = processes.adopt(handle) if handle else None
        if process is not None:
            self._process = process
            group.create_task(self._attend(process, is_new=False), name="attend")
        elif self.life.phase in (Phase.RUNNING, Phase.STOPPING):
            await self._close(_LOST)

    async def _next(self) -> Event:
        until = self.life.until
        if self._events.empty() and until is not None and until <= self._clock.now():
            return Tick()
        wait = None if until is None else max(0.0, until - self._clock.now())
        try:
            async with asyncio.timeout(wait):
                return await self._events.get()
        except TimeoutError:
            return Tick()

    def _move(self, life: Life) -> None:
        if life == self.life:
            return
        if life.reason == BACK_OFF != self.life.reason:
            _log.warning("container fails", task=self._name, error=life.message)
        handle = self._process.handle if self._process else None
        self.run = Run(life=life, handle=handle)
        self.changed.set()
        self.on_change()

    async def _perform(self, action: Action, group: asyncio.TaskGroup) -> None:
        match action:
            case Action.START:
                await self._start(group)
            case Action.TERMINATE if self._process is not None:
                group.create_task(self._terminate(self._process), name="terminate")
            case Action.KILL if self._process is not None:
                self._process.send_all(signal.SIGKILL)
            case Action.TERMINATE | Action.KILL:
                pass

    async def _start(self, group: asyncio.TaskGroup) -> None:
        try:
            command = self._home.command(self.container)
        except BlockedError as error:
            await self._events.put(Blocked(reason=error.reason, message=str(error)))
            return
        try:
            process = await asyncio.to_thread(self._started, command)
        except OSError as error:
            failed = Exit(code=_CANNOT_START, reason="StartError", message=str(error))
            await self._events.put(Exited(self._ended(failed)))
            return
        self._process = process
        self.run = Run(life=self.life, handle=process.handle)
        self.on_change()
        group.create_task(self._attend(process, is_new=True), name="attend")

    def _started(self, command: Command) -> Process:
        logs.turn(self._home.directory, self.container.name)
        return processes.start(command, self._log_path)

    async def _attend(self, process: Process, *, is_new: bool) -> None:
        """Ask a process how it does until it ends."""
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self._ask(is_new=is_new), name="probes")
            code = await process.wait()
            asking.cancel()
        await self._close(_exit(code))

    async def _close(self, exit: Exit) -> None:
        """Tell the end of a run when nobody is left of it, as containers have it elsewhere."""
        await asyncio.to_thread(members.kill_container, self._home.network, self.container.name)
        self._process = None
        await self._events.put(Exited(self._ended(exit)))

    def _ended(self, exit: Exit) -> Exit:
        said = logs.last_line(self._log_path) if exit.code else ""
        return Exit(
            code=exit.code,
            signal=exit.signal,
            reason=exit.reason or ("Error" if exit.code else "Completed"),
            message=exit.message or said,
            started=self.life.begun,
            finished=self._clock.now(),
        )

    async def _ask(self, *, is_new: bool) -> None:
        one = self.container
        if is_new and one.lifecycle and one.lifecycle.post_start:
            await self._hook(one.lifecycle.post_start, self._rules.grace)
        if one.startup_probe and not self.life.started:
            await self._watch(one.startup_probe, Probe.STARTUP)
            await self.reached(lambda life: life.started)
        async with asyncio.TaskGroup() as group:
            if one.readiness_probe:
                group.create_task(self._watch(one.readiness_probe, Probe.READINESS))
            if one.liveness_probe:
                group.create_task(self._watch(one.liveness_probe, Probe.LIVENESS))

    async def _watch(self, spec: ProbeSpec, probe: Probe) -> None:
        """Tell each new verdict of a probe; a startup probe has one."""
        pace, known = probes.pace(spec), ""
        target = self._target()
        asked = probes.verdicts(pace, lambda: probes.ask(spec, target, pace.timeout))
        async with contextlib.aclosing(asked) as found:
            async for has_passed, answer in found:
                said = "passed" if has_passed else f"{probe.value} probe failed: {answer}"
                if said != known:
                    known = said
                    await self._events.put(Passed(probe) if has_passed else Failed(probe, said))
                if probe is Probe.STARTUP:
                    return

    async def _terminate(self, process: Process) -> None:
        lifecycle = self.container.lifecycle
        if lifecycle and lifecycle.pre_stop:
            left = (self.life.until or 0.0) - self._clock.now()
            await self._hook(lifecycle.pre_stop, max(0.0, left))
        name = lifecycle.stop_signal if lifecycle else ""
        process.send_all(signal.Signals.__members__.get(name, signal.SIGTERM))

    async def _hook(self, handler: LifecycleHandler, seconds: float) -> None:
        if answer := await probes.ask(handler, self._target(), seconds):
            _log.warning("hook failed", task=self._name, error=answer)

    def _target(self) -> probes.Target:
        return probes.Target(
            network=self._home.network,
            address=self._home.address,
            ports={port.name: port.container_port for port in self.container.ports if port.name},
            entry=lambda command: self._home.entry(self.container, command),
        )

    @property
    def _name(self) -> str:
        return f"{self._home.directory.name}/{self.container.name}"

    @property
    def _log_path(self) -> Path:
        return logs.path(self._home.directory, self.container.name)


def _exit(code: int | None) -> Exit:
    if code is None:
        return _LOST
    return Exit(code=code) if code >= 0 else Exit(code=128 - code, signal=-code)
