"""The one writer: every change of a table goes through `Store.commit`, `observe` or `feed`.

What waits is taken in batches (`batching`); a batch is one transaction of the history and one
revision of the engine.  Users' writes are on the disk before they are acknowledged.  Sources'
rows are applied even when they cannot be stored: the mesh follows the truth on a full disk too,
and the rows are written with the next batch that can be.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog
from msgspec import Struct

from plait.base.clock import Clock
from plait.base.errors import PlaitError, SourceUnavailableError, StoreError
from plait.base.query import Drained, Engine
from plait.base.tasks import Backoff, Health, supervise
from plait.config import batching
from plait.config.events import Events
from plait.config.history import KEEP, Observed, Revision, Transaction
from plait.config.jobs import Job, Jobs, Row
from plait.config.journal import Journal
from plait.config.ledger import Draft, Ledger, conflicts, retracted
from plait.config.meta import Key, Origin
from plait.config.ports import Batch, Fault, Source
from plait.config.record import Event, Record, Write
from plait.config.restore import Kinds, restored, seen

T = TypeVar("T")
Listener = Callable[[Drained, int], None]

SLICE = 0.005
"""Seconds of evaluation between two turns of the loop."""

_log = structlog.get_logger(__name__)
_AT_ONCE = 100  # writes planned between two turns of the loop


class Tuning(Struct, frozen=True, kw_only=True):
    """How the store behaves.

    Attributes:
        keep: old revisions kept in the history.
        recent: events kept in memory; older ones are read from the history.
        source_deadline: seconds after which the store counts as ready without a source's word.
        retry: waits between attempts to reach a source.
    """

    batching: batching.Limits = batching.Limits()
    keep: int = KEEP
    recent: int = 10_000
    source_deadline: float = 10.0
    retry: Backoff = Backoff(limit=10.0)


class Store:
    """All rows, and the engine over them; used from one event loop."""

    def __init__(self, clock: Clock, kinds: Kinds, journal: Journal, tuning: Tuning) -> None:
        self.clock = clock
        self.engine = Engine(kinds.tables)
        self.faults: Mapping[str, tuple[Fault, ...]] = {}
        self.sources: dict[str, Health] = {}  # how each source that is followed does
        self.ready = asyncio.Event()
        self._kinds = kinds
        self._journal = journal
        self._tuning = tuning
        self._ledger = Ledger()
        self._events = Events(self._ledger, journal, kinds, tuning.recent)
        self._jobs = Jobs(tuning.batching)
        self._listeners: dict[object, Listener] = {}
        self._undrained = False
        self._awaited: set[str] = set()

    @classmethod
    async def open(
        cls,
        path: Path | None,
        clock: Clock,
        *,
        kinds: Kinds | None = None,
        tuning: Tuning | None = None,
    ) -> Store:
        """Open the store of the data directory `path`, or make it; None: in memory.

        Raises:
            StoreCorruptError: the database is damaged; it is left as it is.
            StoreError: another process uses it, or the directory cannot be written.
        """
        tuning = tuning or Tuning()
        journal = Journal()
        await journal.open(path, tuning.keep)
        store = cls(clock, kinds or Kinds.known(), journal, tuning)
        try:
            await store._load()
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Close the database.  Nothing may be asked of the store afterwards."""
        await self._journal.close()

    @property
    def revision(self) -> int:
        """The newest resourceVersion."""
        return self._ledger.revision

    @property
    def instance(self) -> str:
        """Identity of the database; where it is another one, revisions were counted anew."""
        return self._journal.instance

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored now; None: everything is stored."""
        return self._journal.problem

    # Writing

    async def commit(self, writes: Sequence[Write]) -> tuple[Record | None, ...]:
        """Do all writes or none; durable, applied and evaluated when this returns.

        Returns:
            For each write the record in force after it; None: there is none.

        Raises:
            ConflictError: an `expect` is not met.
            StoreFullError: no room on the disk.
            StoreError: the database cannot be written; nothing was changed.
        """
        return await self._do(Job(tuple(writes), user=True))

    async def observe(self, rows: Sequence[Row], *, persist: bool = False) -> None:
        """Put rows that no user writes: (table, key, row); row None removes.

        With `persist` they are there after a restart, which only Rejection can be.
        """
        await self._do(Job(rows=tuple(rows), persist=persist))

    async def feed(self, source: Source) -> None:
        """Follow a source for ever; while it is away, what it said last stays in force."""
        self._awaited.add(source.name)

        async def follow(health: Health) -> None:
            self.sources[source.name] = health
            try:
                async for batch in source.watch():
                    await self._take(source.name, batch)
                    health.up()
            except SourceUnavailableError as error:
                known = self.faults.get(source.name, ())
                self.blame(source.name, _away(known, source.name, error))
                raise
            raise SourceUnavailableError(f"{source.name} ended")

        await supervise(follow, name=f"source:{source.name}", backoff=self._tuning.retry)

    def blame(self, source: str, faults: Sequence[Fault]) -> None:
        """Say what of a source cannot be read now; replaces what was said before."""
        self.faults = {**self.faults, source: tuple(faults)}

    async def run(self) -> None:
        """Commit what waits, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._settle(), name="store:settle")
            await self._drain()  # what was loaded, or left over
            while True:
                await self._jobs.sleep()
                await asyncio.sleep(0)  # what is asked for in one turn of the loop goes together
                if self._undrained:
                    await self._drain()
                if jobs := self._jobs.take():
                    await self._push(jobs)

    # Reading

    def record(self, key: Key) -> Record | None:
        """The record in force: of all sources, the one that changed last."""
        return self._ledger.record(key)

    def records(self, kind: str, namespace: str | None = None) -> tuple[Record, ...]:
        """The records in force of a table, in key order; of all namespaces if None."""
        return self._ledger.records(*self._kinds.named(kind), namespace)

    def conflicts(self, key: Key) -> tuple[Record, ...]:
        """The records of `key` that are not in force, newest first."""
        return conflicts(self._ledger.held(key))

    async def history(self, key: Key) -> tuple[Revision, ...]:
        """All kept revisions of an object, by all sources, oldest first."""
        return await self._journal.of(key)

    async def events(self, kind: str | None, since: int) -> AsyncIterator[Event]:
        """Every change after revision `since`, for ever, in order; of all tables if kind is None.

        Of changes older than those in memory, a status that was overtaken is not shown.

        Raises:
            ExpiredError: `since` is older than the history.
        """
        wanted = self._kinds.named(kind) if kind else None
        async for event in self._events.follow(since):
            if wanted is None or wanted == (event.record.key.group, event.record.key.kind):
                yield event

    # The engine

    def listen(self, callback: Listener) -> Callable[[], None]:
        """Be told what changed after each slice of a drain, and the revision it belongs to.

        The last slice of a revision is `done`; it is told even when nothing changed.

        Returns:
            The way to stop.
        """
        token = object()
        self._listeners[token] = callback

        def stop() -> None:
            self._listeners.pop(token, None)

        return stop

    def watch(self, query: Callable[..., T], *args: Any) -> T:
        """The value of a call, kept up to date and reported to listeners until `unwatch`."""
        return self.engine.watch(query, *args)

    def unwatch(self, query: Callable[..., Any], *args: Any) -> None:
        """Undo one `watch` or `watch_soon`."""
        self.engine.unwatch(query, *args)

    def watch_soon(self, query: Callable[..., Any], *args: Any) -> None:
        """Like `watch`, but the value is worked out later and then reported to listeners."""
        self.engine.watch_soon(query, *args)
        self._undrained = True
        self._jobs.wake()

    # The writer

    async def _do(self, job: Job) -> tuple[Record | None, ...]:
        self._jobs.add(job)
        return await job.done()

    async def _take(self, source: str, batch: Batch) -> None:
        writes = [
            Write(key=c.key, change=None if c.document is None else c, source=source)
            for c in batch.changes
        ]
        if batch.complete and (gone := retracted(self._ledger.of_source(source), batch)):
            _log.info("objects gone", source=source, count=len(gone))
            writes += gone
        self.blame(source, batch.faults)
        await self._do(Job(writes))
        self._awaited.discard(source)
        if not self._awaited:
            self.ready.set()

    async def _settle(self) -> None:
        """Be ready when no source is awaited, or has been for too long."""
        await asyncio.sleep(0)  # sources that are started together with the writer are counted in
        if self._awaited:
            await asyncio.sleep(self._tuning.source_deadline)
        self.ready.set()

    async def _push(self, jobs: list[Job]) -> None:
        """One batch: planned, stored, applied, evaluated, acknowledged."""
        time = asyncio.get_running_loop().time
        started = time()
        try:
            planned, draft = await self._plan(jobs)
            planned, draft = await self._save(planned, draft)
            applied = time()
            self._apply(planned, draft)
            await self._drain()
        except BaseException:
            for job in jobs:
                job.fail(StoreError("the store stopped; whether this was written is not known"))
            raise
        for job in planned:
            job.succeed()
        self._jobs.pushed(jobs, started, time() - applied)

    async def _plan(self, jobs: Sequence[Job]) -> tuple[list[Job], Draft]:
        """Work out what the jobs do; those that cannot be done fail here."""
        whole = Draft(self._ledger, self._kinds.admission)
        planned = []
        for job in jobs:
            draft = Draft(whole, self._kinds.admission)
            outcome: list[Record | None] = []
            try:
                for write in job.writes:
                    outcome.append(draft.write(write, self.clock.now(), user=job.user))
                    if len(outcome) % _AT_ONCE == 0:
                        await asyncio.sleep(0)
            except PlaitError as error:
                job.fail(error)
                continue
            job.outcome = tuple(outcome)
            whole.accept(draft)
            planned.append(job)
        return planned, whole

    async def _save(self, jobs: list[Job], draft: Draft) -> tuple[list[Job], Draft]:
        """Make a draft durable; if that fails, users' jobs fail and the rest is held in memory."""
        try:
            await self._journal.append(self._transaction(jobs, draft))
        except StoreError as error:
            for job in jobs:
                if job.user:
                    job.fail(error)
            jobs, draft = await self._plan([job for job in jobs if not job.user])
            self._journal.keep(self._transaction(jobs, draft), error)
        return jobs, draft

    def _transaction(self, jobs: Sequence[Job], draft: Draft) -> Transaction:
        observed = [
            Observed(
                table=table,
                key=str(key),
                at=self.clock.now(),
                value=None if row is None else msgspec.json.encode(row),
            )
            for job in jobs
            if job.persist
            for table, key, row in job.rows
        ]
        return Transaction(
            revisions=draft.rows,
            statuses=draft.statuses,
            observed=observed,
            durable=any(job.user for job in jobs),
        )

    def _apply(self, jobs: Sequence[Job], draft: Draft) -> None:
        changes = [row for job in jobs for row in job.rows]
        for key, held in draft.changed.items():
            self._ledger.put(key, held)
            changes += self._rows(key)
        self._ledger.revision = draft.revision
        self._events.add(draft.events)
        self._put(changes)

    def _rows(self, key: Key) -> list[Row]:
        """What the engine has of an object."""
        table = self._kinds.table(key)
        if table is None:
            return []
        record = self._ledger.record(key)
        others = tuple(other.origin for other in self.conflicts(key))
        return [(table, key, record.object if record else None), ("Conflict", key, others or None)]

    def _put(self, changes: Sequence[Row]) -> None:
        """Hand rows to the engine; one that no index can take leaves the others unharmed."""
        try:
            self.engine.apply(changes)
        except Exception:  # noqa: BLE001 - our bug, met through one object: it must not stop the store
            for change in changes:
                try:
                    self.engine.apply([change])
                except Exception:  # noqa: BLE001
                    _log.exception("row not applied", key=str(change[1]))

    async def _drain(self) -> None:
        """Evaluate in slices until nothing is left; the next commit waits for it."""
        while True:
            self._undrained = False
            drained = self.engine.drain(SLICE)
            for listener in tuple(self._listeners.values()):
                try:
                    listener(drained, self.revision)
                except Exception:  # noqa: BLE001 - our bug: it must not stop the store
                    _log.exception("listener failed", revision=self.revision)
            if drained.done:
                return
            await asyncio.sleep(0)

    async def _load(self) -> None:
        contents = await self._journal.load()
        records = await asyncio.to_thread(restored, contents, self._kinds)
        self._ledger.load(records, contents.revision)
        self._kinds.admission.load(records)
        self._events = Events(self._ledger, self._journal, self._kinds, self._tuning.recent)
        changes = [row for key in {r.key: None for r in records} for row in self._rows(key)]
        self._put([*changes, *seen(contents)])


def _away(known: Iterable[Fault], source: str, error: SourceUnavailableError) -> tuple[Fault, ...]:
    """The faults of a source that cannot be reached; of its documents they are the last known."""
    problem = f"{error}; what it said last stays in force"
    fault = Fault(origin=Origin(source=source), problem=problem, code="PLT1010")
    return (fault, *(each for each in known if each.origin != fault.origin))
