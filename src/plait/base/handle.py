"""What a query holds in its hand: the verbs by which it reads, each remembered."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

from plait.base.memo import NOTES, Call, Failed, Memo, Never
from plait.base.table import Input, Table, reader

T = TypeVar("T")


class Owner(Protocol):
    """The engine, as its queries see it."""

    tables: dict[str, Table]
    memos: dict[Call, Memo]

    def memo(self, call: Call) -> Memo:
        """The memo of a call, made if there is none."""
        ...

    def refresh(self, memo: Memo) -> None:
        """Make a memo right in this revision."""
        ...


class Query:
    """All that a query may do: read a row, read an index, call a query, report."""

    __slots__ = ("_engine", "_memos", "_tables", "notes", "reads")

    def __init__(self, engine: Owner) -> None:
        self._engine = engine
        self._memos = engine.memos
        self._tables = engine.tables
        self.reads: dict[Memo | Input, int] = {}  # how-manieth
        self.notes: list[Any] = []

    def row(self, table: str, key: Hashable) -> Any | None:
        """Return one row, or None; absence is remembered too."""
        found = self._tables[table]
        read = found.readers.get(key) or reader(found.readers, table, key)
        self.reads.setdefault(read, len(self.reads))
        return found.rows.get(key)

    def rows(self, table: str, index: str, value: Hashable) -> tuple[Any, ...]:
        """Return the rows that `index` files under `value`, in key order."""
        filing = self._tables[table].filings[index]
        read = filing.contents.get(value) or reader(filing.contents, filing.name, value)
        self.reads.setdefault(read, len(self.reads))
        bucket = filing.buckets.get(value)
        return () if bucket is None else bucket.rows()

    def keys(self, table: str, index: str, value: Hashable) -> tuple[Any, ...]:
        """Return the keys of those rows, in order; that a row was edited is no change of them."""
        filing = self._tables[table].filings[index]
        read = filing.membership.get(value) or reader(filing.membership, filing.name, value)
        self.reads.setdefault(read, len(self.reads))
        bucket = filing.buckets.get(value)
        return () if bucket is None else bucket.keys()

    def __call__(self, query: Callable[..., T], *args: Any) -> T:
        """Return another query's value: the last good one, if it fails now.

        Raises:
            QueryFailedError: it never had one.  Let it pass, or use `attempt`.
        """
        call = (query, args)
        memo = self._memos.get(call) or self._engine.memo(call)
        self.reads.setdefault(memo, len(self.reads))
        if memo.state:
            self._engine.refresh(memo)
        value: T = memo.value
        if value.__class__ is Never:
            memo.good()
        return value

    def attempt(self, query: Callable[..., T], *args: Any) -> T | Failed:
        """Return another query's value, or Failed if it never had one.

        A query that calls itself is no failure of a child: CycleError passes.
        """
        call = (query, args)
        memo = self._memos.get(call) or self._engine.memo(call)
        self.reads.setdefault(memo, len(self.reads))
        if memo.state:
            self._engine.refresh(memo)
        value: T | Failed = attempted(memo)
        return value

    def notes_of(self, query: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
        """Return what a call and all below it reported, each note once.

        A call's own notes come before those of the calls it read, in the order of its reads.
        """
        return self(_notes_below, query, *args)

    def report(self, note: Hashable) -> None:
        """Say something to the user; it lasts until this query next runs."""
        self.notes.append(note)

    def _noted(self, call: Call) -> Memo:
        memo = self._engine.memo(call)
        self.reads[memo] = NOTES
        if memo.state:
            self._engine.refresh(memo)
        return memo


def _notes_below(q: Query, query: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
    memo = q._noted((query, args))
    found = dict.fromkeys(memo.notes)
    for read in memo.reads:
        if isinstance(read, Memo):
            below, path = read.call
            notes = q(below, *path) if below is _notes_below else q(_notes_below, below, *path)
            found.update(dict.fromkeys(notes))
    return tuple(found)


def attempted(memo: Memo) -> Any:
    """The value of a memo, or Failed if it never had one."""
    value = memo.value
    return Failed(value.error) if value.__class__ is Never else value
