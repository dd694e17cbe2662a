"""Opens the database file without ever harming one that is damaged.

A file is first looked at through hard links in a directory of its own, read-only: SQLite then
makes its shared-memory file there, replays a write-ahead log there, and the originals keep every
byte.  Only a file that passed is opened for writing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO

from plait.base.errors import StoreCorruptError, StoreError, StoreFullError

SCHEMA = 1
"""The version of the tables that this plait reads and writes."""

LOG = "-wal"
"""What SQLite adds to the name of a database for its write-ahead log."""

PRIVATE = 0o600
"""Mode of every file: only plait's own user may read what users wrote."""

_NO_ROOM = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE revisions (
  revision INTEGER PRIMARY KEY AUTOINCREMENT,
  "group" TEXT NOT NULL, version TEXT NOT NULL, kind TEXT NOT NULL,
  namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL,
  source TEXT NOT NULL, locator TEXT NOT NULL,
  manager TEXT NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,
  at REAL NOT NULL, generation INTEGER NOT NULL, event TEXT NOT NULL, document TEXT);
CREATE INDEX revisions_of_object ON revisions (kind, namespace, name, "group", revision);
CREATE TABLE live (
  "group" TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  source TEXT NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY (kind, namespace, name, "group", source)) WITHOUT ROWID;
CREATE INDEX live_revision ON live (revision);
CREATE TABLE status (
  "group" TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  revision INTEGER NOT NULL, status TEXT NOT NULL,
  PRIMARY KEY (kind, namespace, name, "group")) WITHOUT ROWID;
CREATE TABLE observed (
  name TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (name, key)) WITHOUT ROWID;
"""

FORGET = """
DELETE FROM revisions WHERE revision IN (
  SELECT revision FROM revisions AS old
  WHERE revision <= ? AND revision NOT IN (SELECT revision FROM live)
    AND (document IS NULL OR event = '' OR EXISTS (
      SELECT 1 FROM revisions AS next
      WHERE next.kind = old.kind AND next.namespace = old.namespace AND next.name = old.name
        AND next."group" = old."group" AND next.revision > old.revision AND next.revision <= ?
        AND next.event != ''))
  ORDER BY revision LIMIT ?)"""
"""Forget at most so many (the third value) of the revisions up to one (the first and the second).

What was in force then stays: a watcher that is told of a later delete needs to see it.
"""


@contextmanager
def translated(file: Path | None) -> Iterator[None]:
    """Turn SQLite's and the system's errors into plait's, naming the file and the way out."""
    try:
        yield
    except sqlite3.Error as error:
        raise _error(error, file) from error
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror or error}") from error


def corrupt(file: Path | None, why: str) -> StoreCorruptError:
    """The error for a damaged file; it names the command that saves what can be read."""
    directory = file.parent if file else ""
    return StoreCorruptError(
        f"the database {file} is damaged ({why}); it was left as it is. "
        f"Save what can be read with: plait store recover --data {directory}"
    )


def lock(directory: Path) -> IO[str]:
    """Make this process the only one that uses the directory, until the file is closed.

    Raises:
        StoreError: another process uses it; the message names its id.
    """
    with translated(directory):
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / "lock").open("a+")
        Path(file.name).chmod(PRIVATE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        pid = file.read().strip() or "unknown"
        file.close()
        raise StoreError(
            f"{directory} is in use by another plait (process {pid}): stop it, "
            "or choose another directory with --data"
        ) from error
    try:
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
    except OSError:
        pass  # a full disk: the lock holds all the same, only its owner stays unnamed
    return file


def check(file: Path) -> None:
    """See that the file is whole and of a known schema; nothing is written beside it.

    Raises:
        StoreCorruptError: it is not; a missing file with a log beside it counts as damaged.
    """
    log = beside(file, LOG)
    if not file.exists():
        if log.exists() and log.stat().st_size:
            raise corrupt(file, "it is missing, but its log is there")
        return
    if file.stat().st_size == 0:
        raise corrupt(file, "it is empty")
    rows = _checked(file)
    if rows is None:
        return
    schema = int(rows[0][0]) if rows else 0
    if schema != SCHEMA:
        raise StoreCorruptError(
            f"the database {file} has schema {schema}, this plait knows {SCHEMA}; it was left as "
            f"it is. Use a newer plait, or save what this one can read with: "
            f"plait store recover --data {file.parent}"
        )


def _checked(file: Path) -> list[tuple[str]] | None:
    """The schema's version in the file, which is whole; None: there is no room to look at it.

    On a full disk the look is taken in the system's directory for temporary files.  If that is
    full too, the database is opened as it is: SQLite then finds gross damage only.
    """
    for place in (file.parent, Path(tempfile.gettempdir())):
        try:
            with viewed(file, place=place) as connection:
                found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if found != "ok":
                    raise corrupt(file, str(found).replace("\n", " "))
                sql = "SELECT value FROM meta WHERE name = 'schema'"
                return connection.execute(sql).fetchall()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _NO_ROOM:
                raise corrupt(file, str(error)) from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return None


@contextmanager
def viewed(
    file: Path, *, log: bool = True, place: Path | None = None
) -> Iterator[sqlite3.Connection]:
    """A read-only connection to the file as it is that leaves no trace beside it.

    Without `log`, what was written since the log was last folded into the file is not seen.
    SQLite needs a little room in `place`; None: where the file is.
    """
    with tempfile.TemporaryDirectory(dir=place or file.parent, prefix=".check-") as directory:
        view = Path(directory) / file.name
        for suffix in ("", LOG) if log else ("",):
            original = beside(file, suffix)
            if original.exists():
                link(original, beside(view, suffix))
        uri = f"{view.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            yield connection


def beside(file: Path, suffix: str) -> Path:
    """The file of that name with `suffix` added."""
    return file.with_name(file.name + suffix)


def create(file: Path, instance: str) -> None:
    """Make an empty database; it appears whole or not at all."""
    fresh = beside(file, ".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=PRIVATE)  # SQLite gives its logs the mode of the file
    with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        define(connection, instance)
    fresh.rename(file)


def define(connection: sqlite3.Connection, instance: str) -> None:
    """Make the tables."""
    connection.executescript(f"BEGIN;{_TABLES}COMMIT;")
    meta = (("schema", str(SCHEMA)), ("instance", instance), ("compacted", "0"))
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta)


def connect(file: Path | None) -> sqlite3.Connection:
    """Open for writing, used by one thread at a time; None: a database in memory.

    Exclusive locking keeps the index of the log in memory, not in a mapped file that another
    process could cut.
    """
    for part in (file, beside(file, LOG)) if file else ():
        with suppress(OSError):  # one that is not ours, or on a file system without modes
            part.chmod(PRIVATE)
    connection = sqlite3.connect(
        file or ":memory:", isolation_level=None, check_same_thread=False, timeout=1.0
    )
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def link(original: Path, name: Path) -> None:
    """Give a file a second name; a copy where the file system has no hard links."""
    try:
        name.hardlink_to(original)
    except OSError:
        shutil.copyfile(original, name)


def _error(error: sqlite3.Error, file: Path | None) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFullError(f"no room left to write {file}: free some space and try again")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return corrupt(file, str(error))
    return StoreError(f"cannot use {file}: {error}")
