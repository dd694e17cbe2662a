"""The local platform: Pods as processes in network namespaces of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from plait.base.clock import Clock, WallClock
from plait.base.place import Place
from plait.base.processes import Command
from plait.base.tasks import supervise
from plait.config import injection
from plait.config.kinds.container import Container
from plait.config.kinds.pod import Pod, PodStatus
from plait.config.meta import Key, Object
from plait.config.ports import PodFiles, PodState
from plait.platforms.local import logs, members, network, surroundings
from plait.platforms.local.images import ImageMap
from plait.platforms.local.journal import Journal, Journals
from plait.platforms.local.network import Network
from plait.platforms.local.pod import LocalPod, World

_log = structlog.get_logger(__name__)


class Platform:
    """A `Runtime` on this machine, as a context: Pods outlive it, and the next one finds them.

    Pods that nobody wants any more are among the first that `observe` yields: stop them.
    """

    def __init__(
        self, place: Place, images: Path, environment: Mapping[str, str], clock: Clock | None = None
    ) -> None:
        self._world = World(
            place=place,
            network=Network(place.run),
            images=ImageMap(images),
            journals=Journals(place),
            environment=environment,
            clock=clock or WallClock(),
        )
        self._pods: dict[Key, LocalPod] = {}
        self._last_number = 0
        self._observers: set[_Observer] = set()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        """Go on with all Pods that there are.

        Raises:
            PlatformError: this machine cannot have Pods; it says what is missing.
        """
        place = self._world.place
        for path in (place.run, place.run / "pods", place.specs):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o711)
        journals = await asyncio.to_thread(self._tidy)
        await self._group.__aenter__()
        for journal in journals:
            self._begin(journal)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the Pods; they run on."""
        self._group.create_task(_cancel(), name="end")
        try:
            await self._group.__aexit__(None, None, None)
        except* _EndError:
            pass

    async def run(self, pod: Object[Pod], files: PodFiles) -> None:
        """See `Runtime`."""
        found = self._pods.get(pod.key)
        if found is None:
            self._begin(self._journal(pod, files))
        elif found.pod.uid == pod.uid:
            found.update(files)
        else:
            self._group.create_task(self._replace(found, pod, files), name=f"replace {pod.key}")

    async def stop(self, pod: Key, grace: float) -> None:
        """See `Runtime`."""
        if (found := self._pods.get(pod)) is not None:
            await found.stop(grace)

    async def observe(self) -> AsyncIterator[Sequence[PodState]]:
        """See `Runtime`."""
        observer = _Observer()
        self._observers.add(observer)
        try:
            known: dict[Key, PodState] = {}
            yield tuple(known.setdefault(key, self._state(key)) for key in self._pods)
            while True:
                await observer.wake.wait()
                changed, observer.changed = observer.changed, set()
                observer.wake.clear()
                found = [self._state(key) for key in sorted(changed) if key in self._pods]
                news = [state for state in found if known.get(state.key) != state]
                known.update({state.key: state for state in news})
                if news:
                    yield news
        finally:
            self._observers.discard(observer)

    def status(self, pod: Key) -> PodStatus | None:
        """See `Runtime`."""
        return self._pods[pod].status if pod in self._pods else None

    def logs(
        self, pod: Key, container: str, *, follow: bool, previous: bool, tail: int | None
    ) -> AsyncIterator[bytes]:
        """See `Runtime`; the proxy's log is that of container ``istio-proxy``."""
        found = self._found(pod)
        if container == injection.PROXY and self._world.place.spec(found.directory.name).exists():
            log = self._world.place.proxy(found.directory.name) / "envoy.log"
        else:
            log = logs.path(found.directory, _container(found, container).name, previous=previous)
        goes_on = follow and not previous
        return logs.read(log, tail=tail, is_over=lambda: not goes_on or found.has_ended(container))

    def entry(self, pod: Key, container: str, command: Sequence[str]) -> Command:
        """See `Runtime`."""
        found = self._found(pod)
        return found.entry(_container(found, container), command)

    def _tidy(self) -> list[Journal]:
        """What is there; what belongs to no Pod is taken away."""
        world = self._world
        world.network.prepare()
        journals = world.journals.read_all()
        numbers = {journal.number for journal in journals}
        for number in set(world.network.numbers()) - numbers:
            members.kill_all(world.network.path(number))
            world.network.remove(number)
        ids = {surroundings.identifier(journal.pod.key) for journal in journals}
        for spec in world.place.specs.glob("*.json"):
            if spec.stem not in ids:
                spec.unlink(missing_ok=True)
        self._last_number = max(numbers, default=0)
        return journals

    def _journal(self, pod: Object[Pod], files: PodFiles) -> Journal:
        """A new Pod's, with a number that no other has."""
        taken = {one.journal.number for one in self._pods.values()}
        number = network.free_number(taken, self._last_number)
        self._last_number = number
        journal = Journal(pod=pod, files=files, number=number, created=self._world.clock.now())
        self._world.journals.directory(pod.key).mkdir(parents=True, exist_ok=True, mode=0o711)
        self._world.journals.write(journal)
        return journal

    def _begin(self, journal: Journal) -> None:
        key = journal.pod.key
        pod = LocalPod(journal, self._world, lambda: self._changed(key))
        self._pods[key] = pod
        self._group.create_task(self._keep(pod), name=f"pod {key}")
        self._changed(key)

    async def _keep(self, pod: LocalPod) -> None:
        await supervise(lambda _: pod.live(), name=f"pod {pod.pod.key.path}")
        if self._pods.get(pod.pod.key) is pod:
            del self._pods[pod.pod.key]

    async def _replace(self, old: LocalPod, pod: Object[Pod], files: PodFiles) -> None:
        """A Pod of the same name takes the place of one that nobody stopped."""
        await old.stop(0)
        self._begin(self._journal(pod, files))

    def _state(self, key: Key) -> PodState:
        return PodState(key=key, status=self._pods[key].status)

    def _changed(self, key: Key) -> None:
        for observer in self._observers:
            observer.changed.add(key)
            observer.wake.set()

    def _found(self, key: Key) -> LocalPod:
        if key not in self._pods:
            raise LookupError(f"{key} does not run here")
        return self._pods[key]


class _Observer:
    """Somebody who is told what changed since they looked."""

    def __init__(self) -> None:
        self.changed: set[Key] = set()
        self.wake = asyncio.Event()


class _EndError(Exception):
    """Ends a task group."""


async def _cancel() -> None:
    raise _EndError


def _container(pod: LocalPod, name: str) -> Container:
    spec = pod.pod.spec.spec
    every = (*spec.containers, *spec.init_containers)
    found = next((one for one in every if one.name == name), None)
    if found is None:
        names = ", ".join(one.name for one in every)
        raise LookupError(f'{pod.pod.key} has no container "{name}"; it has: {names}')
    return found
