"""What the engine remembers of one call, and how a call that fails shows."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Final

from plait.base.table import Input, Node, Read

Call = tuple[Callable[..., Any], tuple[Any, ...]]  # (query, arguments)
Dep = Call | Read

FRESH: Final = 0  # right in this revision
SUSPECT: Final = 1  # right, unless one of its suspects has a new value
DIRTY: Final = 2  # must run
BUSY: Final = 3  # is being verified or run
NOTES: Final = -1  # place of a read of another call's notes instead of its value
UNSET: Final[Any] = object()


class QueryFailedError(Exception):
    """A query raised and has no earlier value; names the call, and has the cause attached."""

    def __init__(self, call: Call, error: Exception) -> None:
        super().__init__(call, error)
        self.call = call

    def __str__(self) -> str:
        """``routes('reviews') failed: KeyError('v2')``."""
        return f"{show(self.call)} failed: {self.args[1]!r}"


class CycleError(Exception):
    """A query called itself, directly or not; `calls` are the way from the call back to it."""

    def __init__(self, calls: tuple[Call, ...]) -> None:
        super().__init__(calls)
        self.calls = calls

    def __str__(self) -> str:
        """``a('x') → b() → a('x')``."""
        return " → ".join(show(call) for call in self.calls)


class Failed:
    """The value of an attempt at a query that never succeeded.

    Two are equal if their errors are of one type and say the same.
    """

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failed) and same(self.error, other.error)

    def __hash__(self) -> int:
        return hash((type(self.error), str(self.error)))

    def __repr__(self) -> str:
        return f"Failed({self.error!r})"


class Never:
    """Value of a memo whose query never succeeded; leaves the engine as Failed only.

    It is not a Failed, which a query may return and so have succeeded.
    """

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class Watch:
    """How many watch a call, and what they were told last."""

    __slots__ = ("count", "notes", "value")

    def __init__(self) -> None:
        self.count = 0
        self.value: Any = UNSET
        self.notes: tuple[Any, ...] = ()


class Memo(Node):
    """The value of one call, and the record of how it came about.

    Attributes:
        value: of the last run that succeeded.
        notes: what the last run reported.
        error: why the last run failed; None if it did not.
        changed_at: revision in which `value` last became different.
        verified_at: revision in which the memo was last known to be right.
        noted_at: revision in which `notes` or the calls it read last became different.
    """

    __slots__ = (
        "call",
        "changed_at",
        "error",
        "noted_at",
        "notes",
        "reads",
        "state",
        "suspects",
        "value",
        "verified_at",
        "watch",
    )

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call
        self.value: Any = UNSET
        self.notes: tuple[Any, ...] = ()
        self.error: Exception | None = None
        self.changed_at = self.verified_at = self.noted_at = 0
        self.state = DIRTY
        self.reads: tuple[Memo | Input, ...] = ()
        self.suspects: dict[Memo, int] | None = None  # reads that may have changed, and places
        self.watch: Watch | None = None

    @property
    def label(self) -> Call:
        """The call."""
        return self.call

    @property
    def deps(self) -> tuple[Dep, ...]:
        """What the last run read, in that order: rows and buckets by name, calls."""
        return tuple(read.label for read in self.reads)

    def good(self) -> Any:
        """Return the value, or raise QueryFailedError if there never was one."""
        if self.value.__class__ is not Never:
            return self.value
        error = self.value.error
        if isinstance(error, CycleError):
            raise CycleError(error.calls)
        if isinstance(error, QueryFailedError):
            raise QueryFailedError(*error.args) from error.args[1]
        raise QueryFailedError(self.call, error) from error


def show(call: Call) -> str:
    """Print a call as it would be written, without ``q``."""
    query, args = call
    return f"{getattr(query, '__qualname__', query)}({', '.join(map(repr, args))})"


def same(one: Exception, other: Exception) -> bool:
    """Whether two errors are of one type and say the same."""
    return type(one) is type(other) and str(one) == str(other)


def stripped(error: Exception) -> Exception:
    """The error without the engine's own frame and without the locals of the query's frames."""
    trace = error.__traceback__
    if trace is not None:
        traceback.clear_frames(trace)
        error.__traceback__ = trace.tb_next
    return error
