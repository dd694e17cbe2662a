"""The settings of the mesh, followed in a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from plait.base.errors import SourceUnavailableError
from plait.base.tasks import Backoff, Health, State, supervise
from plait.config import mesh_config
from plait.config.diagnostics import Severity
from plait.config.meta import Origin
from plait.config.ports import Fault
from plait.config.store import Store
from plait.sources.files import INTERVAL
from plait.sources.tree import Signature, signature

NAME = "mesh-config"
"""The source whose faults are those of the file."""

_log = structlog.get_logger(__name__)


async def follow(path: Path, store: Store, *, interval: float = INTERVAL) -> None:
    """Put what `path` says into the table MeshConfig, for ever.

    A file that goes away, cannot be read or has an error leaves the settings as they were; it is
    logged once, and a fault of the store until it is mended.
    """
    file = _File(path, store)

    async def run(health: Health) -> None:
        while True:
            store.blame(NAME, await file.look())
            health.up()
            await asyncio.sleep(interval)

    def on_state(health: Health) -> None:
        if health.state is State.DOWN:
            store.blame(
                NAME, [_fault("PLT1010", f"{health.error}; the settings stay as they were")]
            )

    backoff = Backoff(first=interval, limit=10 * interval)
    await supervise(run, name=f"source:{NAME}", backoff=backoff, on_state=on_state)


class _File:
    """What was read last, and the way to see whether there is something new."""

    def __init__(self, path: Path, store: Store) -> None:
        self._path = path
        self._store = store
        self._seen: Signature | None = None
        self._text: str | None = None
        self._faults: list[Fault] = []

    async def look(self) -> list[Fault]:
        """Put the settings if they are new and good; what is wrong with them."""
        read = await asyncio.to_thread(_read, self._path, self._seen)
        if read is not None:
            mark, text = read
            if text != self._text:
                self._faults = await self._put(text)
            self._seen, self._text = mark, text
        return self._faults

    async def _put(self, text: str) -> list[Fault]:
        settings, problems = mesh_config.read(text, self._path.name)
        for problem in problems:
            level = _log.error if problem.severity is Severity.ERROR else _log.warning
            level(
                "mesh config problem", path=str(self._path), code=problem.code, error=str(problem)
            )
        if settings is not None:
            await self._store.observe([("MeshConfig", "mesh", settings)])
        errors = (each for each in problems if each.severity is Severity.ERROR)
        return [_fault(each.code, each.message, each.locator) for each in errors]


def _read(path: Path, seen: Signature | None) -> tuple[Signature, str] | None:
    """What tells a change, and the text; None: as it was `seen`."""
    try:
        mark = signature(path.stat())
        return None if mark == seen else (mark, path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise SourceUnavailableError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceUnavailableError(
            f"{path} is not text in UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
        ) from error


def _fault(code: str, problem: str, locator: str = "") -> Fault:
    return Fault(origin=Origin(source=NAME, locator=locator), problem=problem, code=code)
