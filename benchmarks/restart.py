"""The control plane is killed and started again; a thousand proxies come back.

``python -m benchmarks.restart``.  They say which versions they hold, so nothing needs to be sent:
the bytes of configuration must be 0.  That a client's requests were all read is seen by the
answer to a last one, for a name that does not exist.  The bare server reads the same requests and
compares the versions with those of its prebuilt bytes, which is the least that tells it to send
nothing; what it lacks is a mesh to read and compile before.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import defaultdict
from pathlib import Path

from benchmarks import comparison, control_plane, machine
from benchmarks.comparison import Figures, Options, Row
from benchmarks.control_plane import BareServer, Cost, Plait, Served
from benchmarks.loadgen import Loadgen
from benchmarks.scout import MARKER

_TITLE = "restart: the control plane is killed and started again, all proxies come back"
_ISTIOD = {False: {"size": "all again: 3,580 KB"}, True: {"size": "all again: 53 KB"}}


async def measure(server: Served, again: Served, known: Path, count: int, into: Figures) -> None:
    """One round: clients of `server` find `again` in its place."""
    again.plain, again.address = server.plain, server.address
    try:
        server.start()
        loadgen = await Loadgen.start(server.address, count, known)
        await loadgen.ask("connect")
        await loadgen.ask("tally")
        server.stop(signal.SIGKILL)
        killed = time.monotonic()
        again.launch()
        opened = (await loadgen.ask("reconnect"))["open"]
        cost = Cost(again.pid)
        last = (await loadgen.answer())["last"]
        await asyncio.sleep(0.5)
        into["start"].append(opened - killed)
        into["seconds"].append(last - opened)
        into["cpu"].append(cost.seconds() / count)
        into["most"].append(machine.most_rss(again.pid))
        sizes = (await loadgen.ask("tally"))["bytes"]
        into["size"].append(sum(size for url, size in sizes.items() if url != MARKER) / count)
        await loadgen.stop()
    finally:
        server.stop(signal.SIGKILL)
        again.stop()


def rows(found: Options, *, scoped: bool) -> list[Row]:
    """The table of one mesh."""
    plait: Figures = defaultdict(list)
    bare: Figures = defaultdict(list)
    with control_plane.prepared(found.services, scoped=scoped) as (fresh, known):
        for _ in range(found.rounds):
            data = fresh()
            asyncio.run(measure(Plait(data), Plait(data), known, found.clients, plait))
            again = BareServer(known, returning=True)
            asyncio.run(measure(BareServer(known), again, known, found.clients, bare))
    table = [comparison.head(scoped=scoped)]
    for key, what, unit in (
        ("start", "killed → listens again", "s"),
        ("seconds", "listens → all in sync", "s"),
        ("cpu", "CPU per proxy", "ms"),
        ("most", "most memory of the process", "MB"),
        ("size", "bytes of configuration per proxy", "B"),
    ):
        istiod = _ISTIOD[scoped].get(key, "")
        table.append(comparison.row(what, (plait[key], bare[key]), unit, istiod))
    return table


def main() -> None:
    """Print the table."""
    found = comparison.options(_TITLE, rounds=3)
    table = [line for scoped in found.scopes for line in rows(found, scoped=scoped)]
    comparison.report(_TITLE, found, table)


if __name__ == "__main__":
    main()
