"""Keep pure functions of a set of tables up to date.

A *query* is a plain function ``f(q, *args)``.  Everything it reads goes through ``q``, so
its arguments and its recorded reads are its complete cache key: nothing can be forgotten.
The same record answers "why is this value what it is?".

Changes travel in two waves.  `Engine.apply` marks downwards: who read a changed row must run
again (dirty), who read such a call may have to (suspect), and remembers which of its reads is
suspect.  `Engine.drain` pulls upwards: a suspect call looks at its suspect reads only, in the
order in which it read them, and runs if one has a new value; so an equal value ends the wave,
and a read that an earlier change made obsolete is never evaluated.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from plait.base.handle import Query, attempted
from plait.base.memo import (
    BUSY,
    DIRTY,
    FRESH,
    NOTES,
    SUSPECT,
    UNSET,
    Call,
    CycleError,
    Dep,
    Failed,
    Memo,
    Never,
    QueryFailedError,
    Watch,
    same,
    show,
    stripped,
)
from plait.base.slices import Pause, Slice
from plait.base.table import Index, Input, Read, Step, Table

__all__ = [
    "Call",
    "Change",
    "CycleError",
    "Dep",
    "Drained",
    "Engine",
    "Failed",
    "Memo",
    "Query",
    "QueryFailedError",
    "Read",
    "show",
]

T = TypeVar("T")

Change = tuple[str, Hashable, Any | None]  # (table, key, row); row None removes


class Drained(NamedTuple):
    """What a drain found; each change is reported once, by the drain that comes first to it.

    Attributes:
        values: watched calls whose value is not the one last reported.
        notes: watched calls that themselves reported other notes than before.
        done: nothing is left to evaluate.
        failures: calls, watched or not, that failed newly or otherwise than before, or recovered.
    """

    values: frozenset[Call]
    notes: frozenset[Call]
    done: bool
    failures: frozenset[Call] = frozenset()


class Engine:
    """Tables, and the memo of every query evaluated over them.  Not thread-safe.

    Attributes:
        revision: how many batches of changes were applied.
        runs: how often each query function ran.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Index]]) -> None:
        self.revision = 0
        self.runs: Counter[Callable[..., Any]] = Counter()
        self.tables = {name: Table(name, indexes) for name, indexes in tables.items()}
        self.memos: dict[Call, Memo] = {}
        self._pending: dict[Memo, None] = {}  # watched, and perhaps not as last reported
        self._idle: dict[Memo | Input, None] = {}  # lost a reader or watcher, perhaps the last
        self._failing: dict[Call, Exception] = {}
        self._failures: set[Call] = set()  # calls in which `_failing` changed since it was told
        self._stack: list[Memo] = []
        self._slice: Slice | None = None  # None: evaluations are not paused
        self._paused: dict[Memo, set[Memo | Input]] = {}  # with what they had read

    def apply(self, changes: Iterable[Change]) -> None:
        """Make the changes as one revision; of several to one row the last counts.

        Raises whatever an index function or a comparison raises, with nothing changed.
        """
        latest = {(table, key): row for table, key, row in changes}
        steps: list[Step] = []
        for (table, key), row in latest.items():
            step = self.tables[table].plan(key, row)
            if step is not None:
                steps.append(step)
        self.revision += 1
        for step in steps:
            self._mark(step.take())

    def drain(self, budget: float | None = None) -> Drained:
        """Evaluate watched calls that may have changed, for about `budget` seconds (None: all).

        Something is evaluated in any case.  A call that takes much longer is paused between two
        of the calls it makes, and run again by the next drain, which finds those done.  `apply`
        and `get` are welcome between drains that are not done.
        """
        values: set[Call] = set()
        notes: set[Call] = set()
        self._slice = None if budget is None else Slice(budget, resumes=bool(self._paused))
        try:
            while self._pending and not (self._slice and self._slice.is_over()):
                memo = next(iter(self._pending))
                if memo.state:
                    self.refresh(memo)
                elif self._slice:
                    self._slice.note()
                del self._pending[memo]
                self._tell(memo, values, notes)
        except Pause:
            pass
        finally:
            self._slice = None
        failures, self._failures = frozenset(self._failures), set()
        return Drained(frozenset(values), frozenset(notes), not self._pending, failures)

    def commit(self, changes: Iterable[Change]) -> frozenset[Call]:
        """Apply and drain all; return the watched calls whose value changed."""
        self.apply(changes)
        return self.drain().values

    def get(self, query: Callable[..., T], *args: Any) -> T:
        """Return the value of a call in the current revision.

        Raises:
            QueryFailedError: it never had one.
        """
        value: T = self.why(query, *args).good()
        return value

    def attempt(self, query: Callable[..., T], *args: Any) -> T | Failed:
        """Return the value of a call in the current revision, or Failed if it never had one."""
        value: T | Failed = attempted(self.why(query, *args))
        return value

    def watch(self, query: Callable[..., T], *args: Any) -> T:
        """Like `get`; from now on `drain` reports when the value is no longer the one returned.

        Watches are counted.  A call that fails here is watched all the same: its recovery is
        reported.
        """
        memo = self.why(query, *args)
        if memo.watch is None:
            watch = self._watch(memo)
            watch.value, watch.notes = memo.value, memo.notes
        else:
            memo.watch.count += 1
        value: T = memo.good()
        return value

    def watch_soon(self, query: Callable[..., Any], *args: Any) -> None:
        """Watch a call without evaluating it; the next drain does, and reports it as changed."""
        memo = self.memo((query, args))
        watch = memo.watch
        if watch is None:
            watch = self._watch(memo)
        else:
            watch.count += 1
        watch.value = UNSET
        self._pending[memo] = None

    def unwatch(self, query: Callable[..., Any], *args: Any) -> None:
        """Undo one `watch`; after the last, `collect` may forget the call.

        Raises:
            KeyError: nobody watches the call.
        """
        memo = self.memos.get((query, args))
        if memo is None or memo.watch is None:
            raise KeyError(show((query, args)))
        memo.watch.count -= 1
        if not memo.watch.count:
            memo.watch = None
            self._pending.pop(memo, None)
            self._idle[memo] = None

    def why(self, query: Callable[..., Any], *args: Any) -> Memo:
        """Return the record of a call: what it read, reported, and when it changed."""
        memo = self.memo((query, args))
        if memo.state:
            self.refresh(memo)
        if not memo.is_used and memo.watch is None:
            self._idle[memo] = None
        return memo

    def failures(self) -> Mapping[Call, Exception]:
        """Calls whose last run failed, whether or not an earlier value is in force."""
        return dict(self._failing)

    def collect(self, budget: float | None = None) -> int:
        """Forget memos that nobody watches or reads, for about `budget` seconds (None: all).

        Returns how many it forgot; 0 if none is left.
        """
        deadline = None if budget is None else time.perf_counter() + budget
        forgotten = 0
        while self._idle:
            node, _ = self._idle.popitem()
            if node.is_used:
                continue
            if isinstance(node, Input):
                del node.home[node.key]
            elif node.watch is None:
                self._forget(node)
                forgotten += 1
            if deadline is not None and time.perf_counter() >= deadline:
                break
        return forgotten

    def is_read(self, table: str, key: Hashable) -> bool:
        """Whether any call read this row, or that there is none."""
        read = self.tables[table].readers.get(key)
        return read is not None and read.is_used

    def __len__(self) -> int:
        """How many memos there are."""
        return len(self.memos)

    def memo(self, call: Call) -> Memo:
        """The memo of a call, made if there is none; for `Query` alone."""
        memo = self.memos.get(call)
        if memo is None:
            memo = self.memos[call] = Memo(call)
        return memo

    def _watch(self, memo: Memo) -> Watch:
        memo.watch = watch = Watch()
        watch.count = 1
        return watch

    def _tell(self, memo: Memo, values: set[Call], notes: set[Call]) -> None:
        watch = memo.watch
        if watch is None:
            return
        if watch.value is not memo.value and (watch.value is UNSET or watch.value != memo.value):
            values.add(memo.call)
        if watch.notes != memo.notes:
            notes.add(memo.call)
        watch.value, watch.notes = memo.value, memo.notes

    def _mark(self, touched: Iterable[Input]) -> None:
        todo: list[Memo] = []
        for read in touched:
            for memo, _ in read.users():
                if memo.state == FRESH:
                    todo.append(memo)
                memo.state = DIRTY
        while todo:
            memo = todo.pop()
            if memo.watch is not None:
                self._pending[memo] = None
            for user, place in memo.users():
                if user.state == FRESH:
                    user.state = SUSPECT
                    todo.append(user)
                if user.state == SUSPECT:
                    if user.suspects is None:
                        user.suspects = {}
                    user.suspects[memo] = place

    def refresh(self, memo: Memo) -> None:
        """Make a memo right in this revision; for `Query` alone."""
        if memo.state == BUSY:
            start = self._stack.index(memo)
            raise CycleError((*(m.call for m in self._stack[start:]), memo.call))
        if self._slice and self._slice.is_long_over():
            raise Pause
        verify = memo.state == SUSPECT
        memo.state = BUSY
        self._stack.append(memo)
        try:
            if not verify or self._is_outdated(memo):
                self._run(memo)
            memo.state = FRESH
        finally:
            self._stack.pop()
            if memo.state == BUSY:  # interrupted by what is no Exception
                memo.state = DIRTY
        memo.suspects = None
        memo.verified_at = self.revision
        if self._slice:
            self._slice.note()

    def _is_outdated(self, memo: Memo) -> bool:
        suspects = memo.suspects or {}
        for read, place in sorted(suspects.items(), key=_place):
            if read.state == BUSY:
                return True  # a cycle: running finds and names it
            if read.state:
                self.refresh(read)
            if (read.noted_at if place == NOTES else read.changed_at) > memo.verified_at:
                return True
        return False

    def _run(self, memo: Memo) -> None:
        query, args = memo.call
        self.runs[query] += 1
        q = Query(self)
        error = None
        try:
            value = query(q, *args)
            if value == memo.value:
                value = memo.value
        except Exception as exc:  # noqa: BLE001 - a bug costs freshness, never what is in force
            error, value = stripped(exc), memo.value
            if value is UNSET or (value.__class__ is Never and not same(value.error, exc)):
                value = Never(exc)
        except Pause:
            self._paused.setdefault(memo, set()).update(q.reads)
            raise
        if error is not None or memo.error is not None:
            self._fail(memo, error)
        if value is not memo.value:
            memo.value, memo.changed_at = value, self.revision
        self._link(memo, q)
        if self._paused:
            self._resumed(memo)

    def _fail(self, memo: Memo, error: Exception | None) -> None:
        old, memo.error = memo.error, error
        if error is None:
            self._failing.pop(memo.call, None)
        else:
            self._failing[memo.call] = error
        if error is None or old is None or not same(old, error):
            self._failures.add(memo.call)

    def _resumed(self, memo: Memo) -> None:
        """What it read before a pause and does not read after all may be forgotten."""
        for read in self._paused.pop(memo, ()):
            if not read.is_used and self._is_known(read):
                self._idle[read] = None

    def _is_known(self, node: Memo | Input) -> bool:
        """Whether it was not forgotten meanwhile."""
        if isinstance(node, Input):
            return node.home.get(node.key) is node
        return self.memos.get(node.call) is node

    def _link(self, memo: Memo, q: Query) -> None:
        notes, old, new = tuple(q.notes), memo.reads, tuple(q.reads)
        if notes != memo.notes:
            memo.notes, memo.noted_at = notes, self.revision
        if new == old:
            return
        memo.reads, memo.noted_at = new, self.revision
        for read, place in q.reads.items():
            read.add(memo, place)
        for read in old:
            if read not in q.reads:
                self._release(read, memo)

    def _release(self, read: Memo | Input, user: Memo) -> None:
        read.discard(user)
        if not read.is_used:
            self._idle[read] = None

    def _forget(self, memo: Memo) -> None:
        del self.memos[memo.call]
        self._resumed(memo)
        if self._failing.pop(memo.call, None) is not None:
            self._failures.add(memo.call)
        for read in memo.reads:
            self._release(read, memo)


def _place(suspect: tuple[Memo, int]) -> int:
    return suspect[1]
