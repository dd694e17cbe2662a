"""Arbitrary values of the structs that objects are made of."""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

TEXT = st.text(max_size=6)
UNITS: dict[str, st.SearchStrategy[Any]] = {
    "seconds": st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000),
    "time": st.integers(1, 4 * 10**9).map(float),
    "quantity": st.sampled_from(["1", "500m", "1.5Gi", "2e3"]),
    "base64": st.binary(max_size=6),
}
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    bool: st.booleans(),
    int: st.integers(-(2**31), 2**31),
    float: st.floats(allow_nan=False, allow_infinity=False),
    Any: TEXT,
    type(None): st.none(),
}


def of(wanted: Any, depth: int = 4) -> st.SearchStrategy[Any]:
    """Values of a type that a field of a struct may have; deeper than `depth` the defaults."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        extra = args[1].extra or {}
        return UNITS[extra["unit"]] if extra else st.integers(args[1].ge, args[1].le)
    if origin is tuple:
        return st.lists(of(args[0], depth), max_size=2).map(tuple)
    if origin in (Union, types.UnionType):
        return st.one_of([of(arg, depth) for arg in args])
    if origin is not None:
        assert issubclass(origin, Mapping)
        return st.dictionaries(TEXT, of(args[1], depth), max_size=2)
    if issubclass(type(wanted), type) and issubclass(wanted, Enum):
        return st.sampled_from(wanted)
    return SIMPLE[wanted] if wanted in SIMPLE else struct(wanted, depth)


def struct(wanted: type[msgspec.Struct], depth: int = 4) -> st.SearchStrategy[Any]:
    """Structs with a few of their fields set."""
    if depth == 0:
        return st.just(wanted())
    fields = {each.name: each.type for each in msgspec.structs.fields(wanted)}

    @st.composite
    def made(draw: st.DrawFn) -> Any:
        chosen = draw(st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True))
        return wanted(**{name: draw(of(fields[name], depth - 1)) for name in chosen})

    return made() if fields else st.just(wanted())
