"""The agent: all proxies of a machine, as the notes of the platform want them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import structlog

from plait.agent import envoy
from plait.agent.edge import Edge
from plait.agent.keeper import Keeper, Plane
from plait.base import place as places
from plait.base import processes
from plait.base.crowd import allow_files
from plait.base.errors import PlaitError
from plait.base.place import Place, ProxySpec, ProxyState
from plait.base.tasks import supervise

LOOK = 0.1
"""Seconds between two looks at what is wanted."""

_PAUSE = 1.0  # seconds before a keeper that failed is tried again
_ROTATE = 100  # looks between two looks at the logs
_RESOLVERS = Path("/etc/resolv.conf")
_log = structlog.get_logger(__name__)


class AgentRunsError(PlaitError):
    """Another agent is in charge."""


async def run(place: Place, plane: Plane) -> None:
    """Run the agent until SIGTERM or SIGINT; its proxies run on.

    Raises:
        AgentRunsError: another agent is in charge here.
    """
    with _in_charge(place):
        allow_files()
        if not plane.trusts:
            _log.info("no identities", address=plane.address)
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        async with asyncio.TaskGroup() as group:
            fleet = group.create_task(Fleet(place, plane, resolvers()).run(), name="fleet")
            edge = group.create_task(
                supervise(lambda health: Edge(place).run(health.up), name="edge"), name="edge"
            )
            await stopping.wait()
            fleet.cancel()
            edge.cancel()


class Fleet:
    """A keeper for each note."""

    def __init__(self, place: Place, plane: Plane, upstream: Sequence[str]) -> None:
        self._place = place
        self._plane = plane
        self._upstream = upstream
        self._keepers: dict[str, Keeper] = {}
        self._retired: set[str] = set()
        self._specs: dict[Path, tuple[tuple[int, int], ProxySpec]] = {}
        self._clearing: set[str] = set()
        self._failures: dict[str, str] = {}
        self._weaknesses: set[str] = set()

    async def run(self) -> None:
        """Follow the notes until cancelled."""
        looks = 0
        async with asyncio.TaskGroup() as group:
            for directory in await asyncio.to_thread(self._left_over):
                self._begin_to_clear(directory, group)
            while True:
                self._follow(await asyncio.to_thread(self._wanted), group)
                looks += 1
                if looks % _ROTATE == 0:
                    await asyncio.to_thread(self._rotate)
                await asyncio.sleep(LOOK)

    def _follow(self, wanted: Mapping[str, ProxySpec], group: asyncio.TaskGroup) -> None:
        for name, spec in wanted.items():
            if name not in self._keepers and name not in self._clearing:
                keeper = Keeper(spec, self._place, self._plane, self._upstream)
                self._keepers[name] = keeper
                self._tell_weakness(keeper.weakness)
                group.create_task(self._keep(name, keeper), name=f"keeper:{name}")
        for name in self._keepers.keys() - self._retired:
            # another proxy of the same name begins when the one before has ended
            if wanted.get(name) != self._keepers[name].spec:
                self._retired.add(name)
                self._keepers[name].retire()
        for name in self._failures.keys() - wanted.keys() - self._keepers.keys():
            del self._failures[name]  # nobody tries it again, so nobody retires it
            self._begin_to_clear(self._place.proxy(name), group)

    def _begin_to_clear(self, directory: Path, group: asyncio.TaskGroup) -> None:
        self._clearing.add(directory.name)
        group.create_task(self._clear(directory), name=f"clear:{directory.name}")

    async def _keep(self, name: str, keeper: Keeper) -> None:
        """Run a keeper; one that fails is tried again by the next look."""
        try:
            await keeper.run()
            self._failures.pop(name, None)
            _log.info("proxy gone", proxy=name)
        except Exception as error:  # noqa: BLE001 - one proxy's trouble is no other's
            self._tell_failure(name, error)
            await asyncio.sleep(_PAUSE)
        finally:
            del self._keepers[name]
            self._retired.discard(name)

    def _tell_failure(self, name: str, error: Exception) -> None:
        """Once for each text; with a traceback if it is no trouble of the machine."""
        text = str(error) if isinstance(error, PlaitError) else repr(error)
        state = ProxyState(id=name, message=text)
        with contextlib.suppress(OSError):
            places.write(self._place.state(name), state)
        if self._failures.get(name) != text:
            self._failures[name] = text
            bug = None if isinstance(error, PlaitError | OSError) else error
            _log.error("proxy lost", proxy=name, error=text, exc_info=bug)

    def _tell_weakness(self, words: str) -> None:
        """Say once what cannot be promised here."""
        if words and words not in self._weaknesses:
            self._weaknesses.add(words)
            _log.warning("identities less safe", error=words, path=str(self._place.run))

    def _wanted(self) -> dict[str, ProxySpec]:
        """What the notes say; one that cannot be read says what it said before."""
        found = {}
        for path in sorted(self._place.specs.glob("*.json")):
            with contextlib.suppress(FileNotFoundError):
                about = path.stat()
                version = (about.st_ino, about.st_mtime_ns)
                known, spec = self._specs.get(path, (None, None))
                if known != version:
                    spec = places.read(path, ProxySpec) or spec
                if spec and spec.id == path.stem and places.is_identifier(spec.id):
                    self._specs[path] = (version, spec)
                    found[spec.id] = spec
        self._specs = {path: one for path, one in self._specs.items() if path.stem in found}
        return found

    def _left_over(self) -> list[Path]:
        """Directories of proxies that ceased to be wanted while there was no agent."""
        directories = (self._place.run / "proxy").glob("*")
        known = {places.EDGE, *self._wanted()}
        return [one for one in directories if one.name not in known]

    async def _clear(self, directory: Path) -> None:
        try:
            await envoy.clear(directory)
            _log.info("proxy cleared", proxy=directory.name)
        except OSError as error:
            _log.warning("proxy not cleared", proxy=directory.name, error=str(error))
        finally:
            self._clearing.discard(directory.name)

    def _rotate(self) -> None:
        for keeper in tuple(self._keepers.values()):
            envoy.rotate(keeper.log)


def resolvers() -> tuple[str, ...]:
    """The machine's own name servers."""
    try:
        lines = _RESOLVERS.read_text().splitlines()
    except OSError:
        return ()
    words = (line.split() for line in lines)
    return tuple(one[1] for one in words if len(one) > 1 and one[0] == "nameserver")


@contextlib.contextmanager
def _in_charge(place: Place) -> Iterator[None]:
    """Hold the lock of the run directory, and say who does."""
    place.specs.mkdir(parents=True, exist_ok=True)
    with (place.run / "agent.lock").open("a") as lock:
        _take(lock, place)
        places.write(place.agent, processes.current())
        try:
            yield
        finally:
            place.agent.unlink(missing_ok=True)


def _take(lock: IO[str], place: Place) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle = places.read(place.agent, processes.Handle)
        who = f"process {handle.pid}" if handle else "another process"
        raise AgentRunsError(
            f"an agent is in charge of {place.run} already: {who}. End it first (proxies run on)"
        ) from error
