"""Objects in files: a directory with its sub-folders, or one file, followed by looking.

Looking (every 0.2 s, in a thread) works on every file system, through the symbolic links of a
mounted ConfigMap and for every way an editor saves; what is read is decided by size, time and
inode, so a quiet tree costs a `stat` for each file.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from plait.base.errors import SourceUnavailableError
from plait.config import codec
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.meta import Key, Origin
from plait.config.ports import Batch, Change, Fault

SUFFIXES = (".yaml", ".yml", ".json")
INTERVAL = 0.2
"""Seconds between two looks."""

_SERVERS_OWN = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")
Signature = tuple[int, int, int]  # time of change in ns, size, inode


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

    def __init__(self, path: Path, *, name: str = "files", interval: float = INTERVAL) -> None:
        self.name = name
        self._path = path
        self._interval = interval

    async def watch(self) -> AsyncIterator[Batch]:
        """Yield all objects, then what changes; locators are relative to the directory.

        Of an object that is in two files the first by path is taken, and says so (PLT1009).

        Raises:
            SourceUnavailableError: the directory is missing or cannot be read.
        """
        seen: dict[str, Signature] = {}
        contents: dict[str, Content] = {}
        told: Batch | None = None
        while True:
            found = await asyncio.to_thread(signatures, self._path)
            doubtful = frozenset(file for file, held in contents.items() if held.doubtful)
            if found != seen or doubtful or told is None:
                fresh = {file for file, mark in found.items() if seen.get(file) != mark}
                read = await asyncio.to_thread(
                    self._read, sorted((fresh | doubtful) & found.keys())
                )
                settled = frozenset(file for file in doubtful if found.get(file) == seen.get(file))
                contents = updated(contents, frozenset(found), read, settled)
                seen = found
                now = merged(contents)
                batch = now if told is None else difference(told, now)
                if told is None or batch.changes or now.faults != told.faults:
                    yield batch
                told = now
            await asyncio.sleep(self._interval)

    def _read(self, files: list[str]) -> dict[str, Content]:
        base = self._path if self._path.is_dir() else self._path.parent
        return {file: _content(base / file, file, self.name) for file in files}


def signatures(path: Path) -> dict[str, Signature]:
    """Every file of objects below `path`, by relative path in order, with what tells a change.

    Hidden files and folders are left out: ``..data`` of a ConfigMap, an editor's swap files.
    """
    try:
        if not path.is_dir():
            return {path.name: _signature(path.stat())}
        return {str(file.relative_to(path)): mark for file, mark in sorted(_walk(path, ()))}
    except OSError as error:
        raise SourceUnavailableError(
            f"cannot read {error.filename or path}: {error.strerror}"
        ) from error


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


def merged(contents: Mapping[str, Content]) -> Batch:
    """Everything there is; of an object that is there twice, the first by path and line."""
    found: dict[Key, Change] = {}
    again: dict[Key, list[str]] = {}
    for content in contents.values():
        for change in content.changes:
            if found.setdefault(change.key, change) is not change:
                again.setdefault(change.key, []).append(change.origin.locator)
    for key, places in again.items():
        found[key] = _with_problem(found[key], places)
    faults = tuple(fault for content in contents.values() for fault in content.faults)
    return Batch(changes=tuple(found.values()), complete=True, faults=faults)


def difference(old: Batch, new: Batch) -> Batch:
    """What leads from one complete batch to the next."""
    before = {change.key: change for change in old.changes}
    after = {change.key: change for change in new.changes}
    gone = [Change(key=key, origin=had.origin) for key, had in before.items() if key not in after]
    changed = [change for key, change in after.items() if before.get(key) != change]
    return Batch(changes=(*gone, *changed), faults=new.faults)


def _walk(path: Path, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[Path, Signature]]:
    here = path.stat()
    place = (here.st_dev, here.st_ino)
    if place in above:  # a link to a folder around it
        return
    with os.scandir(path) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in visible:
        try:
            if entry.is_dir():
                yield from _walk(Path(entry.path), (*above, place))
            elif entry.name.endswith(SUFFIXES) and entry.is_file():
                yield Path(entry.path), _signature(entry.stat())
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP):
                raise
            continue  # went away since the folder was read, or a link that leads to itself


def _signature(stat: os.stat_result) -> Signature:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _content(path: Path, name: str, source: str) -> Content:
    try:
        return parsed(name, path.read_bytes().decode("utf-8-sig"), source)
    except UnicodeDecodeError as error:
        problem = f"is not text in UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
    except FileNotFoundError:
        return Content()
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    return Content(faults=(Fault(origin=Origin(source=source, locator=name), problem=problem),))


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
