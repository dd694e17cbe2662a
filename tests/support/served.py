"""A store and a discovery service in the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from plait.base.clock import WallClock
from plait.config import codec
from plait.config.meta import Key
from plait.config.ports import Change
from plait.config.record import Write
from plait.config.store import Store
from plait.serve.ads import Ads
from plait.serve.doors import Door, Shown
from tests.support import mesh


class Plane:
    """A store and a discovery service in this process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ads = Ads(store)

    @property
    def address(self) -> str:
        return self.ads.addresses[0]

    async def put(self, *texts: str) -> int:
        """Write YAML; the revision."""
        changes = [change for text in texts for change in mesh.changes(text)]
        await self.store.commit([Write(key=change.key, change=change) for change in changes])
        return self.store.revision

    async def apply(self, *documents: dict[str, Any]) -> int:
        """Write documents; the revision."""
        changes = [codec.decode(document) for document in documents]
        assert all(isinstance(one, Change) and one.object for one in changes), changes
        await self.store.commit(
            [Write(key=c.key, change=c) for c in changes if isinstance(c, Change)]
        )
        return self.store.revision

    async def delete(self, key: Key) -> int:
        """Take an object away; the revision."""
        await self.store.commit([Write(key=key, change=None)])
        return self.store.revision

    async def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds, looked at whenever a client said something."""
        news = asyncio.Event()
        stop = self.ads.follow(news.set)
        try:
            async with asyncio.timeout(10):
                while not holds():
                    await news.wait()
                    news.clear()
        except TimeoutError:
            raise AssertionError(f"{what} did not happen: {self.ads.proxies()}") from None
        finally:
            stop()


@asynccontextmanager
async def serving(
    *addresses: str,
    home: Path | None = None,
    doors: Sequence[Door] = (),
    shown: Shown | None = None,
) -> AsyncIterator[Plane]:
    """A control plane; on the data in `home` it goes on where an earlier one ended."""
    store = await Store.open(home, WallClock())
    plane = Plane(store)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(store.run()),
            group.create_task(
                plane.ads.serve(addresses or ("127.0.0.1:0",), doors=doors, shown=shown)
            ),
        ]
        await plane.ads.started.wait()
        try:
            yield plane
        finally:
            for task in tasks:
                task.cancel()
    await store.close()
