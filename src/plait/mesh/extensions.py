"""The filters of HTTP chains and their order, as data beside each filter."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import Final

from msgspec import Struct

from plait.mesh import ir

SLOT: Final = "plait.extensions"
"""Name of the filter that extension discovery fills."""

ROUTER: Final = "envoy.filters.http.router"


class Place(Struct, frozen=True, kw_only=True):
    """Where a filter stands.

    Attributes:
        marker: a point in the order, and no filter: others are placed around it.
    """

    name: str
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    slot: bool = False
    marker: bool = False


PLACES: Final = (
    Place(name="authentication", marker=True),
    Place(name="authorization", after=("authentication",), marker=True),
    Place(name=SLOT, after=("authorization",), before=(ROUTER,), slot=True),
    Place(name=ROUTER),
)
"""Istio's order: who is asking, whether they may, what plugins say, where it goes."""


def ordered(places: tuple[Place, ...]) -> tuple[Place, ...]:
    """`places` so that each stands after and before what it says; equals by name.

    Raises:
        graphlib.CycleError: they contradict each other; the second argument is the cycle.
    """
    by_name = {place.name: place for place in places}
    graph = {place.name: {name for name in place.after if name in by_name} for place in places}
    for place in places:
        for name in place.before:
            graph.setdefault(name, set()).add(place.name)
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    found: list[Place] = []
    ready = sorted(sorter.get_ready())
    while ready:
        name = ready.pop(0)
        found += [by_name[name]] if name in by_name else []
        sorter.done(name)
        ready = sorted((*ready, *sorter.get_ready()))
    return tuple(found)


FILTERS: Final = tuple(
    ir.HttpFilter(name=place.name, slot=place.slot) for place in ordered(PLACES) if not place.marker
)
"""What every HTTP chain has."""
