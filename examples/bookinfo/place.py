"""Where a running demo keeps everything: one directory of its user, gone when it stops.

Whoever holds the lock in it is the running demo; what a killed one left is swept by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from examples.bookinfo import processes

STOPPING = 40.0
"""Seconds that a demo is given to stop before it is killed."""


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


def default() -> Path:
    """The directory that every terminal of this user finds without being told."""
    return Path(f"/tmp/plait-demo-{os.getuid()}")  # noqa: S108 - mode and owner are checked


class Place:
    """The directory of one demo."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mesh = path / "mesh"
        self.logs = path / "logs"
        self.tmp = path / "tmp"
        self.env = path / "env"
        self.kubeconfig = path / "kubeconfig"
        self.token = secrets.token_hex(16)
        self._state: dict[str, Any] = {"pid": os.getpid(), "token": self.token, "base_ids": []}

    def note(self, **news: Any) -> None:
        """Remember more about this run, for other terminals and for who sweeps up."""
        self._state |= news
        fresh = self.path / "state.json.new"
        fresh.write_text(json.dumps(self._state, indent=1))
        fresh.replace(self.path / "state.json")

    def base_id(self) -> int:
        """Sets the shared memory of one more Envoy apart; it is removed in the end."""
        while processes.shared_memory(number := 1000 + secrets.randbelow(60000)).exists():
            pass
        self.note(base_ids=[*self._state["base_ids"], number])
        return number


def state(path: Path) -> dict[str, Any]:
    """What the demo in `path` noted; empty: nothing yet."""
    try:
        found: dict[str, Any] = json.loads((path / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[Place]:
    """The directory, empty and for this process alone; removed with what runs there at the end.

    Raises:
        DemoError: another demo runs there, or the directory is not ours.
    """
    path = path.absolute()
    with _lock(path) as is_free:
        if not is_free:
            raise DemoError(_running(path))
        sweep(path)
        place = Place(path)
        for directory in (place.mesh, place.logs, place.tmp):
            directory.mkdir()
        place.note()
        try:
            yield place
        finally:
            sweep(path)
            shutil.rmtree(path, ignore_errors=True)


def stop(path: Path) -> bool:
    """End the demo in `path` and wait until nothing of it is left; False: none was running."""
    path = path.absolute()
    if not path.is_dir():
        return False
    deadline = time.monotonic() + STOPPING
    asked = 0
    while path.is_dir():
        with _lock(path) as is_free:
            if is_free:  # ended, or was killed and could not tidy up
                sweep(path)
                shutil.rmtree(path, ignore_errors=True)
                return bool(asked)
        pid = int(state(path).get("pid", 0))
        late = time.monotonic() > deadline
        if pid and asked < 1 + late:
            asked += 1
            processes.send(pid, kill=late)
        time.sleep(0.05)
    return True


def sweep(path: Path) -> None:
    """End what runs for the demo in `path`, and empty the directory but for the lock."""
    known = state(path)
    processes.end_all(known.get("token", ""))
    for number in known.get("base_ids", []):
        processes.shared_memory(number).unlink(missing_ok=True)
    for one in path.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one, ignore_errors=True)
        elif one.name != "lock":
            one.unlink(missing_ok=True)


def _running(path: Path) -> str:
    known = state(path)
    where = known.get("url") or "it is starting"
    return (
        f"a demo is running already: {where} (process {known.get('pid', 'unknown')}, "
        f"its files are in {path}). scripts/demo stop ends it"
    )


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Hold the lock of the directory, which is made if need be; False: somebody else has it."""
    while True:
        _make(path)
        try:
            number = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # removed under our hands
        with open(number, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            if _is_same(path / "lock", number):
                yield True
                return


def _make(path: Path) -> None:
    """A directory that nobody else can look into.

    Raises:
        DemoError: somebody else made it, or it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise DemoError(f"cannot make {path}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise DemoError(f"{path} belongs to somebody else; choose another with --place DIRECTORY")
    path.chmod(0o700)


def _is_same(path: Path, number: int) -> bool:
    """Whether the lock that is held is still the one that others see."""
    try:
        return path.stat().st_ino == os.fstat(number).st_ino
    except FileNotFoundError:
        return False
