"""One Pod on this machine: its network, its proxy, its containers, and their end, in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog
from msgspec import Struct
from msgspec.structs import replace

from plait.base import place as places
from plait.base import processes
from plait.base.clock import Clock
from plait.base.place import Place, ProxyState
from plait.base.processes import Command
from plait.base.tasks import DEFAULT_BACKOFF
from plait.config import injection
from plait.config.kinds.container import Container
from plait.config.kinds.pod import Pod, PodStatus
from plait.config.meta import Object
from plait.config.ports import PodFiles
from plait.platforms.local import logs, members, network, surroundings, volumes
from plait.platforms.local.containers import Phase, Policy, Rules
from plait.platforms.local.images import Image, ImageMap, ImageMapError, NotMappedError
from plait.platforms.local.journal import Journal, Journals, Run
from plait.platforms.local.keeper import BlockedError, Keeper
from plait.platforms.local.network import Network
from plait.platforms.local.status import Seen, init_policy, is_done, policy, status

LOOK = 0.1
"""Seconds between looks at how the proxy does."""
LEAVE = 0.5
"""Seconds between a Pod's last readiness and the end of its programs: others learn of it."""
_DRAIN_LOOKS = 150  # after which a proxy that does not end is ended
_LOG_LOOKS = 100  # looks at the proxy between looks at the size of logs
_CONFIG_ERROR = "CreateContainerConfigError"
_log = structlog.get_logger(__name__)


class World(Struct, frozen=True):
    """What all Pods of a mesh share.

    Attributes:
        environment: variables that every container has, unless it sets its own.
    """

    place: Place
    network: Network
    images: ImageMap
    journals: Journals
    environment: Mapping[str, str]
    clock: Clock


class LocalPod:
    """A Pod from its first moment, or from where somebody left it, to its end."""

    def __init__(self, journal: Journal, world: World, on_change: Callable[[], None]) -> None:
        self.journal = journal
        self.gone = asyncio.Event()
        self.address = network.address(journal.number)
        self.network = world.network.path(journal.number)
        self.directory = world.journals.directory(journal.pod.key)
        self._world = world
        self._on_change = on_change
        self._id = surroundings.identifier(journal.pod.key)
        self._spec = surroundings.proxy_spec(journal.pod, journal.number, self.network)
        self._proxy: ProxyState | None = ProxyState(id=self._id) if self._spec else None
        self._state_seen = 0
        self._why: tuple[str, str] = ("", "")
        self._grace: float | None = None
        self._ending = asyncio.Event()
        self._keepers: dict[str, Keeper] = {}

    @property
    def pod(self) -> Object[Pod]:
        """What it should be."""
        return self.journal.pod

    @property
    def status(self) -> PodStatus:
        """How it does, in Kubernetes' words."""
        seen = Seen(
            address=self.address if self.journal.is_networked else "",
            created=self.journal.created,
            runs=self.journal.runs,
            reason=self._why[0],
            message=self._why[1],
            proxy=self._proxy,
            is_gateway=self._is_gateway,
            is_ending=self._grace is not None,
        )
        return status(self.pod, seen)

    async def live(self) -> None:
        """Until the Pod has been asked to end and is gone; can be run again after a failure."""
        self._keepers = {}
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look(), name="look")
            living = group.create_task(self._live(), name="live")
            await self._ending.wait()
            self._on_change()
            await self._stop_containers()
            await living
            await self._leave()
            looking.cancel()
        _log.info("pod gone", task=self._id)
        self.gone.set()

    def update(self, files: PodFiles) -> None:
        """Take over what changed in other objects: files at once, variables with the next run."""
        if files != self.journal.files or self.journal.is_short:
            self._note(replace(self.journal, files=files, is_short=False))
            if self.journal.is_networked:
                self._write_files()

    async def stop(self, grace: float) -> None:
        """End the Pod; returns when it is gone.  A second time can only be sooner."""
        self._grace = grace if self._grace is None else min(grace, self._grace)
        if self._ending.is_set():
            for keeper in self._keepers.values():
                await keeper.stop(self._grace)
        self._ending.set()
        await self.gone.wait()

    def has_ended(self, container: str) -> bool:
        """Whether a container will say nothing any more."""
        run = self.journal.runs.get(container)
        return self.gone.is_set() or (run is not None and run.life.phase is Phase.ENDED)

    # what its containers need

    def command(self, container: Container) -> Command:
        """How to start a container.

        Raises:
            BlockedError: it cannot be started now.
        """
        if self.journal.is_short:
            raise BlockedError(_CONFIG_ERROR, "what its Secrets hold is not known yet")
        if self.journal.files.problems:
            raise BlockedError(_CONFIG_ERROR, "; ".join(self.journal.files.problems))
        try:
            image = self._world.images.require(container)
        except NotMappedError as error:
            raise BlockedError("ImageNotMapped", str(error)) from error
        except ImageMapError as error:
            raise BlockedError("ImageMapInvalid", str(error)) from error
        command = self._inside(container, image)
        if not Path(command.directory).is_dir():
            told = f'directory "{command.directory}" of container "{container.name}"'
            ways = f"make it, or change workingDir or {self._world.images.path}"
            raise BlockedError("CreateContainerError", f"{told} does not exist: {ways}")
        self._make_places(command)
        return command

    def entry(self, container: Container, command: Sequence[str]) -> Command:
        """How to start something else where a container runs."""
        image = self._world.images.last(container.image) or Image(directory="/")
        return replace(self._inside(container, image), command=tuple(command))

    def _inside(self, container: Container, image: Image) -> Command:
        files, name = self.journal.files, container.name
        resolved = {**files.env.get(name, {}), **files.hidden.env.get(name, {})}
        own = surroundings.environment(container, resolved, self.pod, self.address)
        mark = {members.MARK: container.name}
        variables = {**self._world.environment, **image.environment, **own, **mark}
        uid, gid = surroundings.user(self.pod.spec, container)
        return Command(
            command=surroundings.command(container, image, variables),
            environment=variables,
            directory=container.working_dir or image.directory,
            network=self.network,
            mounts=volumes.mounts(self.directory, self.pod, container),
            hostname=surroundings.hostname(self.pod),
            uid=uid,
            gid=gid,
        )

    def _make_places(self, command: Command) -> None:
        """Remembered first, so that they are taken away whatever happens."""
        journals = self._world.journals
        if missing := volumes.missing_places(command.mounts):
            journals.write_made(tuple(dict.fromkeys((*journals.made(), *missing))))
        try:
            volumes.make_places(command.mounts)
        except OSError as error:
            raise BlockedError("CreateContainerError", f"cannot mount: {error}") from error

    # its life

    async def _live(self) -> None:
        if not await self._settle() or self._is_gateway:
            return
        spec = self.pod.spec
        async with asyncio.TaskGroup() as group:
            for one in spec.spec.init_containers:
                keeper = self._keeper(one, init_policy(spec, one))
                group.create_task(keeper.keep(), name=one.name)
                await keeper.reached(lambda life, one=one: is_done(one, life))  # type: ignore[misc]
                if self._ending.is_set() or not is_done(one, keeper.life):
                    return
            for one in spec.spec.containers:
                group.create_task(self._keeper(one, policy(spec)).keep(), name=one.name)

    async def _settle(self) -> bool:
        """Give it a network and a proxy; False: it is to end before that."""
        if problems := surroundings.problems(self.pod):
            self._tell(_CONFIG_ERROR, "; ".join(problems))
            await self._ending.wait()
            return False
        failures = 0
        while not self._has_network():
            try:
                await self._make_network()
            except (OSError, network.NetworkError) as error:
                self._tell("FailedCreatePodSandBox", str(error))
                failures += 1
                if await self._ends_within(DEFAULT_BACKOFF.delay(failures, 0.0)):
                    return False
        return await self._await_proxy()

    def _has_network(self) -> bool:
        """Not after the machine was started anew, whatever the journal says."""
        return self.journal.is_networked and Path(self.network).exists()

    async def _make_network(self) -> None:
        self._tell("ContainerCreating", "")
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write_files()
        rules = surroundings.rules(self.pod)
        await asyncio.to_thread(self._world.network.add, self.journal.number, rules)
        self._note(replace(self.journal, is_networked=True))

    async def _await_proxy(self) -> bool:
        if self._spec is not None:
            path = self._world.place.spec(self._id)
            if places.read(path, type(self._spec)) != self._spec:
                path.parent.mkdir(parents=True, exist_ok=True)
                places.write(path, self._spec)
            has_begun = any(run.handle for run in self.journal.runs.values())
            while self._proxy and not self._proxy.ready and not has_begun:
                said = self._proxy.message or "it waits for its configuration"
                self._tell("ProxyStarting", f"the proxy is not ready yet: {said}")
                if await self._ends_within(LOOK):
                    return False
        self._tell("", "")
        return not self._ending.is_set()

    def _keeper(self, container: Container, restart: Policy) -> Keeper:
        grace = self.pod.spec.spec.termination_grace_period_seconds
        rules = Rules(
            policy=restart,
            has_startup=container.startup_probe is not None,
            has_readiness=container.readiness_probe is not None,
            grace=30.0 if grace is None else grace,
        )
        run = self.journal.runs.get(container.name, Run())
        keeper = Keeper(container, rules, run, home=self, clock=self._world.clock)
        keeper.on_change = lambda: self._ran(container.name, keeper.run)
        self._keepers[container.name] = keeper
        return keeper

    def _ran(self, container: str, run: Run) -> None:
        self._note(replace(self.journal, runs={**self.journal.runs, container: run}))
        self._on_change()

    async def _look(self) -> None:
        """Follow how the proxy does, and keep logs small."""
        looks = 0
        while True:
            looks += 1
            if self._spec is not None:
                self._look_at_proxy()
            if looks % _LOG_LOOKS == 0:
                for name in self._keepers:
                    logs.bound(self.directory, name)
            await asyncio.sleep(LOOK)

    def _look_at_proxy(self) -> None:
        path, seen = self._world.place.state(self._id), 0
        with contextlib.suppress(OSError):
            seen = path.stat().st_mtime_ns
        if seen != self._state_seen:
            self._state_seen = seen
            found = places.read(path, ProxyState) or ProxyState(id=self._id)
            # The agent may have been killed together with the Envoy that the note is about.
            is_stale = bool(found.pid) and not processes.is_running(found.pid)
            self._proxy = replace(found, ready=False) if is_stale else found
            self._on_change()

    # its end

    async def _stop_containers(self) -> None:
        grace = self._grace or 0.0
        lives = [keeper.life for keeper in self._keepers.values()]
        if any(life.phase is Phase.RUNNING for life in lives):
            await asyncio.sleep(min(LEAVE, grace))
        for keeper in self._keepers.values():
            await keeper.stop(self._grace or 0.0)

    async def _leave(self) -> None:
        """Take away what is outside of its containers; the proxy goes last, and finishes."""
        world = self._world
        with contextlib.suppress(FileNotFoundError):
            world.place.spec(self._id).unlink()
        if self._spec is not None and (self._grace or 0.0) > 0:
            for _ in range(_DRAIN_LOOKS):
                if await self._is_alone():
                    break
                await asyncio.sleep(LOOK)
        await asyncio.to_thread(members.kill_all, self.network)
        await asyncio.to_thread(world.network.remove, self.journal.number)
        world.journals.forget(self.pod.key)
        others = world.journals.read_all()
        used = [place for one in others for place in _places(world, one)]
        if made := world.journals.made():
            left = await asyncio.to_thread(volumes.take_places, made, used)
            world.journals.write_made(left)

    async def _is_alone(self) -> bool:
        """Whether its proxy has ended, or nobody is there who would end it."""
        agent = places.read(self._world.place.agent, processes.Handle)
        if agent is None or processes.adopt(agent) is None:
            return True
        return not await asyncio.to_thread(members.members, self.network)

    # small things

    async def _ends_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        return self._ending.is_set()

    def _write_files(self) -> None:
        files = self.journal.files
        content = {**files.volumes, **files.hidden.volumes}
        volumes.write(self.directory, self.pod, self.address, content)

    def _tell(self, reason: str, message: str) -> None:
        if (reason, message) != self._why:
            self._why = (reason, message)
            self._on_change()

    def _note(self, journal: Journal) -> None:
        self.journal = journal
        self._world.journals.write(journal)

    @property
    def _is_gateway(self) -> bool:
        return injection.proxy(self.pod) is injection.Proxy.GATEWAY


def _places(world: World, journal: Journal) -> list[str]:
    """Where a Pod's containers see mounts."""
    spec, directory = journal.pod.spec.spec, world.journals.directory(journal.pod.key)
    every = (*spec.init_containers, *spec.containers)
    found = (volumes.mounts(directory, journal.pod, one) for one in every)
    return [where for mounts in found for _, where in mounts]
