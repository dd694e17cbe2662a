"""Objects in files: a directory with its sub-folders, or one file, followed by looking.

Looking (every 0.2 s, in a thread) works on every file system, through the symbolic links of a
mounted ConfigMap and for every way an editor saves; what is read is decided by size, times and
inode, so a quiet tree costs a `stat` for each file.  What is away is not gone: a directory that
is missing, or another one in its place, takes nothing away before it has settled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from plait.base.clock import Clock, WallClock
from plait.base.errors import SourceUnavailableError
from plait.config import codec
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.meta import Key, Origin
from plait.config.ports import Batch, Change, Fault
from plait.sources.tree import Look, look, lost

INTERVAL = 0.2
"""Seconds between two looks."""
SETTLE = 2.0
"""Seconds without a change after which a directory that was away is believed to be whole."""

_SERVERS_OWN = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")


class Content(Struct, frozen=True, kw_only=True):
    """What one file holds.

    Attributes:
        faults: documents that cannot be read; objects that the file had before, that are in
            none of its documents now and that one of these may be, stay.
        doubtful: it lost objects since the last look.  They stay until the next look finds the
            same: an editor may be in the middle of saving it.
    """

    changes: tuple[Change, ...] = ()
    faults: tuple[Fault, ...] = ()
    doubtful: bool = False


class Files:
    """A source over a directory or a single file."""

    def __init__(
        self,
        path: Path,
        *,
        name: str = "files",
        interval: float = INTERVAL,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._path = path
        self._interval = interval
        self._clock = clock or WallClock()
        self._mounted = False  # a file system began there when it was seen last
        self._doubted = False  # it was away, and has not been quiet for `SETTLE` since

    async def watch(self) -> AsyncIterator[Batch]:
        """Yield all objects, then what changes; locators are relative to the directory.

        Of an object that is in two files the first by path is taken, and says so (PLT1009).
        After the directory was away nothing is said to be gone until it has been quiet for
        `SETTLE`: it may be half written.  Then everything is said once more, as complete.

        Raises:
            SourceUnavailableError: the directory is missing, cannot be read, or is another one.
        """
        seen = Look()
        contents: dict[str, Content] = {}
        told: Batch | None = None
        quiet = self._clock.monotonic()  # since then
        while True:
            found = await self._look(None if told is None else seen)
            doubtful = frozenset(file for file, held in contents.items() if held.doubtful)
            if found != seen:
                quiet = self._clock.monotonic()
            if found != seen or doubtful:
                contents = await self._renewed(contents, doubtful, seen, found)
                seen = found
            now = merged(contents, _unread(found.hidden, self.name))
            settled = self._doubted and self._clock.monotonic() - quiet >= SETTLE
            self._doubted = self._doubted and not settled
            batch = now if settled else step(told, now, doubted=self._doubted)
            if batch is not None:
                yield batch
            told = now
            await asyncio.sleep(self._interval)

    async def _look(self, seen: Look | None) -> Look:
        try:
            found = await asyncio.to_thread(self._found, seen)
        except SourceUnavailableError:
            self._doubted = True
            raise
        self._mounted = found.mounted
        return found

    def _found(self, seen: Look | None) -> Look:
        found = look(self._path)
        if why := lost(found, seen, mounted=self._mounted):
            raise SourceUnavailableError(f"{self._path} {why}")
        return found

    async def _renewed(
        self, contents: Mapping[str, Content], doubtful: frozenset[str], seen: Look, found: Look
    ) -> dict[str, Content]:
        """The contents at `found`, of which those that changed since `seen` are read."""
        fresh = {file for file, mark in found.files.items() if seen.files.get(file) != mark}
        read = await asyncio.to_thread(self._read, sorted((fresh | doubtful) & found.files.keys()))
        settled = frozenset(f for f in doubtful if found.files.get(f) == seen.files.get(f))
        present = {*found.files, *(file for file in contents if found.hides(file))}
        return updated(contents, frozenset(present), read, settled)

    def _read(self, files: list[str]) -> dict[str, Content]:
        base = self._path if self._path.is_dir() else self._path.parent
        return {file: _content(base / file, file, self.name) for file in files}


def step(told: Batch | None, now: Batch, *, doubted: bool) -> Batch | None:
    """What to say after `told` when there is `now`; None: nothing.

    In doubt what is missing is not said to be gone, and the first batch is not complete.
    """
    batch = difference(told or Batch(), now)
    if doubted:
        there = tuple(change for change in batch.changes if change.document is not None)
        batch = structs.replace(batch, changes=there)
    if told is None:
        return structs.replace(batch, complete=not doubted)
    return batch if batch.changes or now.faults != told.faults else None


def parsed(name: str, text: str, source: str) -> Content:
    """The objects of a text."""
    changes: list[Change] = []
    faults: list[Fault] = []
    for document in codec.read_yaml(text, name, source=source):
        found = document if isinstance(document, Fault) else codec.decode(document, source=source)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            changes.append(structs.replace(found, document=_written(found.document)))
    return Content(changes=tuple(changes), faults=tuple(faults))


def updated(
    before: Mapping[str, Content],
    present: frozenset[str],
    read: Mapping[str, Content],
    settled: frozenset[str] = frozenset(),
) -> dict[str, Content]:
    """The contents of all files after some of them were read anew and some went away.

    Objects that are new or changed count at once.  Those that a file no longer has stay while it
    has a document that cannot be read and may be about them (where it has no name, nobody can
    tell), and until a second look agrees: then the file is in `settled`.
    """
    contents = dict(before)
    for file in before.keys() | read.keys():
        if file in present and file not in read:
            continue
        old, new = before.get(file, Content()), read.get(file, Content())
        now = _completed(new, old, settled=file in settled)
        contents[file] = now
        if file not in present and not now.doubtful:
            del contents[file]
    return dict(sorted(contents.items()))


def merged(contents: Mapping[str, Content], hidden: tuple[Fault, ...] = ()) -> Batch:
    """Everything there is; of an object that is there twice, the first by path and line.

    The faults of what is `hidden` come first.
    """
    found: dict[Key, Change] = {}
    again: dict[Key, list[str]] = {}
    for content in contents.values():
        for change in content.changes:
            if found.setdefault(change.key, change) is not change:
                again.setdefault(change.key, []).append(change.origin.locator)
    for key, places in again.items():
        found[key] = _with_problem(found[key], places)
    faults = [fault for content in contents.values() for fault in content.faults]
    return Batch(changes=tuple(found.values()), complete=True, faults=(*hidden, *faults))


def difference(old: Batch, new: Batch) -> Batch:
    """What leads from one complete batch to the next."""
    before = {change.key: change for change in old.changes}
    after = {change.key: change for change in new.changes}
    gone = [Change(key=key, origin=had.origin) for key, had in before.items() if key not in after]
    changed = [change for key, change in after.items() if before.get(key) != change]
    return Batch(changes=(*gone, *changed), faults=new.faults)


def _content(path: Path, name: str, source: str) -> Content:
    try:
        return parsed(name, path.read_bytes().decode("utf-8-sig"), source)
    except UnicodeDecodeError as error:
        problem = f"is not text in UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
    except FileNotFoundError:
        return Content()
    except OSError as error:
        return Content(faults=_unread({name: error.strerror or str(error)}, source))
    return Content(faults=(Fault(origin=Origin(source=source, locator=name), problem=problem),))


def _unread(hidden: Mapping[str, str], source: str) -> tuple[Fault, ...]:
    return tuple(
        Fault(
            origin=Origin(source=source, locator=file),
            problem=f"cannot be read: {why}; its objects stay as they were",
            code="PLT1010",
        )
        for file, why in hidden.items()
    )


def _completed(new: Content, old: Content, *, settled: bool) -> Content:
    named = {change.key for change in new.changes}
    lost = [change for change in old.changes if change.key not in named]
    unread = [c for c in lost if any(fault.may_be(c.key) for fault in new.faults)]
    kept = unread if settled else lost
    return structs.replace(new, changes=(*new.changes, *kept), doubtful=len(kept) > len(unread))


def _with_problem(change: Change, places: list[str]) -> Change:
    others = ", ".join(places)
    problem = Diagnostic(
        code="PLT1009",
        severity=Severity.WARNING,
        subject=change.key,
        message=f"defined again in {others}; {change.origin.locator} is in force",
        hint="keep one of them",
    )
    return structs.replace(change, problems=(*change.problems, problem))


def _written(document: dict[str, Any] | None) -> dict[str, Any] | None:
    """The document without what only a server writes: it may have been copied out of one."""
    if document is None:
        return None
    metadata = document.get("metadata") or {}
    kept = {k: v for k, v in metadata.items() if k not in _SERVERS_OWN}
    return {**{k: v for k, v in document.items() if k != "status"}, "metadata": kept}
