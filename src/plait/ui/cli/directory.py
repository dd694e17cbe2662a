"""The data directory of a mesh on this machine: made for it; what is ours in it, taken away."""

from __future__ import annotations

import contextlib
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import click

from plait.base.errors import PlaitError
from plait.base.place import Place

_LONGEST = 45  # characters of the run directory: paths of sockets below it must fit 107
_FILES = ("plait.db*", "lock", "secrets.key", "api.sock", "xds.sock", "api.address", "serve.log")
_DIRECTORIES = ("ca", "agent", "run")
_OTHER = "Name another directory with --data"
_MODE = 0o711  # Envoy's user must get through


class Directory:
    """Where a mesh has its data; other files of the user's may be in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = Place(path / "run")
        self._made: list[Path] = []
        self._found: frozenset[Path] | None = None
        self._mode: int | None = None

    def is_ours(self) -> bool:
        """Whether a mesh is here, or was and has left something."""
        signs = (self.path / "plait.db", self.place.mesh, self.place.specs)
        return any(path.exists() for path in signs)

    def prepare(self) -> None:
        """Make it, if it is not there, and let Envoy's user through.

        Raises:
            ClickException: it is of no use; nothing has been changed.
        """
        try:
            found = frozenset(self._ours())
            self._check(found)
            self._found = found if self._found is None else self._found
            self._make()
        except OSError as error:
            self.undo()
            raise click.ClickException(
                f"cannot use {self.path}: {error.strerror}. {_OTHER}"
            ) from error

    def undo(self) -> None:
        """Take away what was made since `prepare` for a mesh that did not come to be."""
        from plait.platforms.local.sweep import sweep

        if self._found is None:
            return
        alone = self.owned() if self.path.exists() else contextlib.nullcontext()
        with contextlib.suppress(click.ClickException, PlaitError), alone:
            if self.place.run in self._made:
                sweep(self.place.run)
            for path in set(self._ours()) - self._found - {self.place.run}:
                _remove(path)
            for path in reversed(self._made):
                with contextlib.suppress(OSError):  # somebody else's files are in it
                    path.rmdir()
            if self._mode is not None:
                self.path.chmod(self._mode)
        self._made, self._mode, self._found = [], None, None

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """While no control plane uses it.

        Raises:
            ClickException: one does.
        """
        from plait.config import database

        try:
            lock = database.lock(self.path)
        except PlaitError as error:
            raise click.ClickException(str(error)) from error
        with lock:
            yield

    def forget(self) -> None:
        """Remove what is ours in it, and the directory if that was all."""
        for path in self._ours():
            _remove(path)
        with contextlib.suppress(OSError):  # somebody else's files are in it
            self.path.rmdir()

    def _ours(self) -> Iterator[Path]:
        """What is there under the names that we use."""
        for name in (*_FILES, *_DIRECTORIES):
            yield from self.path.glob(name)

    def _check(self, found: frozenset[Path]) -> None:
        if len(str(self.place.run)) > _LONGEST:
            raise click.ClickException(
                f"{self.path} is too long a path: sockets below it could not be opened. "
                f"Name a directory of at most {_LONGEST - len('/run')} characters with --data"
            )
        there = (path for path in self.path.parents if path.exists())
        if closed := [path for path in there if not path.stat().st_mode & stat.S_IXOTH]:
            raise click.ClickException(
                f"{closed[0]} is closed to other users, and Envoy runs as one. {_OTHER}"
            )
        if found and not self.is_ours():
            raise click.ClickException(f"{min(found)} is there and not plait's. {_OTHER}")

    def _make(self) -> None:
        for path in (*reversed(self.path.parents), self.path, self.place.run, self.place.specs):
            if not path.exists():
                path.mkdir()
                self._made.append(path)
                path.chmod(_MODE)
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if not mode & stat.S_IXOTH:
            self.path.chmod(mode | stat.S_IXOTH)
            self._mode = mode


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
