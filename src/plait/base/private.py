"""Files that our own user alone can read, replaced whole."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, data: bytes, *, lasting: bool) -> None:
    """Replace a file; whoever reads finds the old one or the new one, whole.

    With `lasting` it is on the disk when this returns; else a machine that loses its power may
    have the old one again.

    Raises:
        OSError: it cannot be written; the old one is there still.
    """
    fresh = path.with_name(f".{path.name}.new")
    # Where somebody else may write to the directory, a link that he put there is not followed.
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        if lasting:
            file.flush()
            os.fsync(file.fileno())
    fresh.replace(path)
    if lasting:
        sync(path.parent)


def append(path: Path, data: bytes) -> None:
    """Add to a file; it is on the disk when this returns.

    Raises:
        OSError: it cannot be written; a part of it may be there.
    """
    is_new = not path.exists()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync(path.parent)


def sync(directory: Path) -> None:
    """Have the names in a directory on the disk.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
