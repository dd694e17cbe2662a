"""Random histories of a small mesh of queries, against an engine that starts afresh.

What is watched has, whenever a drain is done, the value and the notes that a fresh engine finds
in the same rows; and what was reported is exactly what changed.  A fresh engine has no last good
values, so for calls that fail it borrows those that the engine under test has seen.

``PLAIT_SEED=n`` begins with history n; ``PLAIT_LONG=1`` plays more of them.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

from plait.base.query import Call, Engine, Query, QueryFailedError
from tests.support import scale

KEYS = range(12)
GROUPS = ("a", "b", "c")
Row = tuple[int, str, int]  # number, group, key of another row

good: dict[Call, Any] = {}  # last good values in the engine under test
borrowing = False  # whether a fresh engine runs


def remembered(query: Callable[..., Any]) -> Callable[..., Any]:
    """A query whose failures a fresh engine answers with the last good value."""

    @functools.wraps(query)
    def run(q: Query, *args: Any) -> Any:
        call = (run, args)
        try:
            value = query(q, *args)
        except Exception:
            if borrowing and call in good:
                return good[call]
            raise
        if not borrowing:
            good[call] = value
        return value

    return run


@remembered
def leaf(q: Query, key: int) -> int:
    row = q.row("Row", key)
    if row is None:
        return -1
    number = int(row[0])
    if number % 5 == 0:
        q.report(("fives", number // 10))
    if number % 7 == 3:
        raise ValueError(f"row {key} is {number}")
    return number


@remembered
def halved(q: Query, key: int) -> int:
    return int(q(leaf, key)) // 4


@remembered
def chain(q: Query, key: int, depth: int) -> int:
    row = q.row("Row", key)
    if row is None or depth == 0:
        return int(key)
    return int(q(chain, row[2], depth - 1)) + int(q(halved, key))


@remembered
def caught(q: Query, key: int) -> int:
    try:
        return int(q(chain, key, 2))
    except QueryFailedError:
        q.report(("caught", key))
        return -7


@remembered
def switch(q: Query, key: int) -> Any:
    if q(halved, key) % 2:
        return q.attempt(leaf, (key + 1) % len(KEYS))
    return q(caught, (key + 5) % len(KEYS)), q.attempt(chain, key, 3)


@remembered
def total(q: Query, group: str) -> int:
    found = sum(int(row[0]) for row in q.rows("Row", "group", group))
    if found % 11 == 4:
        raise ArithmeticError(f"total of {group} is {found}")
    return found // 3


@remembered
def join(q: Query, group: str) -> Any:
    return tuple(q.attempt(halved, key) for key in q.keys("Row", "group", group))


@remembered
def switches(q: Query, group: str) -> Any:
    return tuple(q.attempt(switch, key) for key in q.keys("Row", "group", group))


@remembered
def top(q: Query) -> Any:
    q.report(len(q.keys("Row", "group", "a")) // 3)
    return tuple((q.attempt(total, group), q(join, group)) for group in GROUPS)


@remembered
def status(q: Query, group: str) -> Any:
    return q.notes_of(join, group), q.notes_of(switches, group)


@remembered
def summary(q: Query) -> Any:
    return q.notes_of(top) + tuple(len(q(status, group)) for group in GROUPS)


@remembered
def everything(q: Query) -> Any:
    return q.notes_of(summary)


CALLS: list[Call] = [
    *[(query, (key,)) for key in KEYS for query in (leaf, halved, caught, switch)],
    *[(chain, (key, depth)) for key in KEYS for depth in (1, 3)],
    *[(query, (group,)) for group in GROUPS for query in (total, join, switches, status)],
    *[(query, ()) for query in (top, summary, everything)],
]


def groups(row: Row) -> tuple[str]:
    if row[1] == "unreadable":
        raise LookupError(row[1])
    return (row[1],)


def new_engine() -> Engine:
    return Engine({"Row": {"group": groups}})


class History:
    """One random history: an engine, the rows it was given, and what its watchers were told."""

    def __init__(self, number: int) -> None:
        self.random = random.Random(number)
        self.engine = new_engine()
        self.rows: dict[int, Row] = {}
        self.counts: dict[Call, int] = {}
        self.told: dict[Call, Any] = {}
        self.told_notes: dict[Call, Any] = {}
        self.failing: set[Call] = set()
        self.reports = 0
        good.clear()

    def play(self, steps: int) -> None:
        """Take random steps, and leave nothing behind."""
        actions = [
            *[self.commit] * 8,
            *[self.apply] * 4,
            *[self.drain_some] * 6,
            *[self.get] * 3,
            *[self.watch] * 3,
            *[self.watch_soon] * 2,
            *[self.unwatch] * 3,
            *[self.collect] * 3,
            self.apply_unreadable,
        ]
        for _ in range(10):
            self.apply()
            self.watch()
        for _ in range(steps):
            self.random.choice(actions)()
        self.commit()
        self.leave()

    def row(self) -> Row:
        return (
            self.random.randrange(40),
            self.random.choice(GROUPS),
            self.random.choice(KEYS),
        )

    def apply(self) -> None:
        for key in self.random.choices(KEYS, k=self.random.choice((1, 1, 1, 2, 4))):
            if self.random.random() < 0.2:
                self.rows.pop(key, None)
            elif key in self.rows and self.random.random() < 0.5:
                self.rows[key] = (self.random.randrange(40), *self.rows[key][1:])
            else:
                self.rows[key] = self.row()
        self.engine.apply([("Row", key, self.rows.get(key)) for key in KEYS])

    def apply_unreadable(self) -> None:
        revision = self.engine.revision
        try:
            self.engine.apply([("Row", 0, self.row()), ("Row", 1, (1, "unreadable", 1))])
        except LookupError:
            assert revision == self.engine.revision
        else:
            raise AssertionError("an unreadable row was taken")

    def drain_some(self) -> None:
        self.drain(0.0)

    def commit(self) -> None:
        self.apply()
        self.drain(None)

    def drain(self, budget: float | None) -> None:
        drained = self.engine.drain(budget)
        for call in drained.values:
            value = self.engine.attempt(call[0], *call[1])
            assert value != self.told[call], f"{call} was reported and is the same"
            self.told[call] = value
        for call in drained.notes:
            notes = self.engine.why(call[0], *call[1]).notes
            assert notes != self.told_notes[call], f"{call} has the notes it had"
            self.told_notes[call] = notes
        self.reports += len(drained.values)
        failing = set(self.engine.failures())
        assert failing ^ self.failing <= drained.failures
        self.failing = failing
        if drained.done:
            self.check(list(self.counts))

    def check(self, calls: list[Call]) -> None:
        """Watchers were told what a fresh engine finds."""
        for call, (value, notes) in self.truth(calls).items():
            assert value == self.told[call], f"{call} changed and was not reported"
            assert notes == self.told_notes[call], f"notes of {call}"

    def truth(self, calls: list[Call]) -> dict[Call, tuple[Any, Any]]:
        """Value and notes of calls, in the eyes of a fresh engine."""
        global borrowing
        fresh = new_engine()
        fresh.apply([("Row", key, row) for key, row in self.rows.items()])
        borrowing = True
        try:
            return {
                (query, args): (fresh.attempt(query, *args), fresh.why(query, *args).notes)
                for query, args in calls
            }
        finally:
            borrowing = False

    def get(self) -> None:
        call = self.random.choice(CALLS)
        value = self.engine.attempt(call[0], *call[1])
        notes = self.engine.why(call[0], *call[1]).notes
        assert (value, notes) == self.truth([call])[call]

    def watch(self) -> None:
        call = query, args = self.random.choice(CALLS)
        try:
            self.engine.watch(query, *args)
        except QueryFailedError:
            assert self.engine.why(query, *args).error is not None
        if call not in self.counts:
            self.told[call] = self.engine.attempt(query, *args)
            self.told_notes[call] = self.engine.why(query, *args).notes
        self.counts[call] = self.counts.get(call, 0) + 1

    def watch_soon(self) -> None:
        call = query, args = self.random.choice(CALLS)
        self.engine.watch_soon(query, *args)
        self.told[call] = object()
        if call not in self.counts:
            self.told_notes[call] = ()
        self.counts[call] = self.counts.get(call, 0) + 1

    def unwatch(self) -> None:
        if self.counts:
            query, args = call = self.random.choice(list(self.counts))
            self.engine.unwatch(query, *args)
            self.counts[call] -= 1
            if not self.counts[call]:
                del self.counts[call]

    def collect(self) -> None:
        self.engine.collect(self.random.choice((0.0, 0.0, None)))
        for call in [call for call in good if call not in self.engine.memos]:
            del good[call]

    def leave(self) -> None:
        """Without watchers nothing is kept."""
        for (query, args), count in self.counts.items():
            for _ in range(count):
                self.engine.unwatch(query, *args)
        self.engine.collect()
        table = self.engine.tables["Row"]
        filing = table.filings["group"]
        assert len(self.engine) == 0
        assert (table.readers, filing.contents, filing.membership) == ({}, {}, {})
        assert tuple(self.engine.drain()) == (set(), set(), True, self.failing)


def test_random_histories_agree_with_a_fresh_engine():
    first = scale.seed()
    numbers = range(first, first + scale.count(40, 250))
    reports = 0

    for number in numbers:
        history = History(number)
        try:
            history.play(60)
        except Exception as error:
            raise AssertionError(f"history {number} (PLAIT_SEED={number}): {error!r}") from error
        reports += history.reports

    print(f"histories {first} to {numbers[-1]}: {reports} changes reported")
    assert reports > 0
