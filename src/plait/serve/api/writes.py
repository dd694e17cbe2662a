"""Put objects into the store: owners, validation, dry runs, conflicts, deletes that must wait."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from msgspec import Struct, structs

from plait.base.errors import ConflictError, StoreError
from plait.config.kinds.pod import Pod
from plait.config.meta import Object
from plait.config.ports import Change
from plait.config.record import CONTROLLER, Record, Write, content, timestamp
from plait.serve.api import admission, ownership, status
from plait.serve.api.backend import BUILT_IN, NAMESPACE, Backend, is_stored
from plait.serve.api.paths import Options, Target

API = "api"
"""Name of the source that writes of this API belong to."""

_WRITTEN = (API, CONTROLLER)  # what this API may change: controllers' objects in their name
_GRACE = 30  # seconds that a Pod has to end where it does not say


class Written(Struct, frozen=True, kw_only=True):
    """What a write came to.

    Attributes:
        record: what is in force now; for a dry run what would be.
        warnings: what the client should be told.
    """

    record: Record
    warnings: tuple[str, ...] = ()


class Writer(Struct, frozen=True, kw_only=True):
    """Writes objects for one request."""

    backend: Backend
    target: Target
    options: Options
    duplicates: Sequence[str] = ()
    patches: bool = False

    def entry(self, operation: str) -> ownership.Entry:
        """Who the fields that this request sets will belong to."""
        return ownership.Entry(
            manager=self.options.manager,
            operation=operation,
            api_version=self.target.api_version,
            subresource=self.target.subresource,
            time=timestamp(self.backend.store.clock.now()),
        )

    def owned(self, old: Record | None, value: dict[str, Any]) -> dict[str, Any]:
        """The document with what it changes owned by this request's manager."""
        live = old.document if old else None
        table = self.target.kind.table
        return ownership.updated(table, live, value, self.entry("Update"))

    async def put(self, value: dict[str, Any], old: Record | None) -> Written:
        """Write a whole document in the place of `old`; None: it must not exist.

        Raises:
            ConflictError: something else was written in between.
            StatusError: the object is not valid, or not as it was expected to be.
        """
        value = admission.completed(value, old)
        admission.see_changeable(self.target, value, old)
        self._see_finalizers(value, old)
        name = value["metadata"]["name"]
        known = {one.path for one in old.problems} if old and self.patches else ()
        admitted = admission.admitted(self.target, value, self.options, self.duplicates, known)
        change = structs.replace(admitted.change, document=self._with_status(value, old))
        warnings = (*admitted.warnings, *self._remarks(name, old, value))
        if self._is_released(value, old) and old is not None:
            return await self._release(old, change, warnings)
        if self.options.dry_run:
            return Written(record=self._imagined(change, old), warnings=warnings)
        expect = old.revision if old else 0
        record = (await self._commit([self._write(change, expect)]))[0]
        if record is None:
            raise ConflictError(f"{change.key} was deleted at the same time")
        return Written(record=record, warnings=warnings)

    async def delete(
        self, records: Sequence[Record], *, grace: int | None = None
    ) -> tuple[Record | None, ...]:
        """Delete records together; what finalizers hold, and Pods that run, are marked instead.

        Args:
            records: of one kind, or of all that is in a namespace.
            grace: seconds that Pods have to end; None: as they say.

        Returns:
            For each record what is in force afterwards.

        Raises:
            StatusError: 409; another source has an object, and only it can delete it.
        """
        if self.options.dry_run:
            return tuple(None if not _finalizers(r.document) else r for r in records)
        writes = [self._deletion(record, grace) for record in records]
        return await self._commit(writes) if writes else ()

    def _deletion(self, record: Record, grace: int | None) -> Write:
        runs = self._runs(record)
        if not _finalizers(record.document) and not runs:
            return self._write(None, record.revision, record)
        seconds = _grace(record, grace) if runs else 0
        metadata = record.document["metadata"]
        before = metadata.get("deletionGracePeriodSeconds")
        if metadata.get("deletionTimestamp") and (before is None or before <= seconds):
            return self._write(self._restated(record, record.document), record.revision)
        end = timestamp(self.backend.store.clock.now() + seconds)
        marks = {"deletionTimestamp": end, "deletionGracePeriodSeconds": seconds}
        document = {**record.document, "metadata": {**metadata, **marks}}
        return self._write(self._restated(record, document), record.revision)

    def _restated(self, record: Record, value: dict[str, Any]) -> Change:
        target = structs.replace(
            self.target, namespace=record.key.namespace or None, version=_version(value)
        )
        options = structs.replace(self.options, validation="Ignore")
        return structs.replace(
            admission.admitted(target, value, options, ()).change, document=value
        )

    def _write(self, change: Change | None, expect: int | None, of: Record | None = None) -> Write:
        key = change.key if change else of.key if of else self.target.key
        held = self.backend.store.record(key)
        return Write(
            key=key,
            change=change,
            source=CONTROLLER if held and held.source == CONTROLLER else API,
            manager=self.options.manager,
            who=self.options.user,
            expect=expect,
        )

    async def _commit(self, writes: Sequence[Write]) -> tuple[Record | None, ...]:
        return await self.backend.store.commit(writes)

    def _with_status(self, value: dict[str, Any], old: Record | None) -> dict[str, Any]:
        """Only the subresource changes the status; the object itself keeps the one it has."""
        rest = {name: part for name, part in value.items() if name != "status"}
        if self.target.subresource == "status" and "status" in value:
            key = self.target.key
            return {**rest, "status": self.backend.without_conditions(key, value["status"])}
        kept = old.document.get("status") if old else None
        return rest if kept is None else {**rest, "status": kept}

    def _remarks(self, name: str, old: Record | None, value: dict[str, Any]) -> list[str]:
        told = []
        namespace = self.target.namespace
        if old is None and namespace and not self._is_declared(namespace):
            told.append(
                f'namespace "{namespace}" has no Namespace object; plait needs none, '
                "a cluster would refuse this"
            )
        others = [r for r in (old, *self._others(name)) if r and r.source not in _WRITTEN]
        if any(is_stored(r) for r in others) and _differs(others[0].document, value):
            other = others[0]
            told.append(
                f"PLT1008 {other.key} is also defined by {other.source} ({other.origin}): this "
                "version, the newer one, is in force until it is deleted or the other changes"
            )
        return told

    def _is_declared(self, namespace: str) -> bool:
        if namespace in BUILT_IN:
            return True
        return self.backend.store.record(NAMESPACE.key("", namespace)) is not None

    def _others(self, name: str) -> tuple[Record, ...]:
        return self.backend.store.conflicts(self.target.named(name))

    def _see_finalizers(self, value: dict[str, Any], old: Record | None) -> None:
        if old is None or not old.document["metadata"].get("deletionTimestamp"):
            return
        more = sorted(set(_finalizers(value)) - set(_finalizers(old.document)))
        if more:
            listed = ", ".join(f'"{name}"' for name in more)
            cause = status.Cause(
                reason="FieldValueForbidden",
                field="metadata.finalizers",
                message=(
                    "Forbidden: no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers []string{{{listed}}}"
                ),
            )
            raise status.invalid(self.target.kind, old.key.name, [cause])

    def _is_released(self, value: dict[str, Any], old: Record | None) -> bool:
        if old is None or self._runs(old):
            return False
        deleted = old.document["metadata"].get("deletionTimestamp")
        return bool(deleted) and not _finalizers(value)

    def _runs(self, record: Record) -> bool:
        """Whether it is a Pod that somebody ends and then takes away."""
        is_pod = (record.key.group, record.key.kind) == ("", "Pod")
        return is_pod and self.backend.runtime is not None and record.source in _WRITTEN

    async def _release(self, old: Record, change: Change, warnings: tuple[str, ...]) -> Written:
        """The last finalizer is gone: the object goes as well."""
        if not self.options.dry_run:
            await self._commit([self._write(None, old.revision, old)])
        return Written(record=self._imagined(change, old), warnings=warnings)

    def _imagined(self, change: Change, old: Record | None) -> Record:
        """The record that a write would lead to, at the old revision."""
        document = dict(change.document or {})
        metadata = {"uid": str(uuid.uuid4()), **document["metadata"]}
        metadata.setdefault("creationTimestamp", timestamp(self.backend.store.clock.now()))
        generation = old.generation if old else 1
        if old and content(document) != content(old.document):
            generation += 1
        if "spec" in document:
            metadata["generation"] = generation
        if old and is_stored(old):
            metadata["resourceVersion"] = str(old.revision)
        document["metadata"] = metadata
        return Record(
            key=change.key,
            source=API,
            object=change.object,
            document=document,
            revision=old.revision if old else 0,
            generation=generation,
            origin=change.origin,
        )


def refused(error: StoreError, target: Target, name: str) -> status.StatusError:
    """How a client sees that the store could not do what was asked."""
    if isinstance(error, ConflictError):
        return status.conflict(target.kind, name, str(error))
    return status.full(str(error))


def _grace(record: Record, asked: int | None) -> int:
    """Seconds that a Pod has to end."""
    if asked is not None:
        return max(0, asked)
    found: Object[Pod] | None = record.object
    seconds = found.spec.spec.termination_grace_period_seconds if found else None
    return _GRACE if seconds is None else seconds


def _finalizers(document: dict[str, Any]) -> list[str]:
    return list(document.get("metadata", {}).get("finalizers") or ())


def _version(document: dict[str, Any]) -> str:
    return str(document.get("apiVersion", "")).rpartition("/")[2]


def _differs(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return content(one) != content(other)
