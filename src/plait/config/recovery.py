"""Saving what can be read of a damaged database into a new one beside it."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from plait.base.errors import StoreError
from plait.config import database, history
from plait.config.history import History, Observed, Revision, Status, Transaction
from plait.config.meta import Key
from plait.config.seal import Seal

GAP = 1_000
"""By how much revisions jump, so that none that was lost is given out again."""

_CHUNK = 1_000  # rows written at once


class Recovered(Struct, frozen=True, kw_only=True):
    """What a recovery did.

    Attributes:
        file: the new database.
        kept: the damaged one, as it was.
        revisions: saved.
        objects: live after the last of them.
        lost: revisions that could not be read, at most: some of them may not have existed.
    """

    file: Path
    kept: Path
    revisions: int
    objects: int
    lost: int


class Salvage(Struct, frozen=True, kw_only=True):
    """What could be read."""

    revisions: tuple[Revision, ...] = ()
    statuses: tuple[Status, ...] = ()
    observed: tuple[Observed, ...] = ()
    newest: int = 0
    lost: int = 0


def recover(directory: Path) -> Recovered:
    """Move all that can be read into a new database; the damaged one is kept under a new name.

    What was deleted by a revision that is lost is there again, in its last version that is not.

    Raises:
        StoreError: there is no database, another process uses it, or nothing can be written.
    """
    file = directory / history.FILE
    if not file.exists():
        raise StoreError(f"there is no database {file}: nothing to recover")
    with closing(database.lock(directory)), database.translated(file):
        found = salvage(file)
        fresh = database.beside(file, ".recovered")
        objects = _write(fresh, found)
        kept = _free_name(file)
        for suffix in ("", database.LOG):
            part = database.beside(file, suffix)
            if part.exists():
                database.link(part, database.beside(kept, suffix))
        # The log goes first: SQLite would replay it over the new file.
        database.beside(file, database.LOG).unlink(missing_ok=True)
        fresh.replace(file)
    return Recovered(
        file=file,
        kept=kept,
        revisions=len(found.revisions),
        objects=objects,
        lost=found.lost,
    )


def salvage(file: Path) -> Salvage:
    """All that can be read, with the log if that gives more."""
    found = [Salvage()]
    for log in (True, False):
        with suppress(sqlite3.Error), database.viewed(file, log=log) as connection:
            found.append(_salvaged(connection))
    return max(found, key=lambda one: (len(one.revisions), len(one.statuses) + len(one.observed)))


def _salvaged(connection: sqlite3.Connection) -> Salvage:
    # Else SQLite refuses to read any page of a file that is shorter than its header says.
    connection.execute("PRAGMA writable_schema = ON")
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    revisions, lost = _revisions(connection)
    statuses = [
        Status(key=Key(g, k, ns, n), revision=r, status=history.decoded(s))
        for g, k, ns, n, r, s in _readable(connection, "SELECT * FROM status")
        if _is_json(s)
    ]
    observed = [
        Observed(table=t, key=k, at=at, value=v.encode())
        for t, k, at, v in _readable(connection, "SELECT * FROM observed")
        if _is_json(v)
    ]
    newest = [row.revision for row in revisions] + [status.revision for status in statuses]
    return Salvage(
        revisions=tuple(revisions),
        statuses=tuple(statuses),
        observed=tuple(observed),
        newest=max([_bound(connection), *newest]),
        lost=lost,
    )


def _revisions(connection: sqlite3.Connection) -> tuple[list[Revision], int]:
    """Every revision that can be read, and the number of those that cannot."""
    found: list[Revision] = []
    at, lost, bound = 0, 0, _bound(connection)
    stepped = False
    while True:
        try:
            for row in _ascending(connection, at):
                lost += row[0] - at - 1 if stepped else 0  # else they were forgotten in time
                at, stepped = row[0], False
                if _is_whole(row):
                    found.append(history.parse(row))
                else:
                    lost += 1
        except sqlite3.Error:  # a page is gone: step over its rows one by one
            at, lost, stepped = at + 1, lost + 1, True
            if at > bound:
                break
        else:
            break
    return found, lost


def _ascending(connection: sqlite3.Connection, after: int) -> Iterator[tuple[Any, ...]]:
    """The revisions after one; where pages are gone, SQLite may lead back to rows it gave before.

    Raises:
        sqlite3.Error: a page is gone.
    """
    for row in connection.execute(f"{history.SELECT}revision > ? ORDER BY revision", (after,)):
        if row[0] <= after:
            raise sqlite3.DatabaseError("the revisions are out of order")
        after = row[0]
        yield row


def _bound(connection: sqlite3.Connection) -> int:
    """The greatest revision ever given out, as far as can be read."""
    bounds = [0]
    for sql in ("SELECT max(seq) FROM sqlite_sequence", "SELECT max(revision) FROM live"):
        bounds += [value for (value,) in _readable(connection, sql) if isinstance(value, int)]
    return max(bounds)


def _readable(connection: sqlite3.Connection, sql: str) -> Iterator[tuple[Any, ...]]:
    with suppress(sqlite3.Error):
        yield from connection.execute(sql)


def _is_whole(row: tuple[Any, ...]) -> bool:
    """Whether a row has what it had when it was written: a torn page reads as zeros."""
    *texts, at, generation, event, document = row[1:]
    return (
        all(isinstance(text, str) for text in (*texts, event))
        and isinstance(at, float)
        and isinstance(generation, int)
        and (document is None or _is_json(document))
    )


def _is_json(text: Any) -> bool:
    try:
        history.decoded(text)
    except (TypeError, ValueError):
        return False
    return True


def _write(fresh: Path, found: Salvage) -> int:
    """Make the new database; return the number of live objects."""
    database.create(fresh, str(uuid.uuid4()))
    rows = History(fresh, database.connect(fresh), None, len(found.revisions) + 1, Seal())
    try:
        for start in range(0, len(found.revisions), _CHUNK):
            part = found.revisions[start : start + _CHUNK]
            rows.append(Transaction(revisions=part, durable=False))
        live = {row.key for row in rows.load().revisions}
        statuses = [status for status in found.statuses if status.key in live]
        rows.append(Transaction(statuses=statuses, observed=found.observed))
        rows.skip_to(found.newest + GAP)
    finally:
        rows.close()
    return len(live)


def _free_name(file: Path) -> Path:
    number = 1
    while database.beside(file, f".damaged-{number}").exists():
        number += 1
    return database.beside(file, f".damaged-{number}")
