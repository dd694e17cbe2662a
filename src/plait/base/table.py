"""Rows, the buckets that indexes file them in, and who read which of them.

A table changes in two steps: `Table.plan` computes all that can fail and changes nothing;
`Step.take` cannot fail.  So a batch of changes is applied whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from plait.base.query import Memo

Index = Callable[[Any], Iterable[Hashable]]
Read = tuple[str, Hashable]  # ("Service", key) or ("Service.host", "reviews.demo")

_first = itemgetter(0)


class Node:
    """Something that is read, and who reads it: each as the how-manieth of its reads.

    Most nodes have one reader, and a dict of one costs more than the rest of a node.
    """

    __slots__ = ("_one", "_place", "_users")

    def __init__(self) -> None:
        self._one: Memo | None = None
        self._place = 0
        self._users: dict[Memo, int] | None = None

    def add(self, user: Memo, place: int) -> None:
        """Let `user` read this node, or read it in another place than before."""
        if self._users is not None:
            self._users[user] = place
        elif self._one is None or self._one is user:
            self._one, self._place = user, place
        else:
            self._users = {self._one: self._place, user: place}
            self._one = None

    def discard(self, user: Memo) -> None:
        """Let `user` no longer read this node."""
        if self._users is None:
            self._one = None
            return
        del self._users[user]
        if not self._users:
            self._users = None

    def users(self) -> Iterable[tuple[Memo, int]]:
        """Who reads this node, and in which place."""
        if self._users is not None:
            return self._users.items()
        return () if self._one is None else ((self._one, self._place),)

    @property
    def is_used(self) -> bool:
        """Whether anybody reads this node."""
        return self._one is not None or self._users is not None


class Input(Node):
    """Something a query can read in a table: a row, a bucket, or a bucket's membership.

    It exists while it has readers, whether or not there is a row: absence is read too.
    """

    __slots__ = ("home", "key", "name")

    def __init__(self, home: dict[Hashable, Input], name: str, key: Hashable) -> None:
        super().__init__()
        self.home = home
        self.name = name
        self.key = key

    @property
    def label(self) -> Read:
        """The table, or table and index, and the key."""
        return self.name, self.key


class Bucket:
    """The rows that an index files under one value."""

    __slots__ = ("_keys", "_members", "_rows", "_sorted")

    def __init__(self) -> None:
        self._members: dict[Hashable, Any] = {}
        self._sorted = True
        self._keys: tuple[Any, ...] | None = None
        self._rows: tuple[Any, ...] | None = None

    def __len__(self) -> int:
        return len(self._members)

    def put(self, key: Hashable, row: Any) -> None:
        """Add a row, or replace it in its place."""
        self._rows = None
        if key not in self._members:
            self._sorted, self._keys = False, None
        self._members[key] = row

    def remove(self, key: Hashable) -> None:
        """Take a row out; the others stay in order."""
        self._rows = self._keys = None
        del self._members[key]

    def rows(self) -> tuple[Any, ...]:
        """All rows, in the order of their keys."""
        if self._rows is None:
            self._sort()
            self._rows = tuple(self._members.values())
        return self._rows

    def keys(self) -> tuple[Any, ...]:
        """All keys, in order."""
        if self._keys is None:
            self._sort()
            self._keys = tuple(self._members)
        return self._keys

    def _sort(self) -> None:
        # Once sorted, the dict itself keeps the order: replacing a row does not move it.
        if not self._sorted:
            self._members = dict(sorted(self._members.items(), key=_first))
            self._sorted = True


class Filing:
    """One index of a table: its buckets, and the readers of each."""

    __slots__ = ("buckets", "contents", "membership", "name", "values_of")

    def __init__(self, name: str, values_of: Index) -> None:
        self.name = name
        self.values_of = values_of
        self.buckets: dict[Hashable, Bucket] = {}
        self.contents: dict[Hashable, Input] = {}
        self.membership: dict[Hashable, Input] = {}

    def values(self, row: Any | None) -> dict[Hashable, None]:
        """The values that `row` is filed under; may raise what the index function raises."""
        return {} if row is None else dict.fromkeys(self.values_of(row))

    def put(self, value: Hashable, key: Hashable, row: Any) -> None:
        """File `row` under `value`."""
        bucket = self.buckets.get(value)
        if bucket is None:
            bucket = self.buckets[value] = Bucket()
        bucket.put(key, row)

    def remove(self, value: Hashable, key: Hashable) -> None:
        """Take a row out of a bucket, and an empty bucket out of the index."""
        bucket = self.buckets[value]
        bucket.remove(key)
        if not bucket:
            del self.buckets[value]


class Step(NamedTuple):
    """The planned change of one row: what is filed where, before and after."""

    table: Table
    key: Hashable
    row: Any | None
    moves: list[tuple[Filing, dict[Hashable, None], dict[Hashable, None]]]

    def take(self) -> list[Input]:
        """Make the change; return what was read of that which it changed."""
        touched = [self.table.readers.get(self.key)]
        if self.row is None:
            del self.table.rows[self.key]
        else:
            self.table.rows[self.key] = self.row
        for filing, before, after in self.moves:
            for value in before:
                if value not in after:
                    filing.remove(value, self.key)
                    touched += filing.contents.get(value), filing.membership.get(value)
            for value in after:
                filing.put(value, self.key, self.row)
                touched.append(filing.contents.get(value))
                if value not in before:
                    touched.append(filing.membership.get(value))
        return [read for read in touched if read is not None]


class Table:
    """Rows by key, filed by indexes."""

    __slots__ = ("filings", "name", "readers", "rows")

    def __init__(self, name: str, indexes: Mapping[str, Index]) -> None:
        self.name = name
        self.rows: dict[Hashable, Any] = {}
        self.readers: dict[Hashable, Input] = {}
        self.filings = {
            index: Filing(f"{name}.{index}", values_of) for index, values_of in indexes.items()
        }

    def plan(self, key: Hashable, row: Any | None) -> Step | None:
        """What it takes to put `row` (None removes) under `key`; None if it is there already."""
        old = self.rows.get(key)
        if old is row or old == row:
            return None
        moves = [(f, f.values(old), f.values(row)) for f in self.filings.values()]
        return Step(self, key, row, moves)


def reader(home: dict[Hashable, Input], name: str, key: Hashable) -> Input:
    """The input under `key`, made if nobody read it so far."""
    found = home.get(key)
    if found is None:
        found = home[key] = Input(home, name, key)
    return found
