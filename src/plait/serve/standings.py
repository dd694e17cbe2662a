"""Which objects stand otherwise than before: one look for all who watch."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable
from operator import itemgetter

from plait.base.query import Drained
from plait.config.meta import Key
from plait.config.store import Store
from plait.mesh import status
from plait.serve.ads import Ads

Progress = list[tuple[int, str]]
"""The revision that each proxy has acknowledged, and its id, by id."""
Followers = dict[object, Callable[[Key], None]]
FRESH = 0.02
"""Seconds for which conditions may show what proxies had acknowledged before."""


class Standings:
    """Findings, rejections and acknowledgements of every object, while anybody watches them."""

    def __init__(self, store: Store, ads: Ads) -> None:
        self._store = store
        self._ads = ads
        self._followers: Followers = {}
        self._watched: set[Key] = set()
        self._written: list[tuple[int, Key]] = []  # what is watched, by revision
        self._extended_at = -1  # the store's revision
        self._new: dict[Key, int] = {}  # not evaluated yet; watched since which revision
        self._stops: tuple[Callable[[], None], ...] = ()
        self._asked_at = 0.0
        self._progress: Progress = []
        self._told: Progress = []  # as followers know it

    def progress(self) -> Progress:
        """What each proxy has acknowledged; asked anew when some time has passed.

        A list of a thousand objects asks a thousand times.
        """
        now = self._store.clock.monotonic()
        if now - self._asked_at > FRESH:
            self._ask(now)
        return self._progress

    def follow(self, changed: Callable[[Key], None]) -> Callable[[], None]:
        """Call back with each object that may stand otherwise, until stopped."""
        token = object()
        if not self._followers:
            self._start()
        self._followers[token] = changed

        def stop() -> None:
            if self._followers.pop(token, None) and not self._followers:
                self._stop()

        return stop

    def _start(self) -> None:
        self._ask(self._store.clock.monotonic())
        self._told = self._progress
        self._stops = (self._store.listen(self._on_drained), self._ads.follow(self._on_acks))
        self._extend()

    def _stop(self) -> None:
        for stop in self._stops:
            stop()
        for key in self._watched:
            self._store.unwatch(status.standing, key)
        self._watched, self._extended_at, self._new = set(), -1, {}

    def _ask(self, now: float) -> None:
        found = [(s.delivered, s.node.id) for s in self._ads.sessions() if s.node]
        self._asked_at, self._progress = now, sorted(found, key=itemgetter(1))

    def _extend(self) -> None:
        """Watch all that is there, if anything was written since the last look."""
        if self._extended_at == self._store.revision:
            return
        self._extended_at = self._store.revision
        records = (r for kind in status.CHECKS for r in self._store.records(kind))
        self._written = sorted((r.revision, r.key) for r in records)
        now = {key for _, key in self._written}
        for key in now - self._watched:
            self._store.watch_soon(status.standing, key)
            self._new[key] = self._extended_at
        for key in self._watched - now:
            self._store.unwatch(status.standing, key)
            self._new.pop(key, None)
        self._watched = now

    def _on_drained(self, drained: Drained, revision: int) -> None:
        found = [args[0] for query, args in drained.values if query is status.standing]
        # the first look at an object is no change, unless something was written meanwhile
        self._tell(key for key in found if self._new.pop(key, None) != revision)
        if drained.done:
            self._extend()

    def _on_acks(self) -> None:
        self._ask(self._store.clock.monotonic())
        before, self._told = self._told, self._progress
        low, high = _moved(before, self._told)
        if low < high:
            self._extend()
            first, end = (bisect_right(self._written, n, key=itemgetter(0)) for n in (low, high))
            self._tell(key for _, key in self._written[first:end])

    def _tell(self, keys: Iterable[Key]) -> None:
        for key in keys:
            for changed in tuple(self._followers.values()):
                changed(key)


def _moved(before: Progress, now: Progress) -> tuple[int, int]:
    """Objects of revisions after the first and up to the second are told of otherwise."""
    if [name for _, name in before] != [name for _, name in now]:
        return -1, sys.maxsize
    pairs = zip(before, now, strict=True)
    found = [n for (old, _), (new, _) in pairs if old != new for n in (old, new)]
    return min(found, default=0), max(found, default=0)
