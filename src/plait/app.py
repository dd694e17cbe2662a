"""The composition root: settings, sources, the store, the doors, joined and run."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from plait.base.clock import WallClock
from plait.base.tasks import supervise
from plait.config.store import Store, Tuning
from plait.serve.ads import Ads
from plait.serve.api import app as api
from plait.serve.pages import MeshPages
from plait.settings import Settings
from plait.sources.files import Files
from plait.sources.mesh_config import follow as follow_mesh_config

_log = structlog.get_logger(__name__)
COLLECT = 1.0
"""Seconds between two looks for memos that nobody needs any more."""


async def run(settings: Settings) -> None:
    """Run the control plane until SIGTERM or SIGINT.

    Raises:
        PlaitError: a setting, the data directory or an address is wrong; nothing is left running.
    """
    store = await Store.open(settings.data, WallClock(), tuning=_tuning(settings))
    try:
        await _serve(settings, store)
    finally:
        await store.close()


def _tuning(settings: Settings) -> Tuning:
    return Tuning(keep=settings.keep_revisions, source_deadline=settings.source_deadline)


async def _serve(settings: Settings, store: Store) -> None:
    ads = Ads(store)
    pages = MeshPages(store, ads)
    stopping = asyncio.Event()
    with _signals(stopping):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(store.run(), name="store")]
            if settings.files is not None:
                files = Files(settings.files)
                tasks.append(group.create_task(store.feed(files), name="source:files"))
            if settings.mesh_config is not None:
                following = follow_mesh_config(settings.mesh_config, store)
                tasks.append(group.create_task(following, name="source:mesh-config"))
            tasks += [
                group.create_task(ads.serve(settings.xds), name="ads"),
                group.create_task(api.serve(store, pages, settings.api), name="api"),
                group.create_task(_tidy(store), name="tidy"),
            ]
            await stopping.wait()
            for task in tasks:
                task.cancel()


async def _tidy(store: Store) -> None:
    """Forget what nobody needs, a little at a time; leave what was loaded to no collector."""
    await store.ready.wait()
    gc.collect()
    gc.freeze()
    while True:
        await asyncio.sleep(COLLECT)
        while store.engine.collect(0.005):
            await asyncio.sleep(0)


@contextmanager
def _signals(stopping: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT end the run in an orderly way."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
