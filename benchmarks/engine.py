"""What the query engine costs: ``python benchmarks/engine.py`` prints a table."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from plait.base.query import Engine, Query

TABLES = {"Service": {"all": lambda row: ("all",)}, "Flag": {}}


def leaf(q: Query, key: int) -> Any:
    row = q.row("Service", key)
    return None if row is None else row // 10


def table(q: Query) -> tuple[Any, ...]:
    return tuple([q.attempt(leaf, key) for key in q.keys("Service", "all", "all")])


def other(q: Query) -> int:
    q.row("Flag", "flag")
    keys = q.keys("Service", "all", "all")
    return sum(1 for key in keys if q(leaf, key) == 0)


def best(action: Callable[[], object], rounds: int = 5) -> float:
    """Seconds of the fastest of `rounds`."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(children: int) -> dict[str, float]:
    """Seconds, by what was done, for a join over `children`."""
    engine = Engine(TABLES)
    rows = [("Service", key, key * 10) for key in range(children)]
    found = {"apply all rows": best(lambda: engine.apply(rows), 1)}
    found["first evaluation"] = best(lambda: engine.watch(table), 1)
    found["no-op commit of all rows"] = best(lambda: engine.commit(rows))
    state = [0]

    def edit(by: int) -> None:
        state[0] += by
        engine.commit([("Service", 7, 70 + state[0])])

    found["one row, child equal (verification)"] = best(lambda: edit(1))
    state[0] = 0
    found["one row, child differs (re-run of the join)"] = best(lambda: edit(10))

    def restart(step: int) -> None:
        engine.commit([("Service", 10**6 + step, 0)])
        engine.commit([("Service", 10**6 + step, None)])

    found["row added and removed"] = best(lambda: restart(1))
    found["drain with nothing to do"] = best(engine.drain)
    engine.collect()
    engine.unwatch(table)
    found["collect all"] = best(engine.collect, 1)
    return found


def per_read(children: int) -> float:
    """Seconds of one ``q(child)`` on a fresh memo."""
    engine = Engine(TABLES)
    engine.apply([("Service", key, key) for key in range(children)])
    engine.watch(table)

    def spin(q: Query, turn: int) -> None:
        for key in range(children):
            q(leaf, key)

    return best(lambda: engine.get(spin, time.perf_counter_ns())) / children


def per_memo(children: int) -> float:
    """Bytes of one leaf memo with its one read, in a join."""
    engine = Engine(TABLES)
    engine.apply([("Service", key, key) for key in range(children)])
    gc.collect()
    tracemalloc.start()
    engine.watch(table)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / children


def main() -> None:
    """Print the table."""
    gc.freeze()
    sizes = (1_000, 10_000)
    results = [measure(size) for size in sizes]
    print(f"{'children of the join':48}" + "".join(f"{size:>12,}" for size in sizes))
    for name in results[0]:
        print(f"{name:48}" + "".join(f"{r[name] * 1e6:>9,.1f} us" for r in results))
    print(f"{'one read of a fresh call':48}{per_read(10_000) * 1e9:>9,.0f} ns")
    print(f"{'memory of a memo and its read':48}{per_memo(10_000):>9,.0f} B")


if __name__ == "__main__":
    main()
