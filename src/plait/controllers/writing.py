"""Actions as writes of the store, each upon the version that was decided on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, assert_never

from msgspec import structs

from plait.config import codec, shapes
from plait.config.kinds.discovery import EndpointSlice
from plait.config.kinds.pod import Pod, PodStatus
from plait.config.meta import Key, Object, Origin
from plait.config.ports import Change
from plait.config.record import CONTROLLER, Record, Write, timestamp
from plait.controllers import templates
from plait.controllers.actions import Action, Drop, Put, Report, Retire, Status

MANAGER = "plait-workload"
"""Field manager of what controllers write."""

Look = Callable[[Key], Record | None]


def writes(actions: Iterable[Action], look: Look, now: float) -> tuple[Write, ...]:
    """The writes that actions come to; `look` finds what is in force."""
    found = (_write(action, look, now) for action in actions)
    return tuple(write for write in found if write is not None)


def removal(record: Record) -> Write:
    """The end of an object whose Pod is gone; what finalizers hold stays."""
    metadata = record.document["metadata"]
    if metadata.get("finalizers"):
        return _kept(record, record.document, record.object)
    return Write(
        key=record.key,
        change=None,
        source=record.source,
        manager=MANAGER,
        expect=record.revision,
    )


def grace(record: Record) -> float:
    """Seconds that a Pod has to end: what its deletion said, or the Pod itself."""
    written = record.document["metadata"].get("deletionGracePeriodSeconds")
    found: Object[Pod] | None = record.object
    if written is not None:
        return float(written)
    return templates.grace(found.spec.spec) if found else templates.GRACE


def _write(action: Action, look: Look, now: float) -> Write | None:
    match action:
        case Put(object=wanted):
            return _put(wanted, look(wanted.key))
        case Drop(key=key):
            record = look(key)
            return removal(record) if record and record.source == CONTROLLER else None
        case Retire(key=key):
            record = look(key)
            return _retired(record, now) if record else None
        case Report(key=key, status=status):
            record = look(key)
            return _reported(record, status) if record else None
        case _ as never:
            assert_never(never)


def _put(wanted: Object[Any], before: Record | None) -> Write:
    document = codec.encode(wanted)
    if isinstance(wanted.spec, EndpointSlice):
        document["addressType"] = wanted.spec.address_type  # never left out in Kubernetes
    if before is not None:
        return _kept(before, document, wanted)
    return Write(
        key=wanted.key,
        change=Change(
            key=wanted.key,
            origin=Origin(source=CONTROLLER),
            object=wanted,
            document=document,
        ),
        source=CONTROLLER,
        manager=MANAGER,
        expect=0,
    )


def _retired(record: Record, now: float) -> Write | None:
    if record.object is None or record.object.deleted is not None:
        return None
    seconds = int(grace(record))
    end = int(now) + seconds
    marks = {"deletionTimestamp": timestamp(end), "deletionGracePeriodSeconds": seconds}
    document = {**record.document, "metadata": {**record.document["metadata"], **marks}}
    return _kept(record, document, structs.replace(record.object, deleted=float(end)))


def _reported(record: Record, status: Status) -> Write:
    written = shapes.write(status)
    if isinstance(status, PodStatus):
        for name in ("containerStatuses", "initContainerStatuses"):
            for one in written.get(name, ()):
                one.setdefault("ready", False)
                one.setdefault("restartCount", 0)
    return _kept(record, {**record.document, "status": written}, record.object)


def _kept(record: Record, document: dict[str, Any], found: Object[Any] | None) -> Write:
    """Another version of an object in the name of whoever has it."""
    return Write(
        key=record.key,
        change=Change(
            key=record.key,
            origin=record.origin,
            object=found,
            document=document,
            problems=record.problems,
        ),
        source=record.source,
        manager=MANAGER,
        expect=record.revision,
    )
