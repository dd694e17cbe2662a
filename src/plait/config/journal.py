"""The history behind one thread, and what could not be written to it yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import structlog

from plait.base.errors import StoreError
from plait.config import history
from plait.config.history import Observed, Revision, Status, Transaction
from plait.config.meta import Key

T = TypeVar("T")
Stored = Revision | Status | Observed

_PAGE = 500  # revisions read at once
_log = structlog.get_logger(__name__)


class Page(NamedTuple):
    """Some of what changed.

    Attributes:
        pairs: revisions, each with the version that was in force before it.
        statuses: objects, and the revision of their newest status.
        end: the revision up to which this is all.
    """

    pairs: list[tuple[Revision, Revision | None]]
    statuses: dict[Key, int]
    end: int


class Journal:
    """All work with the database, done in a thread of its own, one piece after the other.

    Attributes:
        problem: why rows of sources are not stored now; None: they are.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._history: history.History
        self._unsaved: dict[Hashable, Stored] = {}

    async def open(self, directory: Path | None, keep: int) -> None:
        """Open the database; None: in memory."""
        try:
            self._history = await self._run(history.History.open, directory, keep)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    async def close(self) -> None:
        """Close the database."""
        await self._run(self._history.close)
        self._thread.shutdown()

    @property
    def instance(self) -> str:
        """Identity of the database."""
        return self._history.instance

    async def load(self) -> history.Contents:
        """Everything that is live."""
        return await self._run(self._history.load)

    async def of(self, key: Key) -> tuple[Revision, ...]:
        """All kept revisions of an object, oldest first."""
        return await self._run(self._history.of, key)

    async def since(self, place: int, floor: int) -> Page:
        """A page of what changed after `place`; the last one ends at `floor`."""
        return await self._run(self._read_since, place, floor)

    async def append(self, transaction: Transaction) -> None:
        """Write a transaction, together with what could not be written before.

        Raises:
            StoreError: nothing of it is written.
        """
        old = self._unsaved.values()
        whole = Transaction(
            revisions=[*(r for r in old if isinstance(r, Revision)), *transaction.revisions],
            statuses=[*(s for s in old if isinstance(s, Status)), *transaction.statuses],
            observed=[*(o for o in old if isinstance(o, Observed)), *transaction.observed],
            durable=transaction.durable,
        )
        if not whole:
            return
        await self._run(self._history.append, whole)
        self._unsaved.clear()
        if self.problem is not None:
            _log.info("store writable")
            self.problem = None

    def keep(self, transaction: Transaction, error: StoreError) -> None:
        """Hold on to rows that could not be written; the next `append` tries again.

        Of one object of one source only the newest is held, so this has a bound.
        """
        for row in transaction.revisions:
            self._hold((row.key, row.source), row)
        for status in transaction.statuses:
            self._hold(("status", status.key), status)
        for seen in transaction.observed:
            self._hold((seen.table, seen.key), seen)
        if self.problem is None:
            _log.warning("store not writable", error=str(error))
        self.problem = str(error)

    def _hold(self, place: Hashable, row: Stored) -> None:
        self._unsaved.pop(place, None)  # the order is that of the revisions
        self._unsaved[place] = row

    def _read_since(self, place: int, floor: int) -> Page:
        rows = self._history.since(place, _PAGE)
        end = rows[-1].revision if len(rows) == _PAGE else floor
        pairs = [
            (row, self._history.before(row.key, row.revision))
            for row in rows
            if row.revision <= end
        ]
        statuses = self._history.statuses_since(place)
        return Page(pairs=pairs, statuses={key: at for key, at in statuses if at <= end}, end=end)

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)
