"""A thousand proxies connect at once: time to the first full configuration, CPU and memory.

``python -m benchmarks.connect``.  *Cold*: the control plane was just started with the mesh in its
database, so what it compiles for the first of them is counted.  *Warm*: one client is connected
already; memory per proxy is what the process grew by since then, once settled.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

from benchmarks import control_plane, machine
from benchmarks.control_plane import BareServer, Cost, Options, Plait, Served
from benchmarks.loadgen import Loadgen
from benchmarks.scout import Scout

_TITLE = "connect: proxies connect at once, until all have their first full configuration"
_ISTIOD = {
    False: {
        "cold": "39–44 s",
        "cold cpu": "77–84 ms",
        "rss": "2,200–2,400 KB",
        "size": "3,580 KB",
    },
    True: {"cold": "0.9–1.25 s", "cold cpu": "1.6–2.2 ms", "rss": "270–300 KB", "size": "53 KB"},
}
Figures = dict[str, list[float]]


async def measure(
    server: Served, known: Path, count: int, figures: Figures, *, warm: bool
) -> None:
    """One round against one server."""
    name = "warm" if warm else "cold"
    server.start()
    try:
        loadgen = await Loadgen.start(server.address, count, known)
        scout = await Scout.start(server.address) if warm else None
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


def rows(found: Options, *, scoped: bool) -> list[tuple[str, str, str, str, str]]:
    """The table of one mesh."""
    plait: Figures = defaultdict(list)
    bare: Figures = defaultdict(list)
    with control_plane.prepared(found, scoped=scoped) as (fresh, known):
        for _ in range(found.rounds):
            for warm in (False, True):
                for server, figures in ((Plait(fresh()), plait), (BareServer(known), bare)):
                    asyncio.run(measure(server, known, found.clients, figures, warm=warm))
    istiod = _ISTIOD[scoped]
    lines = [(control_plane.scope_name(scoped=scoped), "", "", "", "")]
    for key, what, unit, factor, digits in (
        ("cold", "  all have everything, cold", "s", 1.0, 2),
        ("cold cpu", "  CPU per proxy, cold", "ms", 1.0, 2),
        ("warm", "  all have everything, warm", "s", 1.0, 2),
        ("warm cpu", "  CPU per proxy, warm", "ms", 1.0, 2),
        ("rss", "  memory per proxy", "KB", 1e-3, 0),
        ("size", "  bytes per proxy", "KB", 1e-3, 0),
    ):
        ours = [value * factor for value in plait[key]]
        base = [value * factor for value in bare[key]]
        shown = [control_plane.spread(values, unit, digits) for values in (ours, base)]
        lines.append((what, *shown, control_plane.ratio(ours, base), istiod.get(key, "")))
    return lines


def main() -> None:
    """Print the table."""
    found = control_plane.options(_TITLE)
    lines = [line for scoped in found.scopes for line in rows(found, scoped=scoped)]
    control_plane.report(_TITLE, found, lines)


if __name__ == "__main__":
    main()
