"""The time of a drain, and how an evaluation is paused when it is up."""

from __future__ import annotations

import time

_LONG = 20  # budgets after which a call is paused: a pause costs a walk, and mostly it is done soon
_MORE = 4.0  # times the walk that a slice lasts at least: a fifth of all time is walked at most


class Pause(BaseException):
    """Unwinds evaluations whose time is up; the calls that are done stay done."""


class Slice:
    """The time that one drain has.

    Who was paused first walks over what is done already: that must not eat up the time for what
    is not, so the slice begins when the first call is done, and is longer after a longer walk.

    Args:
        budget: seconds.
        resumes: whether something was paused before.
    """

    __slots__ = ("_begun", "_budget", "_end", "_last", "_resumes")

    def __init__(self, budget: float, *, resumes: bool) -> None:
        self._budget = budget
        self._resumes = resumes
        self._begun = time.perf_counter()
        self._end: float | None = None  # no further call is begun
        self._last = 0.0  # none is gone on with

    def note(self) -> None:
        """A call is done."""
        if self._end is None:
            walked = time.perf_counter() - self._begun if self._resumes else 0.0
            start = self._begun + walked
            self._end = start + self._budget
            self._last = start + max(_LONG * self._budget, _MORE * walked)

    def is_over(self) -> bool:
        """Whether something was done and the time is up: no further call is begun."""
        return self._end is not None and time.perf_counter() >= self._end

    def is_long_over(self) -> bool:
        """Whether it has been up for so long that the call is paused."""
        return self._end is not None and time.perf_counter() >= self._last
