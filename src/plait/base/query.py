"""Keep pure functions of a set of tables up to date.

A *query* is a plain function ``f(q, *args)``.  Everything it reads goes through ``q``, so
its arguments and its recorded reads are its complete cache key: nothing can be forgotten.
The same record answers "why is this value what it is?".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

Call = tuple[Callable[..., Any], tuple[Any, ...]]  # (query, arguments)
Read = tuple[str, Hashable]  # ("Service", key) or ("Endpoint.host", "reviews.demo")
Dep = Call | Read
Index = Callable[[Any], Iterable[Hashable]]
Change = tuple[str, Hashable, Any | None]  # (kind, key, row); row None removes


@dataclass(frozen=True)
class Failed:
    """The value of an attempt at a query that never succeeded."""

    error: Exception


class CycleError(Exception):
    """A query called itself, directly or not."""


class QueryFailedError(Exception):
    """A query raised and has no earlier value; the cause is attached."""


_NOTHING = object()  # value of a query that never succeeded


@dataclass(slots=True)
class Memo:
    """The value of one call, and the record of how it came about."""

    value: Any
    deps: tuple[Dep, ...]
    notes: tuple[Any, ...]  # what the query reported: diagnostics
    changed_at: int  # revision in which `value` last became different
    verified_at: int  # revision in which `value` was last known to be right
    stale: bool = False  # something it read may have changed since
    error: Exception | None = None  # the last run failed; `value` is the last good one

    def good(self) -> Any:
        """Return the value, or raise QueryFailedError if there never was one."""
        if self.value is _NOTHING:
            raise QueryFailedError from self.error
        return self.value


@dataclass(slots=True)
class _Table:
    indexes: Mapping[str, Index]
    rows: dict[Hashable, Any] = field(default_factory=dict)
    buckets: dict[Read, dict[Hashable, Any]] = field(default_factory=lambda: defaultdict(dict))


class Engine:
    """Tables, and the memo of every query evaluated over them.  Not thread-safe."""

    def __init__(self, kinds: Mapping[str, Mapping[str, Index]]) -> None:
        self.revision = 0
        self.runs = 0
        self._tables = {kind: _Table(indexes) for kind, indexes in kinds.items()}
        self._changed_at: dict[Read, int] = {}
        self._memos: dict[Call, Memo] = {}
        self._users: defaultdict[Dep, set[Call]] = defaultdict(set)
        self._watched: set[Call] = set()
        self._running: list[Call] = []

    def commit(self, changes: Iterable[Change]) -> set[Call]:
        """Apply `changes` as one revision; return the watched calls whose value changed."""
        self.revision += 1
        touched: set[Read] = set()
        for kind, key, row in changes:
            touched |= self._put(self._tables[kind], kind, key, row)
        self._changed_at.update(dict.fromkeys(touched, self.revision))
        stale = self._mark_users(touched)
        return {c for c in self._watched & stale if self._fetch(c).changed_at == self.revision}

    def get(self, query: Callable[..., T], *args: Any) -> T:
        """Return the value of a call in the current revision."""
        value: T = self._fetch((query, args)).good()
        return value

    def watch(self, query: Callable[..., T], *args: Any) -> T:
        """Like `get`; from now on `commit` evaluates the call and reports its changes."""
        self._watched.add((query, args))
        return self.get(query, *args)

    def unwatch(self, query: Callable[..., Any], *args: Any) -> None:
        """Undo `watch`; `collect` may then forget the call."""
        self._watched.discard((query, args))

    def why(self, query: Callable[..., Any], *args: Any) -> Memo:
        """Return the record of a call: what it read, reported, and when it changed."""
        return self._memos[query, args]

    def collect(self) -> int:
        """Forget memos that no watched call needs; return how many."""
        keep: set[Dep] = set()
        todo: list[Dep] = list(self._watched)
        while todo:
            dep = todo.pop()
            if dep not in keep:
                keep.add(dep)
                memo = self._memos.get(dep)  # type: ignore[arg-type]
                todo.extend(memo.deps if memo else ())
        dead = self._memos.keys() - keep
        for call in dead:
            self._link(call, self._memos.pop(call).deps, ())
        return len(dead)

    @staticmethod
    def _put(table: _Table, kind: str, key: Hashable, row: Any | None) -> set[Read]:
        old = table.rows.get(key)
        if old == row:
            return set()
        touched: set[Read] = {(kind, key)}
        for name, values_of in table.indexes.items():
            index = f"{kind}.{name}"
            for value in () if old is None else values_of(old):
                table.buckets[index, value].pop(key, None)
                touched.add((index, value))
            for value in () if row is None else values_of(row):
                table.buckets[index, value][key] = row
                touched.add((index, value))
        if row is None:
            del table.rows[key]
        else:
            table.rows[key] = row
        return touched

    def _mark_users(self, touched: Iterable[Dep]) -> set[Call]:
        stale: set[Call] = set()
        todo = list(touched)
        while todo:
            for user in self._users.get(todo.pop(), set()) - stale:
                self._memos[user].stale = True
                stale.add(user)
                todo.append(user)
        return stale

    def _fetch(self, call: Call) -> Memo:
        memo = self._memos.get(call)
        if memo is None:
            return self._run(call, None)
        if memo.stale:
            if memo.error or any(self._newer(dep, memo.verified_at) for dep in memo.deps):
                return self._run(call, memo)
            memo.verified_at, memo.stale = self.revision, False
        return memo

    def _newer(self, dep: Dep, revision: int) -> bool:
        if isinstance(dep[0], str):
            return self._changed_at.get(dep, 0) > revision
        return self._fetch(dep).changed_at > revision

    def _run(self, call: Call, old: Memo | None) -> Memo:
        if call in self._running:
            raise CycleError(call)
        self.runs += 1
        self._running.append(call)
        q, error = Query(self), None
        try:
            value = call[0](q, *call[1])
        except Exception as exc:  # noqa: BLE001 - a bug costs freshness, never what is in force
            value, error = old.value if old else _NOTHING, exc
        finally:
            self._running.pop()
        same = old is not None and old.value == value
        memo = Memo(
            value=old.value if old and same else value,
            deps=tuple(q.deps),
            notes=tuple(q.notes),
            changed_at=old.changed_at if old and same else self.revision,
            verified_at=self.revision,
            error=error,
        )
        self._link(call, old.deps if old else (), memo.deps)
        self._memos[call] = memo
        return memo

    def _link(self, call: Call, old: tuple[Dep, ...], new: tuple[Dep, ...]) -> None:
        for dep in set(old) - set(new):
            self._users[dep].discard(call)
            if not self._users[dep]:
                del self._users[dep]
        for dep in new:
            self._users[dep].add(call)


class Query:
    """All that a query may do: read a row, read an index, call a query, report."""

    __slots__ = ("_engine", "deps", "notes")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.deps: dict[Dep, None] = {}
        self.notes: list[Any] = []

    def row(self, kind: str, key: Hashable) -> Any | None:
        """Return one row, or None; absence is remembered too."""
        self.deps[kind, key] = None
        return self._engine._tables[kind].rows.get(key)

    def rows(self, kind: str, index: str, value: Hashable) -> list[Any]:
        """Return the rows that `index` files under `value`, in key order."""
        name = f"{kind}.{index}"
        self.deps[name, value] = None
        bucket = self._engine._tables[kind].buckets.get((name, value), {})
        return [bucket[key] for key in sorted(bucket)]  # type: ignore[type-var]

    def __call__(self, query: Callable[..., T], *args: Any) -> T:
        """Return another query's value."""
        self.deps[query, args] = None
        value: T = self._engine._fetch((query, args)).good()
        return value

    def keys(self, kind: str, index: str, value: Hashable) -> tuple[Any, ...]:
        """Keys filed under `value`, in order; only a change of membership counts as a change."""
        return tuple(row.key for row in self.rows(kind, index, value))

    def attempt(self, query: Callable[..., T], *args: Any) -> T | Failed:
        """Another query's value, or `Failed` if it never had one."""
        try:
            return self(query, *args)
        except QueryFailedError as error:
            return Failed(error)

    def notes_of(self, query: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
        """What a call and those below it reported."""
        self.attempt(query, *args)
        return self._engine._memos[query, args].notes

    def report(self, note: Any) -> None:
        """Say something to the user; it lasts until this query next runs."""
        self.notes.append(note)
