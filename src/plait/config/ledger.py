"""The objects that every source has, and which of them are in force; a pure decision per write.

Of several sources that define one key, the one that changed last is in force.  A `Draft` works
out what a batch of writes does (rows to store, changes for the engine, events for watchers)
without touching the `Ledger`; the store accepts it once it is durable.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Protocol

from msgspec import structs

from plait.base.errors import ConflictError
from plait.config import history, shapes
from plait.config.kinds.pod import Pod, PodStatus
from plait.config.meta import Key, Object
from plait.config.ports import Batch, Change, Fault
from plait.config.record import Event, EventType, Record, Write, at_revision, content, timestamp
from plait.config.record import seconds as parse_seconds

Held = Mapping[str, Record]  # by source

_NONE: Held = {}


def in_force(held: Held) -> Record | None:
    """The newest record that could be decoded; else the newest."""
    return max(held.values(), key=lambda r: (r.object is not None, r.revision), default=None)


class Base(Protocol):
    """What a draft is made upon: the ledger, or another draft."""

    revision: int

    def held(self, key: Key) -> Held:
        """Records of `key` by source."""
        ...


class Admission(Protocol):
    """Fills in what the writer of an object leaves out."""

    def load(self, records: Iterable[Record]) -> None:
        """Learn of what was stored."""
        ...

    def admitted(self, change: Change, base: Base) -> Change:
        """The change as it is kept, given what else there is."""
        ...


class AsWritten:
    """Objects are kept as they are written."""

    def load(self, records: Iterable[Record]) -> None:
        """Nothing is learned."""

    def admitted(self, change: Change, base: Base) -> Change:
        """The change itself."""
        del base
        return change


class Ledger:
    """What is durable and applied."""

    def __init__(self, revision: int = 0) -> None:
        self.revision = revision
        self._held: dict[Key, dict[str, Record]] = {}
        self._kinds: dict[tuple[str, str], dict[Key, Record]] = {}
        self._order: dict[tuple[str, str], list[Key]] = {}  # of the kinds that were asked for

    def held(self, key: Key) -> Held:
        """Records of `key` by source."""
        return self._held.get(key, _NONE)

    def record(self, key: Key) -> Record | None:
        """The record of `key` in force."""
        return self._kinds.get((key.group, key.kind), {}).get(key)

    def records(self, group: str, kind: str, namespace: str | None) -> tuple[Record, ...]:
        """The records in force of one kind, in key order; of all namespaces if None."""
        found = self._kinds.get((group, kind), {})
        keys = self._order.get((group, kind))
        if keys is None:
            keys = self._order[group, kind] = sorted(found)
        return tuple(found[k] for k in keys if namespace is None or k.namespace == namespace)

    def of_source(self, source: str) -> tuple[Record, ...]:
        """All that a source has, in key order."""
        keys = sorted(key for key, held in self._held.items() if source in held)
        return tuple(self._held[key][source] for key in keys)

    def put(self, key: Key, held: Held) -> None:
        """Replace the records of `key`."""
        kind = self._kinds.setdefault((key.group, key.kind), {})
        if bool(held) != (key in kind):
            self._order.pop((key.group, key.kind), None)
        if held:
            self._held[key] = dict(held)
            record = in_force(held)
            assert record is not None  # noqa: S101 - `held` is not empty
            kind[key] = record
        else:
            self._held.pop(key, None)
            kind.pop(key, None)

    def load(self, records: Iterable[Record], revision: int) -> None:
        """Take in what was stored."""
        self.revision = revision
        for record in records:
            self.put(record.key, {**self.held(record.key), record.source: record})


class Draft:
    """What a batch of writes would do; nothing is changed until it is accepted."""

    def __init__(self, base: Base, admission: Admission) -> None:
        self.base = base
        self.admission = admission
        self.revision = base.revision
        self.changed: dict[Key, dict[str, Record]] = {}
        self.rows: list[history.Revision] = []
        self.statuses: list[history.Status] = []
        self.events: list[Event] = []

    def held(self, key: Key) -> Held:
        """Records of `key` by source, as they will be."""
        found = self.changed.get(key)
        return self.base.held(key) if found is None else found

    def accept(self, other: Draft) -> None:
        """Take over what a draft made upon this one does."""
        self.revision = other.revision
        self.changed.update(other.changed)
        self.rows += other.rows
        self.statuses += other.statuses
        self.events += other.events

    def write(self, write: Write, now: float, *, user: bool) -> Record | None:
        """Do one write; the record in force afterwards.

        A write of what is there already keeps the revision: for a user compared with what is in
        force, whoever has it; for a source with what that source has.

        Raises:
            ConflictError: `expect` is not met, or a user deletes what only another source has.
        """
        held = self.held(write.key)
        current = in_force(held)
        if write.expect is not None and write.expect != (current.revision if current else 0):
            raise ConflictError(_outdated(write, current))
        if write.change is None:
            self._delete(write, now, user=user)
        elif write.change.object is None:
            self._keep(write, write.change, now)
        else:
            own = current if user else held.get(write.source)
            self._put(write, write.change, own, now)
        return in_force(self.held(write.key))

    def _delete(self, write: Write, now: float, *, user: bool) -> None:
        held = dict(self.held(write.key))
        before = in_force(held)
        own = held.pop(write.source, None)
        if own is None:
            if user and before is not None:
                raise ConflictError(
                    f"{write.key} is defined by {before.source} ({before.origin}): delete it there"
                )
            return
        self.revision += 1
        at = self.revision
        heir = in_force(held)
        returns = heir is not None and before is own  # else the heir was in force all the time
        if heir is not None and returns:
            held[heir.source] = self._restated(heir, own)
        self.changed[write.key] = held
        event = self._event(write.key, before, at)
        gone = structs.replace(own, manager=write.manager, who=write.who, reason=write.reason)
        deleted = _row(structs.replace(gone, revision=at, at=now), "" if heir else event)
        self.rows.append(structs.replace(deleted, document=None))
        if heir is not None and returns:
            self.rows.append(_row(held[heir.source], event))
        elif heir is None:
            self.statuses.append(history.Status(key=write.key, revision=at, status=None))

    def _restated(self, heir: Record, gone: Record) -> Record:
        """The record that comes back into force: a change too, so it gets a revision of its own."""
        self.revision += 1
        same = content(heir.document) == content(gone.document)
        generation = gone.generation + (not same)
        document = at_revision(heir.document, self.revision)
        if "generation" in document["metadata"]:
            document["metadata"]["generation"] = generation
        return structs.replace(
            heir, document=document, revision=self.revision, generation=generation
        )

    def _keep(self, write: Write, change: Change, now: float) -> None:
        """A version that cannot be decoded: the last good one stays, with the problems."""
        held = self.held(write.key)
        own = held.get(write.source)
        if own is not None and own.object is not None:
            kept = structs.replace(own, problems=change.problems)
            self.changed[write.key] = {**held, write.source: kept}
        else:
            self._put(write, change, own, now)

    def _put(self, write: Write, change: Change, own: Record | None, now: float) -> None:
        change = self.admission.admitted(change, self)
        held = self.held(write.key)
        before = in_force(held)
        given = change.document or {}
        status = given.get("status", before.status if before else None)
        record = _record(write, change, own or before, status, now)
        is_known = own is not None and _stateless(record) == _stateless(own)
        if own is not None and is_known and ("status" not in given or status == own.status):
            told = structs.replace(own, problems=change.problems, object=record.object)
            if own.source == write.source:
                told = structs.replace(told, origin=change.origin)
            self.changed[write.key] = {**held, own.source: told}
            return
        self.revision += 1
        if own is not None and is_known:
            same = {"status": record.status, "document": record.document, "object": record.object}
            record = structs.replace(own, **same)
        elif own is None or content(record.document) != content(own.document):
            record = _next_generation(record, before)
        document = at_revision(record.document, self.revision)
        record = structs.replace(record, document=document, revision=self.revision)
        self.changed[write.key] = {**held, record.source: record}
        event = self._event(write.key, before, self.revision)
        if not is_known:
            self.rows.append(_row(record, event))
        if status != (before.status if before else None):
            self.statuses.append(
                history.Status(key=write.key, revision=self.revision, status=status)
            )

    def _event(self, key: Key, before: Record | None, revision: int) -> str:
        after = in_force(self.changed[key])
        if after is None:
            if before is None:
                return ""
            document = at_revision(before.document, revision)
            record = structs.replace(before, revision=revision, document=document)
            event = Event(type=EventType.DELETED, record=record, previous=before, revision=revision)
        elif before is None:
            event = Event(
                type=EventType.ADDED, record=after, previous=None, revision=after.revision
            )
        elif after.revision == before.revision:
            return ""
        else:
            event = Event(
                type=EventType.MODIFIED, record=after, previous=before, revision=after.revision
            )
        self.events.append(event)
        return event.type.value


def conflicts(held: Held) -> tuple[Record, ...]:
    """The records that are not in force, newest first."""
    winner = in_force(held)
    losers = (record for record in held.values() if record is not winner)
    return tuple(sorted(losers, key=lambda record: record.revision, reverse=True))


def retracted(had: Iterable[Record], batch: Batch) -> list[Write]:
    """Deletes of what a source `had` and that is not in all it has now.

    What an unreadable document of its file may be stays, and what is in an unreadable folder.
    """
    named = {change.key for change in batch.changes}
    unread: dict[str, list[Fault]] = {}
    for fault in batch.faults:
        unread.setdefault(_file(fault.origin.locator), []).append(fault)
    return [
        Write(key=record.key, change=None, source=record.source)
        for record in had
        if record.key not in named
        and not any(
            fault.may_be(record.key)
            for place in _places(record.origin.locator)
            for fault in unread.get(place, ())
        )
    ]


def _places(locator: str) -> Iterator[str]:
    """The file of a locator, and the folders around it."""
    file = _file(locator)
    yield file
    yield from map(str, PurePosixPath(file).parents)


def _file(locator: str) -> str:
    """The file of ``reviews.yaml:14``; empty for places that are no files."""
    return locator.partition(":")[0]


def _outdated(write: Write, current: Record | None) -> str:
    if current is None:
        return f"{write.key} does not exist (revision {write.expect} was expected): create it"
    if write.expect == 0:
        return f"{write.key} exists already ({current.origin}, revision {current.revision})"
    return (
        f"{write.key} was changed to revision {current.revision} after revision {write.expect} "
        "was read: read it again and repeat the change"
    )


def _record(
    write: Write, change: Change, like: Record | None, status: dict[str, Any] | None, now: float
) -> Record:
    """The record of a write, with the identity, generation and revision of `like`, if any."""
    document = dict(change.document or {})
    metadata = dict(document.get("metadata") or {})
    known = like.document["metadata"] if like else {}
    metadata["uid"] = metadata.get("uid") or known.get("uid") or str(uuid.uuid4())
    created = metadata.get("creationTimestamp") or known.get("creationTimestamp") or timestamp(now)
    metadata["creationTimestamp"] = created
    metadata["resourceVersion"] = str(like.revision if like else 0)
    if "spec" in document:
        metadata["generation"] = like.generation if like else 1
    document["metadata"] = metadata
    document.pop("status", None)
    if status is not None:
        document["status"] = status
    return Record(
        key=write.key,
        source=write.source,
        object=stated(identified(change.object, metadata["uid"], created), status),
        document=document,
        revision=0,
        generation=like.generation if like else 1,
        origin=change.origin,
        manager=write.manager,
        who=write.who,
        reason=write.reason,
        at=now,
        problems=change.problems,
        status=status,
    )


def identified(found: Object[Any] | None, uid: str, created: str) -> Object[Any] | None:
    """The object with its identity, which the document as written did not have."""
    if found is None:
        return None
    return structs.replace(found, uid=uid, created=parse_seconds(created))


def stated(found: Object[Any] | None, status: dict[str, Any] | None) -> Object[Any] | None:
    """A Pod with the state of its document; that of other kinds is no part of the object."""
    if found is None or not isinstance(found.spec, Pod):
        return found
    state = shapes.read(status, PodStatus, ("status",), []) if status is not None else None
    return structs.replace(found, spec=structs.replace(found.spec, status=state))


def _next_generation(record: Record, before: Record | None) -> Record:
    generation = before.generation + 1 if before else 1
    if before is not None and content(before.document) == content(record.document):
        generation = before.generation
    metadata = record.document["metadata"]
    if "spec" in record.document:
        metadata = {**metadata, "generation": generation}
    document = {**record.document, "metadata": metadata}
    return structs.replace(record, document=document, generation=generation)


def _stateless(record: Record) -> dict[str, Any]:
    return {k: v for k, v in record.document.items() if k != "status"}


def _row(record: Record, event: str) -> history.Revision:
    return history.Revision(
        revision=record.revision,
        key=record.key,
        version=str(record.document.get("apiVersion", "")).rpartition("/")[2],
        uid=record.uid,
        source=record.source,
        locator=record.origin.locator,
        manager=record.manager,
        who=record.who,
        reason=record.reason,
        at=record.at,
        generation=record.generation,
        event=event,
        document=_stateless(record),
    )
