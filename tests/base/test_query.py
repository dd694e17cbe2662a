"""The query engine: what runs, what is reported, what survives a failure, what is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from plait.base.query import (
    CycleError,
    Engine,
    Failed,
    Query,
    QueryFailedError,
)


class Row:
    """A row that is filed under its group."""

    def __init__(self, number: int, group: str = "g") -> None:
        self.number, self.group = number, group

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.number, self.group))


def groups(row: Row) -> tuple[str]:
    if row.group == "unreadable":
        raise ValueError(row.group)
    return (row.group,)


def engine_of(**numbers: int) -> Engine:
    engine = Engine({"Row": {"group": groups}, "Flag": {}})
    engine.apply([put(key, number) for key, number in numbers.items()])
    return engine


def put(key: str, number: int, group: str = "g") -> tuple[str, str, Row]:
    return ("Row", key, Row(number, group))


def drop(key: str) -> tuple[str, str, None]:
    return ("Row", key, None)


def number(q: Query, key: str) -> int:
    row = q.row("Row", key)
    return 0 if row is None else row.number


def checked(q: Query, key: str) -> int:
    """Fails on negative numbers."""
    found = q(number, key)
    if found < 0:
        raise ValueError(f"{key} is negative")
    return found


def is_even(q: Query, key: str) -> bool:
    return q(number, key) % 2 == 0


def parity(q: Query, key: str) -> str:
    return "even" if q(is_even, key) else "odd"


def members(q: Query) -> tuple[str, ...]:
    return q.keys("Row", "group", "g")


def numbers(q: Query) -> tuple[int, ...]:
    return tuple(row.number for row in q.rows("Row", "group", "g"))


def joined(q: Query) -> tuple[int | Failed, ...]:
    return tuple(q.attempt(checked, key) for key in q.keys("Row", "group", "g"))


def complaining(q: Query, key: str) -> None:
    found = q(number, key)
    if found > 9:
        q.report(f"{key} is large")
    if found < 0:
        q.report("something is negative")


def complaints(q: Query) -> None:
    q.report("own")
    for key in q.keys("Row", "group", "g"):
        q(complaining, key)


def status(q: Query) -> tuple[Any, ...]:
    return q.notes_of(complaints)


# What runs


def test_an_equal_value_ends_the_wave():
    engine = engine_of(a=1)
    engine.watch(parity, "a")

    changed = engine.commit([put("a", 3)])

    assert changed == set()
    assert engine.runs == {number: 2, is_even: 2, parity: 1}


def test_a_different_value_is_reported_and_read():
    engine = engine_of(a=1)
    engine.watch(parity, "a")

    changed = engine.commit([put("a", 2)])

    assert changed == {(parity, ("a",))}
    assert engine.get(parity, "a") == "even"


def test_an_equal_row_changes_nothing():
    engine = engine_of(a=1)
    engine.watch(parity, "a")
    engine.runs.clear()

    assert engine.commit([put("a", 1)]) == set()
    assert engine.runs == {}


def test_the_last_of_several_changes_to_one_row_counts():
    engine = engine_of(a=1)

    engine.apply([put("a", 2), drop("a"), put("a", 3), drop("b"), put("c", 1), drop("c")])

    assert engine.get(number, "a") == 3
    assert engine.get(members) == ("a",)


def test_a_row_that_is_missing_is_a_read_too():
    engine = engine_of()
    engine.watch(number, "a")

    assert engine.commit([put("a", 1)]) == {(number, ("a",))}
    assert engine.commit([drop("a")]) == {(number, ("a",))}


def test_rows_and_keys_come_in_the_order_of_their_keys():
    engine = engine_of(c=3, a=1)
    engine.watch(members)
    engine.watch(numbers)

    engine.commit([put("b", 2), put("a", 9)])

    assert engine.get(members) == ("a", "b", "c")
    assert engine.get(numbers) == (9, 2, 3)


def test_keys_depend_on_membership_alone():
    engine = engine_of(a=1)
    engine.watch(members)
    engine.watch(numbers)

    assert engine.commit([put("a", 2)]) == {(numbers, ())}
    assert engine.runs[members] == 1
    assert engine.commit([put("b", 2)]) == {(numbers, ()), (members, ())}
    assert engine.commit([put("b", 2, group="other")]) == {(numbers, ()), (members, ())}
    assert engine.commit([drop("b")]) == set()


def test_verification_looks_at_the_suspect_read_alone():
    asked: list[str] = []

    class Counted(str):
        __slots__ = ()

        def __hash__(self) -> int:
            asked.append(str(self))
            return str.__hash__(self)

        __eq__ = str.__eq__

    keys = [Counted(i) for i in range(1_000)]
    engine = Engine({"Row": {"group": groups}})
    engine.apply([put(key, 1) for key in keys])

    def evens(q: Query) -> tuple[bool, ...]:
        return tuple([q(is_even, key) for key in keys])

    engine.watch(evens)
    asked.clear()
    engine.commit([put(Counted(7), 3)])

    assert set(asked) == {"7"}
    assert engine.runs[evens] == 1


@pytest.mark.parametrize("order", [1, -1])
def test_a_read_that_an_earlier_change_made_obsolete_is_not_evaluated(order: int):
    def chosen(q: Query) -> int:
        return q(checked, "a") if q(is_even, "switch") else 0

    engine = engine_of(switch=2, a=1)
    engine.watch(chosen)

    changed = engine.commit([put("a", -1), put("switch", 1)][::order])

    assert changed == {(chosen, ())}
    assert engine.failures() == {}
    assert engine.runs[checked] == 1


def test_a_chain_of_queries_verifies_and_runs():
    def chain(q: Query, length: int) -> int:
        return q(chain, length - 1) if length else q(number, "a")

    engine = engine_of(a=1)

    assert engine.watch(chain, 120) == 1
    assert engine.commit([put("a", 2)]) == {(chain, (120,))}
    assert engine.runs[chain] == 242


# Failures


def test_one_failing_child_never_takes_the_join_with_it():
    engine = engine_of(a=1, b=-1)

    value = engine.watch(joined)

    assert value == (1, Failed(ValueError("b is negative")))


def test_a_query_that_never_succeeded_recovers():
    engine = engine_of(b=-1)
    engine.watch(joined)

    changed = engine.commit([put("b", 2)])

    assert changed == {(joined, ())}
    assert engine.get(joined) == (2,)
    assert engine.failures() == {}


def test_a_failure_later_keeps_the_last_good_value():
    engine = engine_of(a=1)
    engine.watch(joined)

    changed = engine.commit([put("a", -1)])

    assert changed == set()
    assert engine.get(joined) == (1,)
    assert engine.get(checked, "a") == 1
    assert isinstance(engine.why(checked, "a").error, ValueError)
    assert engine.failures().keys() == {(checked, ("a",))}


def test_a_recovery_to_the_last_good_value_is_no_change():
    engine = engine_of(a=1)
    engine.watch(joined)
    engine.commit([put("a", -1)])

    assert engine.commit([put("a", 1)]) == set()
    assert engine.failures() == {}
    assert engine.why(checked, "a").error is None


def test_the_same_failure_again_is_no_change():
    engine = engine_of(a=-1)
    engine.watch(joined)

    assert engine.commit([put("a", -2)]) == set()
    assert engine.runs[joined] == 1


def test_another_failure_is_a_change():
    def cause(q: Query) -> str:
        found = q.attempt(moody)
        return str(found.error) if isinstance(found, Failed) else ""

    def moody(q: Query) -> int:
        raise ValueError(q(number, "a"))

    engine = engine_of(a=1)
    engine.watch(cause)

    assert engine.commit([put("a", 2)]) == {(cause, ())}
    assert engine.get(cause) == "2"


def test_a_query_may_return_the_failure_of_another():
    def passed_on(q: Query, key: str) -> int | Failed:
        return q.attempt(checked, key)

    def above(q: Query) -> bool:
        return isinstance(q(passed_on, "a"), Failed)

    engine = engine_of(a=-1)

    assert engine.get(above) is True
    assert engine.failures().keys() == {(checked, ("a",))}


def test_a_failure_names_the_call_that_raised():
    def caller(q: Query) -> int:
        return q(checked, "a")

    engine = engine_of(a=-1)

    with pytest.raises(QueryFailedError, match=r"^checked\('a'\) failed: ValueError") as caught:
        engine.get(caller)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_drain_tells_who_began_to_fail_and_who_recovered():
    engine = engine_of(a=1, b=1)
    engine.watch(joined)
    engine.drain()

    engine.apply([put("a", -1)])
    assert engine.drain().failures == {(checked, ("a",))}
    engine.apply([put("b", 2)])
    assert engine.drain().failures == set()
    engine.apply([put("a", 1)])
    assert engine.drain().failures == {(checked, ("a",))}


def test_a_call_that_fails_when_it_is_watched_is_reported_when_it_recovers():
    engine = engine_of(a=-1)
    with pytest.raises(QueryFailedError):
        engine.watch(checked, "a")

    assert engine.commit([put("a", 1)]) == {(checked, ("a",))}


def test_a_cycle_names_its_calls():
    def here(q: Query) -> int:
        return q(there)

    def there(q: Query) -> int:
        return q(here)

    engine = engine_of()

    with pytest.raises(CycleError) as caught:
        engine.get(here)
    assert caught.value.calls == ((here, ()), (there, ()), (here, ()))


def test_a_cycle_ends_when_its_cause_goes():
    def here(q: Query) -> int:
        return q(there)

    def there(q: Query) -> int:
        return q(number, "a") or q(here)

    engine = engine_of()
    with pytest.raises(CycleError):
        engine.watch(here)

    assert engine.commit([put("a", 5)]) == {(here, ())}
    assert engine.get(there) == 5


def test_what_is_no_exception_passes_and_leaves_the_call_to_run_again():
    def impatient(q: Query) -> int:
        if q(number, "a") == 0:
            raise KeyboardInterrupt
        return 1

    engine = engine_of()
    with pytest.raises(KeyboardInterrupt):
        engine.get(impatient)
    engine.apply([put("a", 1)])

    assert engine.get(impatient) == 1


# Applying


def test_an_index_that_raises_leaves_everything_as_it_was():
    engine = engine_of(a=1)
    engine.watch(numbers)
    revision = engine.revision

    with pytest.raises(ValueError, match="unreadable"):
        engine.commit([put("b", 2), put("c", 3, group="unreadable")])

    assert engine.revision == revision
    assert engine.get(numbers) == (1,)
    assert engine.commit([put("b", 2)]) == {(numbers, ())}


def test_an_unknown_table_leaves_everything_as_it_was():
    engine = engine_of(a=1)

    with pytest.raises(KeyError):
        engine.apply([put("b", 2), ("Nothing", "x", 1)])

    assert engine.get(members) == ("a",)


# Draining


def watched(engine: Engine, *keys: str) -> None:
    for key in keys:
        engine.watch(number, key)


def test_a_drain_without_budget_evaluates_one_call_at_a_time():
    engine = engine_of(a=1, b=1, c=1)
    watched(engine, "a", "b", "c")
    engine.apply([put("a", 2), put("b", 2), put("c", 1)])

    slices = [engine.drain(0), engine.drain(0)]

    assert [len(s.values) for s in slices] == [1, 1]
    assert [s.done for s in slices] == [False, True]
    assert slices[0].values | slices[1].values == {(number, ("a",)), (number, ("b",))}


def test_what_a_get_evaluated_between_slices_is_still_reported():
    engine = engine_of(a=1, b=1)
    watched(engine, "a", "b")
    engine.apply([put("a", 2), put("b", 2)])
    first = engine.drain(0).values

    assert [engine.get(number, key) for key in "ab"] == [2, 2]

    assert first | engine.drain().values == {(number, ("a",)), (number, ("b",))}


def test_an_apply_between_slices_merges_with_what_is_left():
    engine = engine_of(a=1, b=1)
    watched(engine, "a", "b")
    engine.apply([put("a", 2), put("b", 2)])
    first = engine.drain(0)

    engine.apply([put("a", 3)])
    second = engine.drain()

    assert second.done
    assert first.values == {(number, ("a",))}
    assert second.values == {(number, ("a",)), (number, ("b",))}


def test_a_value_that_came_back_before_it_was_reported_is_no_change():
    engine = engine_of(a=1)
    watched(engine, "a")
    engine.apply([put("a", 2)])
    assert engine.get(number, "a") == 2
    engine.apply([put("a", 1)])

    assert engine.drain().values == set()


# Watching


def test_watches_are_counted():
    engine = engine_of(a=1)
    engine.watch(number, "a")
    engine.watch(number, "a")
    engine.unwatch(number, "a")

    assert engine.commit([put("a", 2)]) == {(number, ("a",))}
    engine.unwatch(number, "a")
    assert engine.commit([put("a", 3)]) == set()
    with pytest.raises(KeyError, match="number"):
        engine.unwatch(number, "a")


def test_a_second_watcher_does_not_take_the_report_from_the_first():
    engine = engine_of(a=1)
    engine.watch(number, "a")
    engine.apply([put("a", 2)])

    assert engine.watch(number, "a") == 2
    assert engine.drain().values == {(number, ("a",))}


def test_a_call_watched_soon_is_evaluated_and_reported_by_the_next_drain():
    engine = engine_of(a=1)

    engine.watch_soon(number, "a")
    assert engine.runs == {}

    assert engine.drain().values == {(number, ("a",))}
    assert engine.runs == {number: 1}
    assert engine.drain().values == set()
    assert engine.commit([put("a", 2)]) == {(number, ("a",))}


def test_a_watched_call_that_is_watched_soon_is_reported_again():
    engine = engine_of(a=1)
    engine.watch(number, "a")

    engine.watch_soon(number, "a")

    assert engine.drain().values == {(number, ("a",))}
    assert engine.runs == {number: 1}


def test_a_call_watched_soon_that_fails_is_reported():
    engine = engine_of(a=-1)

    engine.watch_soon(checked, "a")

    assert engine.drain().values == {(checked, ("a",))}
    assert engine.attempt(checked, "a") == Failed(ValueError("a is negative"))


def test_a_call_unwatched_before_it_was_evaluated_never_runs():
    engine = engine_of(a=1)
    engine.watch_soon(number, "a")
    engine.unwatch(number, "a")

    assert engine.drain().values == set()
    assert engine.collect() == 1
    assert engine.runs == {}


# Notes


def test_notes_are_gathered_from_a_call_and_all_below_it():
    engine = engine_of(a=10, b=-1, c=-1)

    assert engine.watch(status) == ("own", "a is large", "something is negative")


def test_notes_that_change_run_their_reader_again():
    engine = engine_of(a=1)
    engine.watch(status)

    assert engine.commit([put("a", 10)]) == {(status, ())}
    assert engine.get(status) == ("own", "a is large")
    assert engine.commit([put("a", 11)]) == set()
    assert engine.runs[status] == 2
    assert engine.commit([put("b", -1)]) == {(status, ())}
    assert engine.commit([drop("a")]) == {(status, ())}
    assert engine.get(status) == ("own", "something is negative")


def test_notes_behind_notes_are_found():
    def above(q: Query) -> tuple[Any, ...]:
        return q.notes_of(status)

    engine = engine_of(a=10)

    assert engine.get(above) == ("own", "a is large")


def test_a_drain_tells_whose_own_notes_changed():
    engine = engine_of(a=1)
    engine.watch(complaining, "a")
    engine.apply([put("a", 10)])

    drained = engine.drain()

    assert drained.values == set()
    assert drained.notes == {(complaining, ("a",))}


def test_a_report_goes_when_its_cause_goes():
    engine = engine_of(a=10)
    engine.watch(complaining, "a")

    engine.commit([put("a", 1)])

    assert engine.why(complaining, "a").notes == ()


# Why


def test_why_names_what_was_read_in_that_order():
    engine = engine_of(a=1)

    memo = engine.why(joined)

    assert memo.deps == (("Row.group", "g"), (checked, ("a",)))
    assert engine.why(number, "a").deps == (("Row", "a"),)


def test_why_tells_the_revision_of_the_last_change():
    engine = engine_of(a=1)
    engine.watch(parity, "a")
    engine.commit([put("a", 2)])
    engine.commit([put("a", 4)])

    assert engine.why(parity, "a").changed_at == 2
    assert engine.why(parity, "a").verified_at == 3


# Forgetting


def test_collect_forgets_what_nobody_watches_or_reads():
    engine = engine_of(a=1, b=2)
    engine.watch(parity, "a")
    engine.get(parity, "b")

    assert engine.collect() == 3
    assert len(engine) == 3
    engine.unwatch(parity, "a")
    assert engine.collect() == 3
    assert len(engine) == 0


def test_collect_forgets_what_a_run_no_longer_reads():
    engine = engine_of(a=1, b=2)
    engine.watch(joined)
    engine.commit([drop("b")])

    assert engine.collect() == 2
    assert len(engine) == 3


def test_collect_stops_and_goes_on():
    engine = engine_of()
    for key in range(10):
        engine.get(number, str(key))

    forgotten = [engine.collect(0) for _ in range(30)]

    assert sum(forgotten) == 10
    assert max(forgotten) == 1
    assert len(engine) == 0


def test_what_was_forgotten_is_evaluated_again():
    engine = engine_of(a=1)
    engine.get(number, "a")
    engine.collect()

    engine.apply([put("a", 2)])

    assert engine.get(number, "a") == 2
    engine.watch(number, "a")
    assert engine.commit([put("a", 3)]) == {(number, ("a",))}


def test_a_failure_goes_when_its_call_is_forgotten():
    engine = engine_of(a=-1)
    engine.attempt(checked, "a")

    engine.collect()

    assert engine.failures() == {}


def test_nothing_is_left_of_rows_that_came_and_went():
    engine = engine_of()
    engine.watch(joined)
    empty = sizes(engine)

    for turn in range(50):
        engine.commit([put(f"k{turn}", 1), put(f"l{turn}", 2, group=f"group{turn}")])
        engine.get(number, f"l{turn}")
        engine.commit([drop(f"k{turn}"), drop(f"l{turn}")])
    engine.collect()

    assert sizes(engine) == empty


def sizes(engine: Engine) -> dict[str, int]:
    """Entries of everything that the engine keeps by row, bucket or call."""
    table = engine.tables["Row"]
    filing = table.filings["group"]
    return {
        "memos": len(engine),
        "rows": len(table.rows),
        "row readers": len(table.readers),
        "buckets": len(filing.buckets),
        "bucket readers": len(filing.contents) + len(filing.membership),
    }


def hundredth(q: Query, key: int) -> int:
    return int(q.row("Row", key) or 0)


def hundred(q: Query) -> int:
    return sum(q(hundredth, key) for key in range(100))


def of_hundred() -> Engine:
    engine = Engine({"Row": {}})
    engine.apply([("Row", key, key) for key in range(100)])
    engine.watch_soon(hundred)
    return engine


def test_a_call_with_many_children_is_paused_and_goes_on_where_it_was():
    engine = of_hundred()
    slices = 1
    while not (drained := engine.drain(0.0)).done:
        assert drained.values == frozenset()
        slices += 1

    assert drained.values == {(hundred, ())}
    assert engine.get(hundred) == sum(range(100))
    assert engine.runs[hundredth] == 100
    assert slices > 2


def test_what_a_paused_call_read_is_forgotten_with_it():
    engine = of_hundred()
    assert not engine.drain(0.0).done

    engine.unwatch(hundred)
    engine.collect()

    assert len(engine) == 0
    assert engine.tables["Row"].readers == {}
