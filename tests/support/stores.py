"""A running store, and what one writes to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from plait.base.clock import ManualClock
from plait.config import codec
from plait.config.meta import Key, Origin
from plait.config.ports import Batch, Change, Source
from plait.config.record import Event, Record, Write
from plait.config.restore import Kinds
from plait.config.store import Store, Tuning

PATIENCE = 20.0


@asynccontextmanager
async def running(
    path: Path | None = None,
    *sources: Source,
    tuning: Tuning | None = None,
    kinds: Kinds | None = None,
) -> AsyncIterator[Store]:
    """A store with its writer at work; errors of the test come out as they are."""
    store = await Store.open(path, ManualClock(), kinds=kinds, tuning=tuning)
    failed: BaseException | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(store.run())]
        tasks += [group.create_task(store.feed(source)) for source in sources]
        try:
            async with asyncio.timeout(PATIENCE):
                yield store
        except BaseException as error:  # noqa: BLE001 - raised again outside the group
            failed = error
        for task in tasks:
            task.cancel()
    await store.close()
    if failed is not None:
        raise failed


def config_map(name: str, value: str = "1", **metadata: Any) -> dict[str, Any]:
    """A document without a spec."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "demo", **metadata},
        "data": {"value": value},
    }


def entry(name: str, host: str = "a.example", **metadata: Any) -> dict[str, Any]:
    """A document with a spec: a ServiceEntry."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "demo", **metadata},
        "spec": {
            "hosts": [host],
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "resolution": "DNS",
        },
    }


def broken(name: str) -> dict[str, Any]:
    """A document of which only the name can be read."""
    return {**entry(name), "spec": {"hosts": 7}}


def change(document: dict[str, Any], source: str = "api", locator: str = "") -> Change:
    """What a source says when it has `document`."""
    found = codec.decode(document, source=source)
    assert isinstance(found, Change), found
    return msgspec.structs.replace(found, origin=Origin(source=source, locator=locator))


def write(document: dict[str, Any], source: str = "api", **fields: Any) -> Write:
    """The write of a document."""
    found = change(document, source)
    return Write(key=found.key, change=found, source=source, **fields)


def delete(document: dict[str, Any], source: str = "api", **fields: Any) -> Write:
    """The delete of what a document names."""
    return Write(key=key(document), change=None, source=source, **fields)


def key(document: dict[str, Any]) -> Key:
    return change(document).key


async def put(store: Store, document: dict[str, Any], source: str = "api") -> Record:
    """Write a document; the record in force."""
    (record,) = await store.commit([write(document, source)])
    assert record is not None
    return record


async def events(store: Store, since: int = 0) -> list[Event]:
    """The events after `since` up to now."""
    found = []
    if store.revision > since:
        async for event in store.events(None, since):
            found.append(event)
            if event.revision >= store.revision:
                break
    return found


def told(found: list[Event]) -> list[tuple[str, str]]:
    """Events as (type, name)."""
    return [(event.type.value, event.record.key.name) for event in found]


class Said:
    """A source that says what it is told to, and notes when that was taken."""

    def __init__(self, name: str = "files") -> None:
        self.name = name
        self._batches: asyncio.Queue[Batch | Exception] = asyncio.Queue()

    async def say(self, *documents: dict[str, Any], complete: bool = False, **batch: Any) -> None:
        """Say that these are there, and wait until the store took it."""
        changes = tuple(change(document, self.name) for document in documents)
        await self.tell(Batch(changes=changes, complete=complete, **batch))

    async def forget(self, *documents: dict[str, Any]) -> None:
        """Say that these are gone."""
        origin = Origin(source=self.name)
        await self.tell(Batch(changes=tuple(Change(key=key(d), origin=origin) for d in documents)))

    async def tell(self, batch: Batch) -> None:
        self._batches.put_nowait(batch)
        await self._batches.join()

    def fail(self, error: Exception) -> None:
        self._batches.put_nowait(error)

    async def watch(self) -> AsyncIterator[Batch]:
        while True:
            said = await self._batches.get()
            try:
                if isinstance(said, Exception):
                    raise said
                yield said
            finally:
                self._batches.task_done()
