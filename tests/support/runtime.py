"""A runtime that runs nothing and says that it does; it passes the contract of the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from msgspec import structs

from plait.base.processes import Command
from plait.config.kinds.pod import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodCondition,
    PodIP,
    PodStatus,
)
from plait.config.meta import Key, Object
from plait.config.ports import PodFiles, PodState

HOST = "10.244.0.1"


class FakeRuntime:
    """Pods that are ready at once, unless `is_ready` says otherwise.

    Attributes:
        files: what each Pod was given last.
        stops: of which Pods, and with which grace.
        may_stop: stops with grace wait for it.
    """

    def __init__(self) -> None:
        self.is_ready: Callable[[Object[Pod]], bool] = lambda _: True
        self.files: dict[Key, PodFiles] = {}
        self.stops: list[tuple[Key, float]] = []
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self._pods: dict[Key, _Run] = {}
        self._observers: list[_Observer] = []
        self._number = 0

    @property
    def pods(self) -> dict[Key, Object[Pod]]:
        """What runs."""
        return {key: one.pod for key, one in self._pods.items()}

    async def run(self, pod: Object[Pod], files: PodFiles) -> None:
        self.files[pod.key] = files
        one = self._pods.get(pod.key)
        if one is None or one.pod.uid != pod.uid:
            if one is not None:
                one.gone.set()
            self._number += 1
            one = self._pods[pod.key] = _Run(pod, self._number)
            one.ready = self.is_ready(pod)
        one.pod, one.problems = pod, files.problems
        self._tell([pod.key])

    async def stop(self, pod: Key, grace: float) -> None:
        self.stops.append((pod, grace))
        one = self._pods.get(pod)
        if one is None:
            return
        if grace:
            async with asyncio.TaskGroup() as group:
                waits = [group.create_task(event.wait()) for event in (self.may_stop, one.gone)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for task in waits:
                    task.cancel()
        one.gone.set()
        if self._pods.get(pod) is one:
            del self._pods[pod]

    async def observe(self) -> AsyncIterator[Sequence[PodState]]:
        observer = _Observer()
        self._observers.append(observer)
        try:
            yield [PodState(key=key, status=one.status()) for key, one in self._pods.items()]
            while True:
                await observer.wake.wait()
                observer.wake.clear()
                changed, observer.changed = observer.changed, {}
                found = [key for key in changed if key in self._pods]
                yield [PodState(key=key, status=self._pods[key].status()) for key in found]
        finally:
            self._observers.remove(observer)

    def status(self, pod: Key) -> PodStatus | None:
        one = self._pods.get(pod)
        return one.status() if one else None

    def logs(
        self, pod: Key, container: str, *, follow: bool, previous: bool, tail: int | None
    ) -> AsyncIterator[bytes]:
        one = self._found(pod, container)
        if previous and not one.restarts:
            raise LookupError(f"{pod}: {container} had no run before this one")
        return one.lines(tail, follow=follow and not previous)

    def entry(self, pod: Key, container: str, command: Sequence[str]) -> Command:
        self._found(pod, container)
        return Command(command=tuple(command))

    # What happens to Pods

    def turn(self, pods: Iterable[Key], *, ready: bool) -> None:
        """Let Pods be ready, or not."""
        keys = list(pods)
        for key in keys:
            self._pods[key].ready = ready
        self._tell(keys)

    def crash(self, pod: Key) -> None:
        """Let the container of a Pod end and start again."""
        self._pods[pod].restarts += 1
        self._tell([pod])

    def say(self, pod: Key, text: str) -> None:
        """Let a Pod have said this."""
        self._pods[pod].said = text.encode()

    def _found(self, pod: Key, container: str) -> _Run:
        one = self._pods.get(pod)
        if one is None or container not in [c.name for c in one.pod.spec.spec.containers]:
            raise LookupError(f"{pod} has no container {container}")
        return one

    def _tell(self, keys: Iterable[Key]) -> None:
        for observer in self._observers:
            observer.changed.update(dict.fromkeys(keys))
            observer.wake.set()


class _Observer:
    def __init__(self) -> None:
        self.changed: dict[Key, None] = {}
        self.wake = asyncio.Event()


class _Run:
    def __init__(self, pod: Object[Pod], number: int) -> None:
        self.pod = pod
        self.number = number
        self.ready = True
        self.restarts = 0
        self.problems: tuple[str, ...] = ()
        self.said = b"hello\n"
        self.gone = asyncio.Event()

    async def lines(self, tail: int | None, *, follow: bool) -> AsyncIterator[bytes]:
        lines = self.said.splitlines(keepends=True)
        for line in lines if tail is None else lines[max(0, len(lines) - tail) :]:
            yield line
        if follow:
            await self.gone.wait()

    def status(self) -> PodStatus:
        address = f"10.244.{self.number // 250}.{self.number % 250 + 2}"
        ready = self.ready and not self.problems
        conditions = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready}
        return PodStatus(
            phase="Pending" if self.problems else "Running",
            pod_ip=address,
            pod_ips=(PodIP(ip=address),),
            host_ip=HOST,
            conditions=tuple(
                PodCondition(type=kind, status=str(holds))
                for kind, holds in {**conditions, "Ready": ready}.items()
            ),
            container_statuses=tuple(
                self._container(one.name, one.image, ready=ready)
                for one in self.pod.spec.spec.containers
            ),
        )

    def _container(self, name: str, image: str, *, ready: bool) -> ContainerStatus:
        found = ContainerStatus(
            name=name,
            image=image,
            ready=ready,
            started=not self.problems,
            restart_count=self.restarts,
            container_id=f"fake://{self.number}-{self.restarts}",
            state=ContainerState(running=ContainerStateRunning(started_at=1.0)),
        )
        if self.problems:
            told = "; ".join(self.problems)
            waiting = ContainerStateWaiting(reason="CreateContainerConfigError", message=told)
            return structs.replace(found, state=ContainerState(waiting=waiting))
        if self.restarts:
            ended = ContainerStateTerminated(exit_code=1, reason="Error")
            return structs.replace(found, last_state=ContainerState(terminated=ended))
        return found
