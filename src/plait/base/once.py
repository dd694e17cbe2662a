"""What was said already, so that it is said once."""

from __future__ import annotations

from collections.abc import Hashable


class Once:
    """The newest things that were said.

    Args:
        most: how many are remembered; what was forgotten is said again.
    """

    def __init__(self, most: int = 1_000) -> None:
        self._most = most
        self._said: dict[Hashable, None] = {}

    def say(self, what: Hashable) -> bool:
        """Whether to say this now: it was not said before, or that is forgotten."""
        if what in self._said:
            return False
        self._said[what] = None
        if len(self._said) > self._most:
            del self._said[next(iter(self._said))]
        return True
