"""Watches: the changes of a collection as lines of JSON, for as long as the client stays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import chain
from typing import Any

import msgspec
from aiohttp import web

from plait.base.errors import ExpiredError
from plait.config.meta import Key
from plait.config.record import Event, EventType, Record
from plait.serve.api import reads, selectors, status
from plait.serve.api.backend import Backend
from plait.serve.api.forms import Printer
from plait.serve.api.paths import Target, is_true, whole
from plait.serve.api.selectors import Selector
from plait.serve.api.turns import in_turns

BOOKMARK_EVERY = 30.0
"""Seconds of silence after which a watcher that wants bookmarks gets one."""

_SHORTEST, _LONGEST = 1800.0, 3600.0  # of a watch without a limit of its own
_WAITING = 100  # events between the store and a slow client
_PIECE = 65_536  # bytes that are written together at least, where more is to come

Line = dict[str, Any]


async def watch(backend: Backend, target: Target, request: web.Request) -> web.StreamResponse:
    """Serve one watch."""
    query = request.query
    name = f"metadata.name={target.name}" if target.name else ""
    fields = ",".join(filter(None, (query.get("fieldSelector", ""), name)))
    selector = selectors.parse(query.get("labelSelector", ""), fields)
    printer = Printer.of(backend, target, request)
    since, initial = _start(backend, request)
    spread = random.uniform(_SHORTEST, _LONGEST)  # noqa: S311 - of reconnects
    seconds = whole(query, "timeoutSeconds", 0) or spread
    watching = Watch(printer, selector, since)
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    answer.enable_chunked_encoding()
    await answer.prepare(request)
    try:
        async with asyncio.timeout(seconds):
            # Begun in one turn of the loop: what changes later comes through the queue, and once.
            async with following(watching) as queue:
                with suppress(ConnectionResetError):  # the client left
                    if initial:
                        await _send(answer, watching.initial(is_marked=_is_marked(request)))
                    await _follow(answer, watching, queue, is_true(query, "allowWatchBookmarks"))
    except TimeoutError:
        await answer.write_eof()
    return answer


async def _follow(
    answer: web.StreamResponse,
    watching: Watch,
    queue: asyncio.Queue[Event | Key | ExpiredError],
    bookmarks: bool,  # noqa: FBT001
) -> None:
    sent = -1
    while True:
        try:
            async with asyncio.timeout(BOOKMARK_EVERY):
                item = await queue.get()
        except TimeoutError:
            if bookmarks and queue.empty() and watching.place > sent:
                sent = watching.place
                await _send(answer, [watching.bookmark(initial=False)])
            continue
        if isinstance(item, ExpiredError):
            await _send(answer, [{"type": "ERROR", "object": status.expired(str(item)).body}])
            await answer.write_eof()
            return
        await _send(answer, watching.lines(item))


async def _send(answer: web.StreamResponse, lines: Iterable[Line]) -> None:
    waiting = bytearray()
    async for line in in_turns(lines):
        waiting += msgspec.json.encode(line) + b"\n"
        if len(waiting) >= _PIECE:
            await answer.write(bytes(waiting))
            waiting.clear()
    if waiting:
        await answer.write(bytes(waiting))


def _start(backend: Backend, request: web.Request) -> tuple[int, bool]:
    """The revision to watch from, and whether the objects that are there come first."""
    query = request.query
    asked = query.get("resourceVersion", "")
    if query.get("sendInitialEvents") is not None:
        if query.get("resourceVersionMatch") != "NotOlderThan":
            raise status.unprocessable(
                'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
        if is_true(query, "sendInitialEvents"):
            return backend.store.revision, True
    if asked in ("", "0"):
        return backend.store.revision, True
    return reads.revision_asked(backend, request), False


def _is_marked(request: web.Request) -> bool:
    """Does the client want to know where the objects that are there end?"""
    return is_true(request.query, "allowWatchBookmarks")


class Watch:
    """What one watcher has seen, and what it is told of a change."""

    def __init__(self, printer: Printer, selector: Selector, since: int) -> None:
        self.place = since  # all up to this revision was looked at
        self._told = since  # all up to this one the client was told of
        self.printer = printer
        self._selector = selector
        self._columns = True
        self._stood: dict[Key, int] = {}  # hash of the conditions that were told last

    def initial(self, *, is_marked: bool) -> Iterator[Line]:
        """All that is there now, and the mark that this was all; written when it is asked for."""
        target, backend = self.printer.target, self.printer.backend
        self.place = self._told = backend.store.revision
        records = reads.collected(backend, target, self._selector)
        lines = (self._line("ADDED", record) for record in records if self._sees(record))
        return chain(lines, [self.bookmark(initial=True)] if is_marked else [])

    def bookmark(self, *, initial: bool) -> Line:
        """How far the watch is."""
        return {"type": "BOOKMARK", "object": self.printer.bookmark(self.place, initial=initial)}

    def lines(self, item: Event | Key) -> list[Line]:
        """What the client is told of a change of an object or of its conditions."""
        if isinstance(item, Key):
            record = self.printer.backend.record(item)
            if record is None or not self._sees(record):
                return []
            if record.revision > self._told:
                return []  # its change is still to come, and with it the conditions
            if self._stood.get(item) == self._standing(item):
                return []
            return [self._line("MODIFIED", record)]
        self._told = item.revision
        before = item.previous is not None and self._sees(item.previous)
        after = item.type is not EventType.DELETED and self._sees(item.record)
        if after:
            return [self._line("MODIFIED" if before else "ADDED", item.record)]
        return [self._line("DELETED", _leaving(item))] if before else []

    def is_about(self, key: Key) -> bool:
        """Is the object in the collection?"""
        target = self.printer.target
        if (key.group, key.kind) != (target.kind.group, target.kind.kind):
            return False
        return target.namespace is None or key.namespace == target.namespace

    def _standing(self, key: Key) -> int:
        return hash(tuple(self.printer.backend.pages.conditions(key)))

    def _sees(self, record: Record) -> bool:
        return reads.is_selected(record, self._selector)

    def _line(self, kind: str, record: Record) -> Line:
        columns, self._columns = self._columns, False
        if kind == "DELETED":
            self._stood.pop(record.key, None)
        else:
            self._stood[record.key] = self._standing(record.key)
        return {"type": kind, "object": self.printer.one(record, columns=columns)}


def _leaving(event: Event) -> Record:
    """An object that no longer is selected, as it last was, at the new revision."""
    if event.type is EventType.DELETED or event.previous is None:
        return event.record
    metadata = {**event.previous.document["metadata"], "resourceVersion": str(event.revision)}
    document = {**event.previous.document, "metadata": metadata}
    return msgspec.structs.replace(event.previous, document=document, revision=event.revision)


@asynccontextmanager
async def following(
    watching: Watch,
) -> AsyncIterator[asyncio.Queue[Event | Key | ExpiredError]]:
    """What happens to the collection from now on, in a queue that holds the sender back."""
    queue: asyncio.Queue[Event | Key | ExpiredError] = asyncio.Queue(_WAITING)
    touched: set[Key] = set()
    wake = asyncio.Event()

    def touch(key: Key) -> None:
        if watching.is_about(key):
            touched.add(key)
            wake.set()

    async def conditions() -> None:
        while True:
            await wake.wait()
            wake.clear()
            for key in sorted(touched):
                touched.discard(key)
                await queue.put(key)

    stop = watching.printer.backend.pages.follow_conditions(touch)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_events(watching, queue), name="watch:events"),
            group.create_task(conditions(), name="watch:conditions"),
        ]
        try:
            yield queue
        finally:
            stop()
            for task in tasks:
                task.cancel()


async def _events(watching: Watch, queue: asyncio.Queue[Event | Key | ExpiredError]) -> None:
    store = watching.printer.backend.store
    try:
        async with aclosing(store.events(None, watching.place)) as events:  # type: ignore[type-var]
            async for event in events:
                if watching.is_about(event.record.key):
                    await queue.put(event)
                watching.place = event.revision
    except ExpiredError as error:
        await queue.put(error)
