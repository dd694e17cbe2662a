"""Every change ever made, in SQLite: append-only revisions, and the newest status beside them.

All methods block and are called by one thread at a time (the store's writer).  The log of the
database is written ahead; a commit that a user waits for is flushed to the disk
(``synchronous=FULL``), one of a source is not (``NORMAL``): after a power cut the source tells
it again.  Neither is lost when only the process dies.
"""

# budget: 420 lines, all statements on the tables in one place
from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct, structs

from plait.base.errors import ExpiredError, StoreError
from plait.config import database
from plait.config.meta import Key
from plait.config.seal import Seal

FILE = "plait.db"
"""Name of the database in the data directory."""

KEEP = 100_000
"""Old revisions kept by default."""

NEWEST_ONLY = frozenset(
    {("coordination.k8s.io", "Lease"), ("", "Event"), ("events.k8s.io", "Event")}
)
"""Kinds that change all the time and whose past nobody asks for."""

_COLUMNS = (
    'revision, "group", version, kind, namespace, name, uid, source, locator, '
    "manager, who, reason, at, generation, event, document"
)
_INSERT = f"INSERT INTO revisions ({_COLUMNS}) VALUES ({', '.join('?' * 16)})"  # noqa: S608
SELECT = f"SELECT {_COLUMNS} FROM revisions WHERE "  # noqa: S608 - constants only, here and below
"""Revisions in the columns that `parse` takes; the condition follows."""

_OBJECT = 'kind = ? AND namespace = ? AND name = ? AND "group" = ?'
_LIVE = f"SELECT revision FROM live WHERE {_OBJECT} AND source = ?"  # noqa: S608
_CHUNK = 5_000  # rows that one compaction removes, so that no write waits long for it


class Revision(Struct, frozen=True, kw_only=True):
    """One change of one object by one source.

    Attributes:
        event: what watchers saw: ``ADDED``, ``MODIFIED``, ``DELETED``; empty: nothing, because
            another source's version is in force.
        document: without status; None: the source deleted it.
    """

    revision: int
    key: Key
    version: str
    uid: str
    source: str
    locator: str = ""
    manager: str = ""
    who: str = ""
    reason: str = ""
    at: float = 0.0
    generation: int = 1
    event: str = ""
    document: dict[str, Any] | None = None


class Status(Struct, frozen=True, kw_only=True):
    """The newest status of an object, and the revision that wrote it; None: it has none."""

    key: Key
    revision: int
    status: dict[str, Any] | None


class Observed(Struct, frozen=True, kw_only=True):
    """A persisted row of a table that users do not write; `value` as JSON, None: removed."""

    table: str
    key: str
    at: float
    value: bytes | None


class Transaction(Struct, frozen=True, kw_only=True):
    """What is written together or not at all.

    Attributes:
        durable: on the disk before `append` returns; else after a power cut it may be lost.
    """

    revisions: Sequence[Revision] = ()
    statuses: Sequence[Status] = ()
    observed: Sequence[Observed] = ()
    durable: bool = True

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.revisions or self.statuses or self.observed)


class Contents(Struct, frozen=True, kw_only=True):
    """What was there at the start: the newest revision of every live object of every source."""

    revision: int
    revisions: tuple[Revision, ...]
    statuses: tuple[Status, ...]
    observed: tuple[Observed, ...]


class History:
    """An open database."""

    def __init__(
        self,
        file: Path | None,
        connection: sqlite3.Connection,
        lock: IO[str] | None,
        keep: int,
        seal: Seal,
    ) -> None:
        self.file = file
        self._seal = seal
        self._connection = connection
        self._lock = lock
        self._keep = keep
        self._most = keep + max(keep // 10, 1)  # rows, until it is worth a look what can go
        self._size = file.stat().st_size if file else 0
        self._rows: int = self._one("SELECT count(*) FROM revisions")
        self.compacted = int(self._meta("compacted"))
        self.instance = self._meta("instance")

    @classmethod
    def open(cls, directory: Path | None, keep: int = KEEP) -> History:
        """Open the database of a data directory, or make it; None: one in memory.

        Raises:
            StoreCorruptError: the file is damaged or of another schema; it is left as it is.
            StoreError: another process uses it, or the directory cannot be written.
        """
        if directory is None:
            connection = database.connect(None)
            database.define(connection, str(uuid.uuid4()))
            return cls(None, connection, None, keep, Seal.of(None))
        lock = database.lock(directory)
        file = directory / FILE
        try:
            with database.translated(file):
                database.check(file)
                if not file.exists():
                    database.create(file, str(uuid.uuid4()))
                seal = Seal.of(directory)
                return cls(file, database.connect(file), lock, keep, seal)
        except BaseException:
            lock.close()
            raise

    def close(self) -> None:
        """Fold the log into the file and let go of the directory."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    def load(self) -> Contents:
        """Everything that is live, in order of revision."""
        with database.translated(self.file):
            revisions = self._select(
                f"{SELECT}revision IN (SELECT revision FROM live) ORDER BY revision"  # noqa: S608
            )
            statuses = [
                Status(key=Key(g, k, ns, n), revision=r, status=decoded(s))
                for g, k, ns, n, r, s in self._connection.execute("SELECT * FROM status")
            ]
            observed = [
                Observed(table=t, key=k, at=at, value=v.encode())
                for t, k, at, v in self._connection.execute(
                    "SELECT * FROM observed ORDER BY name, key"
                )
            ]
            return Contents(
                revision=self._newest(),
                revisions=revisions,
                statuses=tuple(statuses),
                observed=tuple(observed),
            )

    def append(self, transaction: Transaction) -> None:
        """Write a transaction, then forget revisions beyond the number kept.

        Raises:
            StoreFullError: no room; nothing of it is written.
            StoreCorruptError: the file was changed from outside; nothing of it is written.
        """
        with database.translated(self.file):
            self._see_file()
            level = "FULL" if transaction.durable else "NORMAL"
            self._connection.execute(f"PRAGMA synchronous = {level}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._write(transaction)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._rows += len(transaction.revisions)
            self._size = self.file.stat().st_size if self.file else 0
        if self._rows > self._most:
            with suppress(StoreError):  # what was written is written; the next write tries again
                self._compact()

    def since(self, revision: int, limit: int = 1_000) -> tuple[Revision, ...]:
        """Revisions after `revision` that watchers saw, oldest first, at most `limit`.

        Raises:
            ExpiredError: some of them are no longer kept.
        """
        if revision < self.compacted:
            raise ExpiredError(
                f"revision {revision} is too old: kept are those after {self.compacted}. List again"
            )
        with database.translated(self.file):
            return self._select(
                SELECT + "revision > ? AND event != '' ORDER BY revision LIMIT ?",
                revision,
                limit,
            )

    def statuses_since(self, revision: int) -> tuple[tuple[Key, int], ...]:
        """Objects whose newest status was written after `revision`, and when, oldest first."""
        with database.translated(self.file):
            found = self._connection.execute(
                'SELECT "group", kind, namespace, name, revision FROM status WHERE revision > ? '
                "ORDER BY revision",
                (revision,),
            )
            return tuple((Key(*names), at) for *names, at in found)

    def before(self, key: Key, revision: int) -> Revision | None:
        """The last version of an object that was in force before `revision`, if it is kept."""
        with database.translated(self.file):
            found = self._select(
                f"{SELECT}{_OBJECT} AND revision < ? "
                "AND event != '' AND document IS NOT NULL ORDER BY revision DESC LIMIT 1",
                *_object(key),
                revision,
            )
            return found[0] if found else None

    def of(self, key: Key) -> tuple[Revision, ...]:
        """All kept revisions of an object, oldest first."""
        with database.translated(self.file):
            return self._select(f"{SELECT}{_OBJECT} ORDER BY revision", *_object(key))

    def skip_to(self, revision: int) -> None:
        """Count on from `revision`, and let no watcher resume before it."""
        with database.translated(self.file):
            write = self._connection.execute
            write("DELETE FROM sqlite_sequence WHERE name = 'revisions'")
            write("INSERT INTO sqlite_sequence VALUES ('revisions', ?)", (revision,))
            write("UPDATE meta SET value = ? WHERE name = 'compacted'", (str(revision),))
        self.compacted = revision

    def _write(self, transaction: Transaction) -> None:
        write = self._connection.execute
        for row in transaction.revisions:
            place = (*_object(row.key), row.source)
            if (row.key.group, row.key.kind) in NEWEST_ONLY:
                write(f"DELETE FROM revisions WHERE revision IN ({_LIVE})", place)  # noqa: S608
            write(_INSERT, self._values(row))
            write(f"DELETE FROM live WHERE {_OBJECT} AND source = ?", place)  # noqa: S608
            if row.document is not None:
                k = row.key
                write(
                    "INSERT INTO live VALUES (?, ?, ?, ?, ?, ?)",
                    (k.group, k.kind, k.namespace, k.name, row.source, row.revision),
                )
        for status in transaction.statuses:
            k = status.key
            write(f"DELETE FROM status WHERE {_OBJECT}", _object(k))  # noqa: S608
            if status.status is not None:
                text = encoded(status.status)
                write(
                    "INSERT INTO status VALUES (?, ?, ?, ?, ?, ?)",
                    (k.group, k.kind, k.namespace, k.name, status.revision, text),
                )
        for seen in transaction.observed:
            write("DELETE FROM observed WHERE name = ? AND key = ?", (seen.table, seen.key))
            if seen.value is not None:
                write(
                    "INSERT INTO observed VALUES (?, ?, ?, ?)",
                    (seen.table, seen.key, seen.at, seen.value.decode()),
                )

    def _see_file(self) -> None:
        """A file that was cut or taken away must not be written on: rows would be torn."""
        if self.file is None:
            return
        size = self.file.stat().st_size if self.file.exists() else -1
        if size < self._size:
            raise database.corrupt(self.file, "it was cut or removed while in use")

    def _compact(self) -> None:
        with database.translated(self.file):
            cutoff = self._one(
                "SELECT revision FROM revisions ORDER BY revision DESC LIMIT 1 OFFSET ?", self._keep
            )
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                gone = self._connection.execute(database.FORGET, (cutoff, cutoff, _CHUNK)).rowcount
                self._connection.execute(
                    "UPDATE meta SET value = ? WHERE name = 'compacted'", (str(cutoff),)
                )
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._rows -= gone
            self.compacted = cutoff
            if gone < _CHUNK:
                self._most = max(self._rows, self._keep) + max(self._keep // 10, 1)

    def _newest(self) -> int:
        rows = self._one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence")
        return max(rows, self._one("SELECT coalesce(max(revision), 0) FROM status"))

    def _one(self, sql: str, *values: Any) -> int:
        return int(self._connection.execute(sql, values).fetchone()[0])

    def _meta(self, name: str) -> str:
        found = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,))
        return str(found.fetchone()[0])

    def _select(self, sql: str, *values: Any) -> tuple[Revision, ...]:
        return tuple(self._opened(parse(row)) for row in self._connection.execute(sql, values))

    def _opened(self, row: Revision) -> Revision:
        if row.document is None:
            return row
        document = self._seal.opened(row.key, row.document)
        return row if document is row.document else structs.replace(row, document=document)

    def _values(self, row: Revision) -> tuple[Any, ...]:
        document = None if row.document is None else self._seal.sealed(row.key, row.document)
        return _values(row, None if document is None else encoded(document))


def parse(row: Sequence[Any]) -> Revision:
    """A revision from its columns, in the order of the table."""
    r, group, version, kind, namespace, name, uid, source, locator, *rest = row
    manager, who, reason, at, generation, event, document = rest
    return Revision(
        revision=r,
        key=Key(group, kind, namespace, name),
        version=version,
        uid=uid,
        source=source,
        locator=locator,
        manager=manager,
        who=who,
        reason=reason,
        at=at,
        generation=generation,
        event=event,
        document=None if document is None else _document(document),
    )


def _document(text: str) -> dict[str, Any]:
    """Empty where the text is no JSON object."""
    with suppress(ValueError, TypeError):
        value = decoded(text)
        return value if isinstance(value, dict) else {}
    return {}


def encoded(value: Any) -> str:
    """A document as JSON; the slow way takes what JSON allows and few can read, as 10**30."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError):
        return json.dumps(value, default=str)


def decoded(text: str) -> Any:
    """What `encoded` wrote, with the same numbers."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return json.loads(text)
    return value


def _values(row: Revision, document: str | None) -> tuple[Any, ...]:
    k = row.key
    texts = (k.group, row.version, k.kind, k.namespace, k.name, row.uid, row.source, row.locator)
    others = (row.manager, row.who, row.reason)
    return (
        row.revision,
        *(str(text).encode(errors="replace").decode() for text in (*texts, *others)),
        *(row.at, row.generation, row.event, document),
    )


def _object(key: Key) -> tuple[str, str, str, str]:
    return key.kind, key.namespace, key.name, key.group
