"""The newest events in memory, older ones from the history: how watchers follow the store.

A watcher has a place (a revision) and no queue: one that is slow takes its time, and one that
comes back after a restart goes on where it was.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable

from plait.config import restore
from plait.config.journal import Journal, Page
from plait.config.ledger import Ledger
from plait.config.record import Event, EventType


class Events:
    """The events of the newest revisions, and the way to those before them."""

    def __init__(self, ledger: Ledger, journal: Journal, kinds: restore.Kinds, size: int) -> None:
        self._ledger = ledger
        self._journal = journal
        self._kinds = kinds
        self._size = size
        self._floor = ledger.revision  # the events after this one are all in memory
        self._events: list[Event] = []
        self._revisions: list[int] = []
        self._news = asyncio.Event()

    def add(self, events: Iterable[Event]) -> None:
        """Append, forget the oldest, and wake every watcher."""
        for event in events:
            self._events.append(event)
            self._revisions.append(event.revision)
        surplus = len(self._events) - self._size
        if surplus > self._size // 4:
            self._floor = self._revisions[surplus - 1]
            del self._events[:surplus], self._revisions[:surplus]
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, since: int) -> AsyncIterator[Event]:
        """Every event after `since`, for ever, in order.

        Raises:
            ExpiredError: `since` is older than the history.
        """
        place = since
        while True:
            while place < self._floor:
                page = await self._journal.since(place, self._floor)
                for event in self._replayed(page):
                    yield event
                place = page.end
            news = self._news
            at_hand = self._events[bisect_right(self._revisions, place) :]
            for event in at_hand:
                yield event
                place = event.revision
            if not at_hand:
                await news.wait()

    def _replayed(self, page: Page) -> list[Event]:
        records = {key: self._ledger.record(key) for key in page.statuses}
        records |= {row.key: self._ledger.record(row.key) for row, _ in page.pairs}
        known = {key: record.status for key, record in records.items() if record}
        found = restore.events(page.pairs, known, self._kinds)
        shown = {event.revision for event in found}
        for key, at in page.statuses.items():
            record = records[key]
            if record is not None and record.revision == at and at not in shown:
                found.append(
                    Event(type=EventType.MODIFIED, record=record, previous=None, revision=at)
                )
        return sorted(found, key=lambda event: event.revision)
