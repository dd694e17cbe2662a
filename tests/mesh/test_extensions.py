"""The order of filters."""

from __future__ import annotations

from graphlib import CycleError

import pytest

from plait.mesh import extensions
from plait.mesh.extensions import Place, ordered


def test_a_filter_stands_where_it_says_whatever_the_order_it_is_written_in():
    places = (
        Place(name="router", after=("b",)),
        Place(name="b", after=("a",)),
        Place(name="a"),
        Place(name="c", before=("b",), after=("a",)),
    )

    assert [place.name for place in ordered(places)] == ["a", "c", "b", "router"]
    assert ordered(places) == ordered(tuple(reversed(places)))


def test_filters_that_contradict_each_other_are_an_error():
    with pytest.raises(CycleError):
        ordered((Place(name="a", after=("b",)), Place(name="b", after=("a",))))


def test_the_slot_stands_after_who_is_asking_and_before_the_router():
    assert [one.name for one in extensions.FILTERS] == [extensions.SLOT, extensions.ROUTER]
