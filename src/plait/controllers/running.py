"""Pods on their platform: each is run, replaced and ended as it is wanted, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from plait.base.tasks import supervise
from plait.config.meta import Key
from plait.config.ports import Runtime
from plait.controllers.podfiles import Errand


class Wish(Struct, frozen=True, kw_only=True):
    """How a Pod should be.

    Attributes:
        errand: None: it should not be there.
        grace: seconds that it has to end, whenever it must.
    """

    errand: Errand | None
    grace: float

    @property
    def is_end(self) -> bool:
        """Whether the Pod should end."""
        return self.errand is None or self.errand.pod.deleted is not None


class Running:
    """Makes the Pods of a platform as they are wanted."""

    def __init__(
        self,
        runtime: Runtime,
        group: asyncio.TaskGroup,
        on_gone: Callable[[Key], Awaitable[None]],
    ) -> None:
        self._runtime = runtime
        self._group = group
        self._on_gone = on_gone
        self._wishes: dict[Key, Wish] = {}
        self._done: dict[Key, Wish] = {}  # what was last brought about
        self._busy: set[Key] = set()
        self._stopping: dict[Key, float] = {}

    def wish(self, pod: Key, wish: Wish) -> None:
        """Have a Pod so from now on."""
        self._wishes[pod] = wish
        if pod not in self._busy:
            self._busy.add(pod)
            work = supervise(lambda _: self._work(pod), name=f"run {pod.path}")
            self._group.create_task(work, name=f"run {pod.path}")
        elif wish.is_end and wish.grace < self._stopping.get(pod, 0.0):
            self._stopping[pod] = wish.grace
            self._group.create_task(self._runtime.stop(pod, wish.grace), name=f"stop {pod.path}")

    def is_wanted(self, pod: Key) -> bool:
        """Whether anybody has said how the Pod should be."""
        return pod in self._wishes

    async def _work(self, pod: Key) -> None:
        while (wish := self._wishes.get(pod)) is not None and wish != self._done.get(pod):
            await self._fulfil(pod, wish)
            self._done[pod] = wish
            if wish.errand is None and self._wishes[pod] == wish:
                del self._wishes[pod], self._done[pod]
        self._busy.discard(pod)

    async def _fulfil(self, pod: Key, wish: Wish) -> None:
        before = self._done.get(pod)
        if wish.is_end or (before and _is_other(before, wish)):
            self._stopping[pod] = wish.grace
            await self._runtime.stop(pod, wish.grace)
            del self._stopping[pod]
        if wish.errand is None:
            return
        if wish.is_end:
            await self._on_gone(pod)
        elif not wish.errand.problem:
            await self._runtime.run(wish.errand.pod, wish.errand.files)


def _is_other(before: Wish, after: Wish) -> bool:
    """Whether a Pod that runs must be replaced: it was made anew, or runs something else now."""
    if before.errand is None or after.errand is None:
        return False
    old, new = before.errand.pod, after.errand.pod
    return old.uid != new.uid or old.spec != new.spec
