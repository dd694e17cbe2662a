"""One change to a thousand connected proxies, and the same bytes from the bare server."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks import comparison, control_plane
from benchmarks.comparison import Figures, Options, Row
from benchmarks.control_plane import BareServer, Cost, Plait
from benchmarks.loadgen import Loadgen
from benchmarks.scout import Scout

_QUIET = 0.5  # seconds after the last response, for what comes behind it


class Change(Struct, frozen=True, kw_only=True):
    """What is changed, and back again.

    Attributes:
        type_url: of the resource that changes.
        there: the changed object.
        back: the object as it was.
    """

    type_url: str
    there: dict[str, Any]
    back: dict[str, Any]


class Bench:
    """Both servers, each with its clients."""

    def __init__(self, count: int, change: Change, known: Path) -> None:
        self.plait: Figures = defaultdict(list)
        self.bare: Figures = defaultdict(list)
        self._count = count
        self._change = change
        self._bytes = known.with_name("pushed")
        self._known = known

    async def run(self, plait: Plait, bare: BareServer, rounds: int) -> None:
        """Interleaved rounds; the first is not counted."""
        scout = await Scout.start(plait.address)
        ours, theirs = [await self._fleet(server.address) for server in (plait, bare)]
        there = partial(plait.patch, self._change.there)
        back = partial(plait.patch, self._change.back)
        for number in range(rounds + 1):
            unseen: Figures = defaultdict(list)
            into, bare_into = (self.plait, self.bare) if number else (unseen, unseen)
            await self._round(ours, plait.pid, there, into)
            self._bytes.write_bytes(await scout.take())
            await self._round(theirs, bare.pid, partial(bare.push, self._bytes), bare_into)
            await self._round(ours, plait.pid, back, unseen)
            await scout.take()
        await ours.stop()
        await theirs.stop()
        await scout.stop()

    async def _fleet(self, address: str) -> Loadgen:
        fleet = await Loadgen.start(address, self._count, self._known)
        await fleet.ask("connect")
        return fleet

    async def _round(
        self, fleet: Loadgen, pid: int, change: Callable[[], float], figures: Figures
    ) -> None:
        await fleet.ask("tally")
        await fleet.ask(f"expect {self._change.type_url}")
        cost = Cost(pid)
        started = await asyncio.to_thread(change)
        last = (await fleet.answer())["last"]
        await asyncio.sleep(_QUIET)
        tally = await fleet.ask("tally")
        figures["seconds"].append(last - started)
        figures["cpu"].append(cost.seconds() / self._count)
        for type_url, size in tally["bytes"].items():
            figures[f"bytes {type_url.rpartition('.')[2]}"].append(size / self._count)


def rows(found: Options, change: Change, istiod: dict[str, str], *, scoped: bool) -> list[Row]:
    """The table of one mesh."""
    with control_plane.prepared(found.services, scoped=scoped) as (fresh, known):
        plait, bare = Plait(fresh()), BareServer(known)
        bench = Bench(found.clients, change, known)
        try:
            plait.start()
            bare.start()
            asyncio.run(bench.run(plait, bare, found.rounds))
        finally:
            plait.stop()
            bare.stop()
    ours, base = bench.plait, bench.bare
    sizes = sorted({key for key in (*ours, *base) if key.startswith("bytes")})
    table = [comparison.head(scoped=scoped)]
    for key, what, unit in (
        ("seconds", "change → last proxy", "ms"),
        ("cpu", "CPU per proxy", "µs"),
        *((size, f"{size}, per proxy", "B") for size in sizes),
    ):
        table.append(comparison.row(what, (ours[key], base[key]), unit, istiod.get(key, "")))
    return table
