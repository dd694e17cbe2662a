"""Since when the conditions of objects are as they are."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from plait.config.ports import Condition
from plait.config.record import Record, timestamp

_KEPT = 100_000


class Transitions:
    """When each condition last changed its status, as far as anybody looked.

    One that was never seen otherwise, or is forgotten, has the time of the object's last change.
    What is deleted and made again is another object, whatever its name.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[str, float]] = {}  # by uid and type

    def dated(
        self, record: Record, found: Iterable[Condition], now: float
    ) -> tuple[Condition, ...]:
        """The conditions of an object, as they are `now`, with their times."""
        return tuple(self._dated(record, condition, now) for condition in found)

    def _dated(self, record: Record, condition: Condition, now: float) -> Condition:
        place = (record.uid, condition.type)
        status, at = self._seen.get(place, (condition.status, record.at))
        at = at if status == condition.status else now
        self._seen[place] = (condition.status, at)
        if len(self._seen) > _KEPT:
            del self._seen[next(iter(self._seen))]
        return structs.replace(condition, last_transition_time=timestamp(at))
