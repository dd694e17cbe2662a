"""From what is stored back to records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from plait.base.table import Index
from plait.config import catalog, codec, history, seal
from plait.config.jobs import Row
from plait.config.kinds.observed import Rejection
from plait.config.ledger import Admission, AsWritten, identified
from plait.config.meta import Key, Origin
from plait.config.ports import Change
from plait.config.record import Event, EventType, Record, at_revision

_STORED: Mapping[str, type[Struct]] = {"Rejection": Rejection}
_log = structlog.get_logger(__name__)

Decode = Callable[[Mapping[str, Any], str], Change | None]  # (document, source)


class Kinds(Struct, frozen=True, kw_only=True):
    """What the store must know of the kinds of objects.

    Attributes:
        tables: of the engine, with their indexes.
        names: (group, kind) → name of the table.
        decode: a document as a source has it → the object; None: of no known kind.
        admission: what is filled in when objects are written.
    """

    tables: Mapping[str, Mapping[str, Index]]
    names: Mapping[tuple[str, str], str]
    decode: Decode
    admission: Admission = AsWritten()

    @classmethod
    def known(cls, admission: Admission | None = None) -> Kinds:
        """The kinds of the catalog; without an `admission` objects are kept as written."""
        names = {(kind.group, kind.kind): kind.table for kind in catalog.KINDS.values()}
        return cls(
            tables=catalog.tables(),
            names=names,
            decode=_decoded,
            admission=admission or AsWritten(),
        )

    def table(self, key: Key) -> str | None:
        """The table of an object; None: of no known kind, it is stored but not in force."""
        return self.names.get((key.group, key.kind))

    def named(self, table: str) -> tuple[str, str]:
        """Group and kind of a table; a KeyError names one that does not exist."""
        for kind, name in self.names.items():
            if name == table:
                return kind
        raise KeyError(table)


def restored(contents: history.Contents, kinds: Kinds) -> list[Record]:
    """The records that were live, with their newest status; a spoiled row is left out, and said."""
    statuses = {status.key: status for status in contents.statuses}
    live = [row for row in contents.revisions if row.document is not None]
    newest = {row.key: row for row in live}  # the greatest one wins
    found = []
    for row in live:
        status = statuses.get(row.key) if newest[row.key] is row else None
        if (one := record(row, status, kinds)) is None:
            _log.warning("row not readable", key=str(row.key), revision=row.revision)
        else:
            found.append(one)
    return found


def record(row: history.Revision, status: history.Status | None, kinds: Kinds) -> Record | None:
    """The record of a revision; None: it is a delete, or its document is not one of ours."""
    document = row.document or {}
    if not _is_whole(document):
        return None
    revision = row.revision
    if status is not None:
        revision = max(revision, status.revision)
        document = at_revision({**document, "status": status.status}, revision)
    change = _change(row, document, kinds)
    created = document["metadata"]["creationTimestamp"]
    return Record(
        key=row.key,
        source=row.source,
        object=identified(change.object, row.uid, created) if change else None,
        document=document,
        revision=revision,
        generation=row.generation,
        origin=Origin(source=row.source, locator=row.locator),
        manager=row.manager,
        who=row.who,
        reason=row.reason,
        at=row.at,
        problems=change.problems if change else (),
        status=status.status if status else None,
    )


def _is_whole(document: Mapping[str, Any]) -> bool:
    """Has it what the store gives every document?"""
    metadata = document.get("metadata")
    return isinstance(metadata, dict) and all(
        isinstance(metadata.get(name), str) for name in ("uid", "creationTimestamp")
    )


def _change(row: history.Revision, document: dict[str, Any], kinds: Kinds) -> Change | None:
    if seal.is_secret(row.key) and seal.is_sealed(document):
        origin = Origin(source=row.source, locator=row.locator)
        told = (seal.unreadable(row.key, document),)
        return Change(key=row.key, origin=origin, document=document, problems=told)
    try:
        return kinds.decode(document, row.source)
    except Exception:  # noqa: BLE001 - our bug, met through one object: it must not stop the store
        _log.exception("row not decoded", key=str(row.key), revision=row.revision)
        return None


def events(
    rows: Iterable[tuple[history.Revision, history.Revision | None]],
    statuses: Mapping[Key, dict[str, Any] | None],
    kinds: Kinds,
) -> list[Event]:
    """What watchers saw of revisions, each given with the version in force before it.

    Old statuses are not kept: an object that still exists is shown with its newest.
    """
    found = []
    for row, before in rows:
        status = statuses.get(row.key)
        kind = EventType(row.event)
        made = kind is EventType.ADDED  # what was of that name before is another object
        previous = _with(before, status, kinds) if before and not made else None
        after = _with(row, status, kinds) if row.document is not None else previous
        if after is None:  # what was deleted is no longer kept: there is nothing to show
            continue
        if row.document is None:
            document = at_revision(after.document, row.revision)
            after = Record(
                key=row.key,
                source=after.source,
                object=after.object,
                document=document,
                revision=row.revision,
                generation=after.generation,
                origin=after.origin,
                at=row.at,
            )
        found.append(Event(type=kind, record=after, previous=previous, revision=row.revision))
    return found


def _with(row: history.Revision, status: dict[str, Any] | None, kinds: Kinds) -> Record | None:
    shown = history.Status(key=row.key, revision=0, status=status) if status is not None else None
    return record(row, shown, kinds)


def _decoded(document: Mapping[str, Any], source: str) -> Change | None:
    found = codec.decode(dict(document), source=source)
    return found if isinstance(found, Change) else None


def seen(contents: history.Contents) -> Iterator[Row]:
    """Stored rows that no user wrote; one of another version's form is left out, and said."""
    for row in contents.observed:
        if row.value is None or row.table not in _STORED:
            continue
        try:
            value = msgspec.json.decode(row.value, type=_STORED[row.table])
        except msgspec.MsgspecError as error:
            _log.warning("row not readable", key=f"{row.table} {row.key}", error=str(error))
        else:
            yield row.table, row.key, value
