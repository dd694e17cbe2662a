"""The settings of the mesh, followed in a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from plait.base.errors import SourceUnavailableError
from plait.config import mesh_config
from plait.config.diagnostics import Severity
from plait.config.store import Store
from plait.sources.files import INTERVAL
from plait.sources.tree import Signature, look

_log = structlog.get_logger(__name__)


async def follow(path: Path, store: Store, *, interval: float = INTERVAL) -> None:
    """Put what `path` says into the table MeshConfig, for ever.

    A file that goes away or has an error leaves the settings as they were, and is logged once.
    """
    seen: Signature | None = None
    text: str | None = None
    lost = False
    while True:
        try:
            mark = await asyncio.to_thread(_signature, path)
            if mark != seen:
                found = await asyncio.to_thread(path.read_text, errors="replace")
                if found != text:
                    await _put(path, found, store)
                seen, text = mark, found
            lost = False
        except (SourceUnavailableError, OSError) as error:
            if not lost:
                _log.warning("mesh config lost", path=str(path), error=str(error))
            lost = True
        await asyncio.sleep(interval)


def _signature(path: Path) -> Signature:
    if path.is_dir():
        raise SourceUnavailableError(f"{path} is a directory: name a file in it")
    return look(path).files[path.name]


async def _put(path: Path, text: str, store: Store) -> None:
    settings, problems = mesh_config.read(text, path.name)
    for problem in problems:
        level = _log.error if problem.severity is Severity.ERROR else _log.warning
        level("mesh config problem", path=str(path), code=problem.code, error=str(problem))
    if settings is not None:
        await store.observe([("MeshConfig", "mesh", settings)])
