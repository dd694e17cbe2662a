"""A thousand proxies connect at once: time to the first full configuration, CPU and memory.

``python -m benchmarks.connect``; with ``--tls`` each shows a certificate of the mesh.  *Cold*: the
control plane was just started with the mesh in its database, so what it compiles for the first of
them is counted.  *Warm*: one client is connected already; memory per proxy is what the process grew
by since then, once settled.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

from benchmarks import comparison, control_plane, papers
from benchmarks.comparison import Figures, Options, Row
from benchmarks.control_plane import BareServer, Cost, Plait, Served
from benchmarks.loadgen import Loadgen
from benchmarks.scout import Scout

_TITLE = "connect: proxies connect at once, until all have their first full configuration"
_ISTIOD = {
    False: {
        "cold": "39-44 s",
        "cold cpu": "77-84 ms",
        "rss": "2,200-2,400 KB",
        "size": "3,580 KB",
    },
    True: {"cold": "0.9-1.25 s", "cold cpu": "1.6-2.2 ms", "rss": "270-300 KB", "size": "53 KB"},
}


async def measure(server: Served, known: Path, count: int, figures: Figures, *, warm: bool) -> None:
    """One round against one server."""
    name = "warm" if warm else "cold"
    server.start()
    try:
        loadgen = await Loadgen.start(server.address, count, known, server.papers)
        scout = await Scout.start(server.plain) if warm else None
        before = await control_plane.settled_rss(server.pid) if warm else 0
        cost = Cost(server.pid)
        times = await loadgen.ask("connect")
        figures[name].append(times["last"] - times["started"])
        await asyncio.sleep(0.5)
        figures[f"{name} cpu"].append(cost.seconds() / count)
        tally = await loadgen.ask("tally")
        figures["size"].append(sum(tally["bytes"].values()) / count)
        if warm:
            after = await control_plane.settled_rss(server.pid)
            figures["rss"].append((after - before) / count)
        if scout is not None:
            await scout.stop()
        await loadgen.stop()
    finally:
        server.stop()


def rows(found: Options, *, scoped: bool) -> list[Row]:
    """The table of one mesh."""
    plait: Figures = defaultdict(list)
    bare: Figures = defaultdict(list)
    with (
        control_plane.prepared(found.services, scoped=scoped) as (fresh, known),
        papers.made(1 if found.tls else 0) as copy,
    ):
        for _ in range(found.rounds):
            for warm in (False, True):
                servers = ((Plait(fresh(), copy()), plait), (BareServer(known, copy()), bare))
                for server, figures in servers:
                    asyncio.run(measure(server, known, found.clients, figures, warm=warm))
    table = [comparison.head(scoped=scoped)]
    for key, what, unit in (
        ("cold", "all have everything, cold", "s"),
        ("cold cpu", "CPU per proxy, cold", "ms"),
        ("warm", "all have everything, warm", "s"),
        ("warm cpu", "CPU per proxy, warm", "ms"),
        ("rss", "memory per proxy", "KB"),
        ("size", "bytes per proxy", "KB"),
    ):
        istiod = _ISTIOD[scoped].get(key, "")
        table.append(comparison.row(what, (plait[key], bare[key]), unit, istiod))
    return table


def main() -> None:
    """Print the table."""
    found = comparison.options(_TITLE, rounds=3, encrypts=True)
    table = [line for scoped in found.scopes for line in rows(found, scoped=scoped)]
    title = f"{_TITLE}, with mutual TLS" if found.tls else _TITLE
    comparison.report(title, found, table)


if __name__ == "__main__":
    main()
