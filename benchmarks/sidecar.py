"""What a sidecar costs: wrk over a direct path, through one Envoy, and through pairs.

``python -m benchmarks.sidecar`` (root, wrk).  Everything runs under ``plait up`` on this machine;
the application is an Envoy that answers by itself, so it is never the slowest part.  The CPU
column is the time of the proxies on the path for each request: of all columns it depends least on
what else the machine does.  The last column compares mutual TLS as plait makes it with a pair that
a person would write by hand (`handwritten`), the same log of requests in both or in none.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks import machine
from benchmarks.pairs import WAYS, Run, Way

Rounds = list[dict[str, float]]
_CONNECTIONS = (1, 32)


def measured(run: Run, rounds: int, seconds: int) -> dict[tuple[str, int], Rounds]:
    """Figures of each round, by way and connections."""
    found: dict[tuple[str, int], Rounds] = defaultdict(list)
    for _ in range(rounds):
        for logged in (False, True):
            run.log(wanted=logged)
            for connections in _CONNECTIONS:
                for way in (one for one in WAYS if one.logged is logged):
                    found[way.name, connections].append(run.measure(way, connections, seconds))
    return found


def table(found: dict[tuple[str, int], Rounds]) -> str:
    """The medians."""
    rows = [_row(way, count, found) for count in _CONNECTIONS for way in WAYS]
    header = ("path", "req/s", "proxy CPU µs/req", "p50 µs", "p99 µs", "CPU by hand")
    return machine.table(header, rows)


def _row(way: Way, count: int, found: dict[tuple[str, int], Rounds]) -> tuple[str, ...]:
    rounds = found[way.name, count]
    middle = {what: statistics.median(one[what] for one in rounds) for what in rounds[0]}
    cpu, ratio = "-" if way.name == "direct" else f"{middle['cpu']:.1f}", ""
    if way.peer:
        peers = found[way.peer, count]
        each = [one["cpu"] / peer["cpu"] for one, peer in zip(rounds, peers, strict=True)]
        ratio = f"{statistics.median(each):.2f}x"
    figures = (f"{middle['rps']:,.0f}", cpu, f"{middle['p50']:,.0f}", f"{middle['p99']:,.0f}")
    return (f"{way.name}, {count} connections", *figures, ratio)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="sidecar: what the proxies between cost")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="1 round of 1 second each")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed (Debian, Ubuntu: apt-get install wrk)")
    rounds, seconds = (1, 1) if given.quick else (given.rounds, given.seconds)
    with tempfile.TemporaryDirectory(prefix="plait-s-") as top:
        Path(top).chmod(0o755)
        run = Run(Path(top))
        try:
            run.up()
            found = measured(run, rounds, seconds)
        finally:
            run.down()
    title = "sidecar: wrk, keep-alive, 64 bytes, one worker for each Envoy"
    load = f"load average {os.getloadavg()[0]:.1f}"
    head = f"{machine.headline(title)}\nmedians of {rounds} interleaved rounds, {load}"
    machine.show(f"{head}\n{table(found)}")


if __name__ == "__main__":
    main()
