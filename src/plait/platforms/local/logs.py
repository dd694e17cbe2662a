"""What containers say: one file for the run that is, one for the run before, neither endless."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

LARGEST = 10 * 1024 * 1024
"""Bytes of a log; above that its first part becomes the log of before."""
_LOOK = 0.1
_PART = 64 * 1024
_END = 4096  # of a log, in which its last line is looked for
_LONGEST = 500  # characters of a line that is quoted


def path(directory: Path, container: str, *, previous: bool = False) -> Path:
    """Where a container's log is."""
    return directory / f"{container}{'.previous' if previous else ''}.log"


def turn(directory: Path, container: str) -> None:
    """Begin a new log for a new run; the log that was is the previous one now."""
    with contextlib.suppress(FileNotFoundError):
        path(directory, container).replace(path(directory, container, previous=True))


def bound(directory: Path, container: str) -> None:
    """Empty a log that is too long, after copying it to the previous one.

    Who writes it has it open and appends, so it is emptied and not replaced; a line that is
    written in that moment may be lost.
    """
    log = path(directory, container)
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LARGEST:
            shutil.copyfile(log, path(directory, container, previous=True))
            os.truncate(log, 0)


def last_line(log: Path) -> str:
    """What was said last; empty: nothing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:_LONGEST] if said else ""


async def read(log: Path, *, tail: int | None, is_over: Callable[[], bool]) -> AsyncIterator[bytes]:
    """A log from its last `tail` lines on (None: from its start), in parts.

    Goes on with what is appended until `is_over` says that nothing will be; a log that is begun
    anew is read from its start.
    """
    position, inode = _start(log, tail), 0
    while True:
        ends = is_over()  # before reading: what was said until then is read
        try:
            with log.open("rb") as file:
                found = os.fstat(file.fileno())
                if (inode and found.st_ino != inode) or found.st_size < position:
                    position = 0
                inode = found.st_ino
                file.seek(position)
                while part := file.read(_PART):
                    position += len(part)
                    yield part
        except FileNotFoundError:
            inode = position = 0
        if ends:
            return
        await asyncio.sleep(_LOOK)


def _start(log: Path, tail: int | None) -> int:
    """Where the last lines begin."""
    if tail is None or not log.exists():
        return 0
    with log.open("rb") as file:
        position = end = file.seek(0, os.SEEK_END)
        lines, kept = tail, b""
        while position > 0:
            step = min(_PART, position)
            position -= step
            file.seek(position)
            kept = file.read(step) + kept
            if kept.removesuffix(b"\n").count(b"\n") >= lines:
                break
    if tail == 0:
        return end
    wanted = kept.splitlines(keepends=True)[-tail:]
    return end - sum(map(len, wanted))
