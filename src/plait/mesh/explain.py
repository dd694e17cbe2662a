"""Why a value is what it is: the record of a call, as a tree down to the objects it read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from plait.base.query import Memo
from plait.config.meta import Key

DEPTH = 12
"""How deep a tree goes; the graph of queries is shallower."""


class Reason(Struct, frozen=True, kw_only=True):
    """One thing that a value came from.

    Attributes:
        what: an object (``VirtualService demo/reviews``), an index that was searched
            (``DestinationRule by host reviews.demo…``) or a query with its arguments.
        object: the key where it is an object; None for the others.
        missing: the object was looked for and is not there.
        reads: what it came from in turn; empty for what was already shown above.
    """

    what: str
    object: Key | None = None
    missing: bool = False
    reads: tuple[Reason, ...] = ()


def reasons(memo: Memo, exists: Callable[[str, Any], bool]) -> Reason:
    """The tree of what `memo` read, in the order in which it read it.

    A query that leads to no object or index is left out, and each query is shown once.

    Args:
        memo: from `Engine.why`.
        exists: whether a table has a row of that key.
    """
    return _Tree(exists).query(memo, DEPTH)


def objects(memo: Memo) -> set[Key]:
    """The objects that a call read itself, and those that its arguments name."""
    read = {key for _, key in (one.label for one in memo.reads if not isinstance(one, Memo))}
    named = {getattr(argument, "key", argument) for argument in memo.call[1]}
    return {one for one in (*read, *named) if isinstance(one, Key)}


class _Tree:
    def __init__(self, exists: Callable[[str, Any], bool]) -> None:
        self._exists = exists
        self._shown: set[Memo] = set()

    def query(self, memo: Memo, depth: int) -> Reason:
        query, arguments = memo.call
        said = ", ".join(_argument(argument) for argument in arguments)
        what = f"{query.__module__.removeprefix('plait.')}.{query.__name__}({said})"
        if memo in self._shown or depth == 0:
            return Reason(what=what)
        self._shown.add(memo)
        found = []
        for read in memo.reads:
            if isinstance(read, Memo):
                below = self.query(read, depth - 1)
                if below.reads:
                    found.append(below)
            elif (row := self._row(*read.label)) is not None:
                found.append(row)
        return Reason(what=what, reads=tuple(found))

    def _row(self, name: str, key: Any) -> Reason | None:
        """A row or an index; the absence of a rejection says nothing to anybody."""
        if not isinstance(key, Key):
            table, _, index = name.partition(".")
            if not index:
                return None
            said = _argument(key)
            return Reason(what=f"{table} by {index} {said}", missing=False)
        there = self._exists(name, key)
        if name == "Conflict":
            return None
        return Reason(what=str(key), object=key, missing=not there)


def _argument(value: Any) -> str:
    """An argument as a person says it; long ones by their type alone."""
    text = value if isinstance(value, str) else str(value)
    if isinstance(value, Key) or len(text) <= 64:
        return text
    name = getattr(value, "name", "")
    return f"{type(value).__name__} {name}".strip()
