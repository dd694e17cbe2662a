"""The time of a drain, and how an evaluation is paused when it is up."""

from __future__ import annotations

import time


class Pause(BaseException):
    """Unwinds evaluations whose time is up; the calls that are done stay done."""


class Slice:
    """The time that one drain has.

    Who was paused first walks over what is done already: that must not eat up the time for what
    is not, so the slice begins when the first call is done.  The longer the walk the longer the
    slice: at most half of all time is spent walking.

    Args:
        budget: seconds.
        resumes: whether something was paused before.
    """

    __slots__ = ("_begun", "_budget", "_end", "_resumes")

    def __init__(self, budget: float, *, resumes: bool) -> None:
        self._budget = budget
        self._resumes = resumes
        self._begun = time.perf_counter()
        self._end: float | None = None

    def note(self) -> None:
        """A call is done."""
        if self._end is None:
            walked = time.perf_counter() - self._begun if self._resumes else 0.0
            self._end = self._begun + walked + max(self._budget, walked)

    def is_over(self) -> bool:
        """Whether something was done and the time is up."""
        return self._end is not None and time.perf_counter() >= self._end
