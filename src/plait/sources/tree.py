"""What a directory of files looks like at one moment, read from the file system without a trace."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from msgspec import Struct

from plait.base.errors import SourceUnavailableError

SUFFIXES = (".yaml", ".yml", ".json")

Signature = tuple[int, int, int, int]  # times of change of content and of inode, size, inode


class Look(Struct, frozen=True, kw_only=True):
    """What there is.

    Attributes:
        files: by relative path in order, with what tells a change.
        hidden: files, and folders with all that is in them, that cannot be looked at: why.
        place: device and inode of the directory; None: the path is one file.
        mounted: a file system begins there.
    """

    files: Mapping[str, Signature] = {}
    hidden: Mapping[str, str] = {}
    place: tuple[int, int] | None = None
    mounted: bool = False

    def hides(self, file: str) -> bool:
        """Nobody can tell whether the file is there."""
        return file in self.hidden or any(
            str(folder) in self.hidden for folder in PurePosixPath(file).parents
        )


def look(path: Path) -> Look:
    """See every file of objects below `path`, or the one file that it is.

    Hidden files and folders are left out: ``..data`` of a ConfigMap, an editor's swap files.

    Raises:
        SourceUnavailableError: the path is missing or cannot be read.
    """
    try:
        here = path.stat()
        if not stat.S_ISDIR(here.st_mode):
            return Look(files={path.name: signature(here)})
        found = {str(each.relative_to(path)): mark for each, mark in sorted(_walk(path, ()))}
        above = (path / "..").stat()
    except OSError as error:
        raise SourceUnavailableError(
            f"cannot read {error.filename or path}: {error.strerror}"
        ) from error
    return Look(
        files={file: mark for file, mark in found.items() if not isinstance(mark, str)},
        hidden={file: why for file, why in found.items() if isinstance(why, str)},
        place=(here.st_dev, here.st_ino),
        mounted=here.st_dev != above.st_dev,
    )


def lost(found: Look, seen: Look | None, *, mounted: bool) -> str:
    """Why this is not the directory that was there; empty: it may be.

    Args:
        found: by this look.
        seen: by the look before; None: by none, or the directory was away.
        mounted: a file system began there when it was there last.
    """
    if mounted and not found.mounted:
        return "is no longer mounted: mount it again, or restart plait to do without it"
    if seen is not None and seen.place != found.place:
        return "was replaced by another directory"
    return ""


def signature(found: os.stat_result) -> Signature:
    """What changes when a file or the right to read it does."""
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _walk(path: Path, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[Path, Signature | str]]:
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
                yield Path(entry.path), signature(entry.stat())
        except OSError as error:
            # Else it went away since the folder was read, or is a link that leads to itself.
            if error.errno not in (errno.ENOENT, errno.ELOOP):
                yield Path(entry.path), error.strerror or str(error)
