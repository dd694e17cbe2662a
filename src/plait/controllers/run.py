"""The controllers at work: what changed is decided anew, and what was decided is done."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from plait.base.errors import ConflictError, StoreError
from plait.base.query import Drained, Query
from plait.base.tasks import Health, supervise
from plait.config import shapes
from plait.config.kinds.pod import PodStatus
from plait.config.kinds.workloads import DeploymentStatus, ReplicaSetStatus
from plait.config.meta import Key
from plait.config.ports import Runtime
from plait.config.record import Write
from plait.config.store import Store
from plait.controllers import gateways, observed, replicas, rollout, slices
from plait.controllers.actions import Decision, earliest
from plait.controllers.podfiles import errand
from plait.controllers.running import Running, Wish
from plait.controllers.templates import GRACE
from plait.controllers.workload import WORLDS, World, brood, family
from plait.controllers.writing import grace, removal, writes

_AT_ONCE = 50  # decisions between two turns of the loop
_AGAIN = 0.1  # seconds before what met another's change is decided again
_LATER = 1.0  # seconds before what could not be stored is

Call = tuple[Callable[..., Any], tuple[Key, ...]]  # a watched query: one thing to look after


class Workloads:
    """Makes ReplicaSets, Pods and EndpointSlices of what users write, and has the Pods run."""

    def __init__(self, store: Store, runtime: Runtime, node: str = "") -> None:
        self._store = store
        self._runtime = runtime
        self._node = node or socket.gethostname()
        self._changed: dict[Call, None] = {}
        self._later: dict[Call, float] = {}
        self._seen: dict[Key, PodStatus] = {}
        self._watched: dict[World, frozenset[Key]] = {world: frozenset() for _, world in WORLDS}
        self._wake = asyncio.Event()
        self._running: Running | None = None

    async def run(self) -> None:
        """Until cancelled; Pods run on."""
        await self._store.ready.wait()
        stop = self._store.listen(self._on_drained)
        for members, _ in WORLDS:
            self._store.watch_soon(members)
        self._store.watch_soon(gateways.entrance)
        try:
            async with asyncio.TaskGroup() as group:
                self._running = Running(self._runtime, group, self._remove)
                group.create_task(supervise(self._observe, name="observe"), name="observe")
                group.create_task(supervise(self._work, name="workloads"), name="workloads")
        finally:
            stop()
            self._unwatch()

    def _on_drained(self, drained: Drained, _: int) -> None:
        for call in drained.values:
            if call[0] in _OURS:
                self._changed[call] = None
                self._wake.set()

    async def _observe(self, health: Health) -> None:
        async for states in self._runtime.observe():
            health.up()
            for one in states:
                self._seen[one.key] = one.status
                self._changed[(errand, (one.key,))] = None
            self._wake.set()

    async def _work(self, health: Health) -> None:
        while True:
            await self._sleep()
            await self._round()
            health.up()

    async def _sleep(self) -> None:
        """Wait until something changed, or time alone did."""
        moment = earliest(*self._later.values())
        left = None if moment is None else max(0.0, moment - self._store.clock.now())
        try:
            async with asyncio.timeout(left):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _round(self) -> None:
        """Decide what changed, and commit each decision by itself."""
        now = self._store.clock.now()
        due = [call for call, moment in self._later.items() if moment <= now]
        self._changed.update(dict.fromkeys(due))
        decided: list[tuple[Call, tuple[Write, ...]]] = []
        while self._changed and len(decided) < _AT_ONCE:
            call = next(iter(self._changed))
            del self._changed[call]
            self._later.pop(call, None)
            found = self._decide(call, now)
            if found.again is not None:
                self._later[call] = found.again
            if made := writes(found.actions, self._store.record, now):
                decided.append((call, made))
        if self._changed:
            self._wake.set()
        async with asyncio.TaskGroup() as group:
            for call, made in decided:
                group.create_task(self._commit(call, made, now), name=f"commit {call[0].__name__}")

    async def _commit(self, call: Call, made: tuple[Write, ...], now: float) -> None:
        """Write; what cannot be written now is decided anew."""
        try:
            await self._store.commit(made)
        except ConflictError:
            self._later[call] = now + _AGAIN
        except StoreError:
            self._later[call] = now + _LATER  # the store itself says why

    def _decide(self, call: Call, now: float) -> Decision:
        """What to do about one thing."""
        query, arguments = call
        for members, world in WORLDS:
            if query is members:
                self._watch(members, world)
                return Decision()
        if query is gateways.entrance:
            return gateways.step(self._store.engine.get(gateways.entrance))
        key = arguments[0]
        if query is family:
            return rollout.step(self._store.engine.get(family, key), self._deployment(key), now)
        if query is brood:
            return replicas.step(self._store.engine.get(brood, key), self._replica_set(key), now)
        if query is slices.serving:
            return slices.step(self._store.engine.get(slices.serving, key))
        return self._pod(key, now)

    def _watch(self, members: Callable[[Query], tuple[Key, ...]], world: World) -> None:
        """Look after what is there now, and see off what is gone."""
        before, now = self._watched[world], frozenset(self._store.engine.get(members))
        self._watched[world] = now
        for key in sorted(now - before):
            self._store.watch(world, key)
        for key in sorted(before - now):
            self._store.unwatch(world, key)
        self._changed.update(dict.fromkeys((world, (key,)) for key in sorted(before ^ now)))

    def _unwatch(self) -> None:
        for members, world in WORLDS:
            for key in self._watched[world]:
                self._store.unwatch(world, key)
            self._watched[world] = frozenset()
            self._store.unwatch(members)
        self._store.unwatch(gateways.entrance)

    def _deployment(self, key: Key) -> rollout.Known:
        record = self._store.record(key)
        if record is None:
            return rollout.Known()
        status = shapes.read(record.status or {}, DeploymentStatus, ("status",), [])
        return rollout.Known(status=status, generation=record.generation)

    def _replica_set(self, key: Key) -> replicas.Known:
        record = self._store.record(key)
        if record is None:
            return replicas.Known(node=self._node)
        status = shapes.read(record.status or {}, ReplicaSetStatus, ("status",), [])
        return replicas.Known(status=status, generation=record.generation, node=self._node)

    def _pod(self, key: Key, now: float) -> Decision:
        """Have a Pod run as it should, and report how it does."""
        found, record = self._store.engine.get(errand, key), self._store.record(key)
        if self._running is None:
            return Decision()
        seconds = grace(record) if record else GRACE
        if found is not None or self._running.is_wanted(key) or key in self._seen:
            self._running.wish(key, Wish(errand=found, grace=seconds))
        if found is None or record is None or record.object is None:
            self._seen.pop(key, None)
            return Decision()
        return observed.step(found, self._seen.get(key), record.object.spec.status, now)

    async def _remove(self, key: Key) -> None:
        """Take the row of a Pod away that is gone."""
        record = self._store.record(key)
        if record is not None and record.object is not None and record.object.deleted is not None:
            await self._store.commit([removal(record)])


_OURS = frozenset(
    query
    for query in (
        *(members for members, _ in WORLDS),
        *(world for _, world in WORLDS),
        gateways.entrance,
    )
)
