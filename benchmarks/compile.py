"""Compile a mesh for one view: time, memory, longest stall; no proxies take part.

``python -m benchmarks.compile [SERVICES …]`` prints a column for each size and scope.  Proxies of
one view subscribe to the same calls, so their number does not appear: the last rows watch the
same view a thousand times.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import machine, mesh
from plait.base.query import Call, Engine
from plait.config import catalog, codec
from plait.config.ports import Change
from plait.mesh import ir
from plait.mesh.placement import placement
from plait.xds import subscriptions
from plait.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Present

SLICE = 0.005


def rows(*documents: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Rows for the engine."""
    found: list[tuple[str, Any, Any]] = []
    for document in documents:
        change = codec.decode(document, source="bench")
        assert isinstance(change, Change)
        found.append((catalog.table(change.key), change.key, change.object))
    return found


class Watched:
    """Everything that one proxy subscribes to, watched as a server does it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.stall = 0.0
        identity = ir.Identity(role=ir.Role.SIDECAR, namespace=mesh.NAMESPACE)
        self.placement = engine.get(placement, identity)
        self.calls: list[Call] = []

    def watch(self) -> None:
        """Watch all resources; they are evaluated in slices."""
        calls: list[Call] = [subscriptions.named(ROUTES, "80", self.placement)]
        for type_url in (CLUSTER, LISTENER):
            for query, args in subscriptions.wildcard(type_url, self.placement):
                start = time.perf_counter()
                entries = self.engine.watch(query, *args)
                self.stall = max(self.stall, time.perf_counter() - start)
                calls += [(entry.query, entry.args) for entry in entries]
                if type_url == CLUSTER:
                    names = [e.name for e in entries if e.name.startswith("outbound|")]
                    calls += [subscriptions.named(ENDPOINTS, n, self.placement) for n in names]
        for query, args in calls:
            self.engine.watch_soon(query, *args)
        self.drain()
        self.calls = calls

    def drain(self) -> int:
        """Evaluate what is marked, in slices; returns how many calls changed."""
        changed = 0
        while True:
            start = time.perf_counter()
            drained = self.engine.drain(SLICE)
            self.stall = max(self.stall, time.perf_counter() - start)
            changed += len(drained.values)
            if drained.done:
                return changed

    def size(self) -> int:
        """Bytes of all resources."""
        answers = (self.engine.get(query, *args) for query, args in self.calls)
        return sum(len(a.resource.body) for a in answers if isinstance(a, Present))


def milliseconds(work: Callable[[], object]) -> float:
    """How long it takes once."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def measure(services: int, *, scoped: bool) -> dict[str, str]:
    """One column of the table."""
    column: dict[str, str] = {}
    documents = mesh.objects(services, scoped=scoped)
    found: list[tuple[str, Any, Any]] = []
    column["decode (ms)"] = f"{milliseconds(lambda: found.extend(rows(*documents))):.0f}"
    engine = Engine(catalog.tables())
    column["apply (ms)"] = f"{milliseconds(lambda: engine.apply(found)):.0f}"
    before = machine.peak_rss()
    watched = Watched(engine)
    column["compile all (ms)"] = f"{milliseconds(watched.watch):.0f}"
    column["longest stall (ms)"] = f"{watched.stall * 1e3:.0f}"
    column["resources"] = str(len(watched.calls))
    column["config (MB)"] = f"{watched.size() / 1e6:.2f}"
    column["memos"] = str(len(engine))
    column["peak memory added (MB)"] = f"{(machine.peak_rss() - before) / 1e6:.0f}"
    gc.collect()
    gc.freeze()
    for what, document in _changes(services).items():
        change = rows(document)
        engine.runs.clear()
        watched.stall = 0.0
        took = milliseconds(lambda change=change: _commit(watched, change))  # type: ignore[misc]
        column[f"{what} (ms)"] = f"{took:.2f}"
        column[f"{what}: queries run"] = str(sum(engine.runs.values()))
    for _ in range(1000):
        for query, args in watched.calls[:1]:
            engine.watch(query, *args)
    engine.runs.clear()
    change = rows(mesh.virtual_service(3, weight=40))
    column["one weight, 1,000 watchers (ms)"] = (
        f"{milliseconds(lambda: _commit(watched, change)):.2f}"
    )
    gc.unfreeze()
    return column


def _commit(watched: Watched, change: list[tuple[str, Any, Any]]) -> None:
    watched.engine.apply(change)
    watched.drain()


def _changes(services: int) -> dict[str, dict[str, Any]]:
    rule = mesh.destination_rule(6)
    policy = {"loadBalancer": {"simple": "RANDOM"}}
    return {
        "nothing changed": mesh.service(5),
        "one endpoint": mesh.service(4, endpoints=9),
        "one weight": mesh.virtual_service(3, weight=50),
        "one rule": {**rule, "spec": {**rule["spec"], "trafficPolicy": policy}},
        "one service more": mesh.service(services + 5),
    }


def main() -> None:
    """Print the table."""
    sizes = [int(argument) for argument in sys.argv[1:]] or [1000, 10_000]
    gc.disable()  # as `plait serve` does
    columns = {}
    for services in sizes:
        for scoped in (False, True):
            name = f"{services:,} {'scoped' if scoped else 'all visible'}"
            columns[name] = measure(services, scoped=scoped)
            gc.collect()
    machine.show(machine.headline("compile: objects to bytes, one view, no proxies"))
    lines = [[what, *(c[what] for c in columns.values())] for what in next(iter(columns.values()))]
    machine.show(machine.table(["", *columns], lines))


if __name__ == "__main__":
    main()
