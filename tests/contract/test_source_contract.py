"""What every source must do.  An adapter adds a `World` of its own to `WORLDS`."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from plait.base.clock import ManualClock
from plait.base.errors import SourceUnavailableError
from plait.base.tasks import State
from plait.config.meta import Key
from plait.config.ports import Batch, Source
from plait.config.record import Event, EventType
from plait.config.store import Store
from plait.sources.files import SETTLE, Files
from tests.support.stores import config_map, entry, key, running

PATIENCE = 20.0


class World(Protocol):
    """Where a source's objects live, and the way to change them from outside."""

    def source(self) -> Source: ...

    def put(self, document: dict[str, Any]) -> None: ...

    def delete(self, document: dict[str, Any]) -> None: ...

    def vanish(self) -> None:
        """Make the place unreachable, keeping what is in it."""

    def come_back(self) -> None: ...

    def come_back_empty(self) -> None:
        """Be reachable again, with nothing in it."""

    def wait(self) -> None:
        """Let the time pass after which what did not come back counts as gone."""


class FilesWorld:
    def __init__(self, place: Path) -> None:
        self._directory = place / "mesh"
        self._directory.mkdir()
        self._clock = ManualClock()

    def source(self) -> Source:
        return Files(self._directory, interval=0.01, clock=self._clock)

    def put(self, document: dict[str, Any]) -> None:
        fresh = self._file(document).with_suffix(".new")
        fresh.write_text(yaml.safe_dump(document))
        fresh.rename(self._file(document))

    def delete(self, document: dict[str, Any]) -> None:
        self._file(document).unlink()

    def vanish(self) -> None:
        shutil.move(self._directory, self._directory.with_suffix(".away"))

    def come_back(self) -> None:
        shutil.move(self._directory.with_suffix(".away"), self._directory)

    def come_back_empty(self) -> None:
        self._directory.mkdir()

    def wait(self) -> None:
        self._clock.advance(SETTLE)

    def _file(self, document: dict[str, Any]) -> Path:
        return self._directory / f"{document['kind']}-{document['metadata']['name']}.yaml"


WORLDS: dict[str, Callable[[Path], World]] = {"files": FilesWorld}


@pytest.fixture(params=sorted(WORLDS))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return WORLDS[str(request.param)](tmp_path)


async def first(batches: AsyncIterator[Batch]) -> Batch:
    return await asyncio.wait_for(anext(batches), PATIENCE)


async def until(batches: AsyncIterator[Batch], changed: Key) -> Batch:
    """The batch that names an object."""
    async with asyncio.timeout(PATIENCE):
        async for batch in batches:
            if any(change.key == changed for change in batch.changes):
                return batch
    raise AssertionError(f"{changed} was not told")


def test_the_first_batch_is_everything(world: World):
    async def main():
        documents = [config_map("x"), entry("e")]
        for document in documents:
            world.put(document)
        async with aclosing(world.source().watch()) as batches:  # type: ignore[type-var]
            batch = await first(batches)
        assert batch.complete
        assert {change.key for change in batch.changes} == {key(d) for d in documents}
        for change in batch.changes:
            assert change.object is not None
            assert change.object.key == change.key
            assert change.origin.source == world.source().name
            assert change.origin.locator

    asyncio.run(main())


def test_the_first_batch_of_an_empty_source_is_empty_and_complete(world: World):
    async def main():
        async with aclosing(world.source().watch()) as batches:  # type: ignore[type-var]
            assert await first(batches) == Batch(complete=True)

    asyncio.run(main())


def test_later_batches_say_what_changed_and_nothing_else(world: World):
    async def main():
        world.put(config_map("x"))
        world.put(config_map("still"))
        async with aclosing(world.source().watch()) as batches:  # type: ignore[type-var]
            await first(batches)
            world.put(config_map("x", "2"))
            changed = await until(batches, key(config_map("x")))
            assert not changed.complete
            assert [change.object.spec.data for change in changed.changes if change.object] == [
                {"value": "2"}
            ]
            world.put(config_map("new"))
            await until(batches, key(config_map("new")))
            world.delete(config_map("x"))
            (gone,) = (await until(batches, key(config_map("x")))).changes
            assert gone.document is None
            assert gone.object is None

    asyncio.run(main())


def test_a_source_that_cannot_be_reached_says_so_and_names_the_place(world: World):
    async def main():
        world.vanish()
        async with aclosing(world.source().watch()) as batches:  # type: ignore[type-var]
            with pytest.raises(SourceUnavailableError, match=r"."):
                await first(batches)

    asyncio.run(main())


def test_what_a_source_said_stays_in_force_while_it_is_away(world: World):
    async def main():
        world.put(config_map("x"))
        async with running(None, world.source()) as store:
            await store.ready.wait()
            world.vanish()
            await state(store, State.DOWN)
            assert store.record(key(config_map("x"))) is not None
            assert [fault.code for fault in store.faults[world.source().name]] == ["PLT1010"]
            world.come_back()
            world.put(config_map("w"))
            event = await news(store)
            assert event.record.key == key(config_map("w"))
            assert store.record(key(config_map("x"))) is not None
            assert store.faults[world.source().name] == ()

    asyncio.run(main())


def test_a_source_that_comes_back_empty_is_believed_after_a_while(world: World):
    async def main():
        world.put(config_map("x"))
        async with running(None, world.source()) as store:
            await store.ready.wait()
            world.vanish()
            await state(store, State.DOWN)
            world.come_back_empty()
            world.put(config_map("w"))
            event = await news(store)
            assert event.record.key == key(config_map("w"))
            assert store.record(key(config_map("x"))) is not None
            world.wait()
            event = await news(store)
            assert (event.type, event.record.key) == (EventType.DELETED, key(config_map("x")))
            assert store.record(key(config_map("w"))) is not None

    asyncio.run(main())


def test_what_is_deleted_after_a_source_came_back_and_was_believed_is_gone(world: World):
    async def main():
        world.put(config_map("x"))
        async with running(None, world.source()) as store:
            await store.ready.wait()
            world.vanish()
            await state(store, State.DOWN)
            world.come_back()
            await state(store, State.UP)
            world.delete(config_map("x"))
            world.put(config_map("w"))
            await news(store)
            assert store.record(key(config_map("x"))) is not None
            world.wait()
            event = await news(store)
            assert (event.type, event.record.key) == (EventType.DELETED, key(config_map("x")))
            world.delete(config_map("w"))
            event = await news(store)
            assert (event.type, event.record.key) == (EventType.DELETED, key(config_map("w")))

    asyncio.run(main())


async def news(store: Store) -> Event:
    """The next event."""
    async for event in store.events(None, store.revision):
        return event
    raise AssertionError


async def state(store: Store, expected: State) -> None:
    """Wait until the only source is in that state."""
    async with asyncio.timeout(PATIENCE):
        while [health.state for health in store.sources.values()] != [expected]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_two_watches_of_one_place_see_the_same(world: World):
    async def main():
        world.put(config_map("x"))
        found = []
        for _ in range(2):
            async with aclosing(world.source().watch()) as batches:  # type: ignore[type-var]
                found.append(await first(batches))
        assert found[0] == found[1]

    asyncio.run(main())
