"""Since when the conditions of objects are as they are."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from plait.config.meta import Key
from plait.config.ports import Condition
from plait.config.record import Record, timestamp

_KEPT = 100_000


class Transitions:
    """When each condition last changed its status, as far as anybody looked.

    One that was never seen otherwise, or is forgotten, has the time of the object's last change.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[Key, str], tuple[str, float]] = {}

    def dated(
        self, record: Record, found: Iterable[Condition], now: float
    ) -> tuple[Condition, ...]:
        """The conditions of an object, as they are `now`, with their times."""
        return tuple(self._dated(record, condition, now) for condition in found)

    def _dated(self, record: Record, condition: Condition, now: float) -> Condition:
        place = (record.key, condition.type)
        status, at = self._seen.get(place, (condition.status, record.at))
        at = at if status == condition.status else now
        self._seen[place] = (condition.status, at)
        if len(self._seen) > _KEPT:
            del self._seen[next(iter(self._seen))]
        return structs.replace(condition, last_transition_time=timestamp(at))
