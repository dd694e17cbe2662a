"""A thousand agents get their certificates: time until the last has one, and CPU.

``python -m benchmarks.identity``.  Each agent connects over TLS and gets a first certificate for
its token; connects with the certificate that it has, and gets another; connects with it once more,
and gets its first full configuration, of a small mesh.  Beside plait stands a bare grpc.aio server
with TLS that answers one certificate, made before, and one configuration.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import defaultdict
from pathlib import Path

from benchmarks import comparison, control_plane, machine, papers
from benchmarks.comparison import Figures, Options
from benchmarks.control_plane import BareServer, Cost, Plait, Served
from benchmarks.loadgen import Loadgen
from benchmarks.papers import IDENTITY
from plait.agent import identity
from plait.base.clock import WallClock
from plait.serve.ca import authority

_TITLE = "identity: agents connect over mutual TLS and get certificates, all at once"
_PHASES = (
    ("join", "a first certificate for a token"),
    ("renew", "a certificate for a certificate"),
    ("connect", "a stream, and its first configuration"),
)
_SIGNED = 500  # requests that are signed alone


async def measure(server: Served, known: Path, count: int, figures: Figures) -> None:
    """One round against one server."""
    server.start()
    try:
        loadgen = await Loadgen.start(server.address, count, known, server.papers)
        for phase, _ in _PHASES:
            cost = Cost(server.pid)
            words = f"{phase} {server.join}" if phase == "join" else phase
            times = await loadgen.ask(words)
            figures[phase].append(times["last"] - times["started"])
            await asyncio.sleep(0.5)
            figures[f"{phase} cpu"].append(cost.seconds() / count)
        await loadgen.ask("tally")
        await loadgen.stop()
    finally:
        server.stop()


def signing() -> float:
    """Median of seconds to check and to sign a request."""
    now = WallClock().now()
    root, key = authority.self_signed("cluster.local", now), identity.new_key()
    asked, taken = identity.request(key, IDENTITY), []
    for _ in range(_SIGNED):
        started = time.perf_counter()
        authority.issue(root, authority.checked(asked), IDENTITY, 86_400, now)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def measured(found: Options) -> tuple[Figures, Figures]:
    """Figures of plait and of the bare server."""
    plait: Figures = defaultdict(list)
    bare: Figures = defaultdict(list)
    with (
        control_plane.prepared(found.services, scoped=False) as (fresh, known),
        papers.made(found.clients + 1) as copy,
    ):
        for _ in range(found.rounds):
            for server, figures in (
                (Plait(fresh(), copy()), plait),
                (BareServer(known, copy()), bare),
            ):
                asyncio.run(measure(server, known, found.clients, figures))
    return plait, bare


def main() -> None:
    """Print the table."""
    found = comparison.options(_TITLE, rounds=3, services=10)
    plait, bare = measured(found)
    rows = []
    for phase, what in _PHASES:
        rows.append(comparison.row(f"{what}: all have it", (plait[phase], bare[phase]), "s"))
        cpu = f"{phase} cpu"
        rows.append(comparison.row("  CPU of the server for each", (plait[cpu], bare[cpu]), "ms"))
    rows.append(comparison.row("signing alone, one thread", ([signing()], []), "µs"))
    machine.show(machine.headline(_TITLE))
    machine.show(
        f"{found.clients:,} agents, {found.services:,} services, medians of {found.rounds} "
        f"interleaved rounds [least-most], load average {os.getloadavg()[0]:.1f}"
    )
    header = ("", "plait", "bare grpc.aio", "ratio")
    machine.show(machine.table(header, [row[:4] for row in rows]))


if __name__ == "__main__":
    main()
