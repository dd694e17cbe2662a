"""Files read with another user's rights: who names a path must not see more than that user."""

from __future__ import annotations

import ctypes
import os
import stat

from plait.base.aside import aside

_libc = ctypes.CDLL(None, use_errno=True)


def read_as(uid: int | None, path: str, limit: int) -> bytes:
    """The content of a file that the user and group `uid` may read; None: that we may.

    Raises:
        OSError: there is none, that user may not read it, or it has more than `limit` bytes.
    """
    if not path.startswith("/"):
        raise OSError(f'"{path}" is no absolute path')
    if uid is None:
        return _content(None, path, limit)
    return aside(f"user:{uid}", lambda: _become(uid), lambda: _content(uid, path, limit))


def _content(uid: int | None, path: str, limit: int) -> bytes:
    # A pipe, or a device, must not hold us up.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError(f"{path} is no file")
        if uid is not None and not _may_read(about, uid):
            raise PermissionError(f"{path} may not be read by user {uid}, as whom Envoy runs")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(f"{path} has more than {limit} bytes")
    return data


def _may_read(about: os.stat_result, uid: int) -> bool:
    """Whether it may be read without our own groups, which stay with a thread."""
    if about.st_uid == uid:
        return bool(about.st_mode & stat.S_IRUSR)
    return bool(about.st_mode & (stat.S_IRGRP if about.st_gid == uid else stat.S_IROTH))


def _become(uid: int) -> None:
    """Give this thread, and no other, the user's rights to files and none that overrule them."""
    _libc.setfsgid(uid)
    _libc.setfsuid(uid)
    if _libc.setfsuid(-1) != uid:
        raise PermissionError(f"files cannot be read as user {uid}")
