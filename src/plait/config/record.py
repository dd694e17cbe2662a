"""What the store keeps about an object beside what queries see."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from msgspec import Struct

from plait.config.diagnostics import Diagnostic
from plait.config.meta import Key, Object, Origin
from plait.config.ports import Change

CONTROLLER: Final = "workload"
"""The source of what controllers write: whoever else changes that writes in its name."""


class Record(Struct, frozen=True, kw_only=True):
    """One object as one source has it.

    Attributes:
        object: what queries see; None: the document cannot be decoded and no earlier version
            could, so nothing of it is in force.
        document: the object in the JSON form of Kubernetes, `status` included, with uid,
            resourceVersion, creationTimestamp and (where it has a spec) generation filled in.
        revision: the resourceVersion: one global count, greater for every later change.
        generation: how often the object's content changed, without labels, annotations and status.
        problems: what reading the newest version found; errors mean that `object` and `document`
            are the last good version.
        at: when it was last changed, seconds since the epoch.
    """

    key: Key
    source: str
    object: Object[Any] | None
    document: dict[str, Any]
    revision: int
    generation: int
    origin: Origin
    manager: str = ""
    who: str = ""
    reason: str = ""
    at: float = 0.0
    problems: tuple[Diagnostic, ...] = ()
    status: dict[str, Any] | None = None

    @property
    def uid(self) -> str:
        """The object's identity; another one after it was deleted and made again."""
        uid: str = self.document["metadata"]["uid"]
        return uid


class Write(Struct, frozen=True, kw_only=True):
    """One change that somebody asks the store for.

    Attributes:
        change: the object as it shall be; None: deleted.  A document without ``status`` keeps
            the present one.  A uid or creationTimestamp in the document is kept as it is.
        manager: field manager; `who`: user; `reason`: why; all for the history only.
        expect: the revision that must be in force; 0: the object must not exist; None: any.
    """

    key: Key
    change: Change | None
    source: str = "api"
    manager: str = ""
    who: str = ""
    reason: str = ""
    expect: int | None = None


class EventType(Enum):
    """What a watcher sees of a change, in the words of Kubernetes."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Event(Struct, frozen=True, kw_only=True):
    """One change of what is in force.

    Attributes:
        record: after the change; for DELETED as it was before, with the revision of the delete.
        previous: before the change; None when it was added.
    """

    type: EventType
    record: Record
    previous: Record | None
    revision: int


def timestamp(seconds: float) -> str:
    """A moment as Kubernetes writes it, to the second, in UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: Any) -> float:
    """The moment that an RFC 3339 text names, in seconds since the epoch; 0.0 if it names none."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def content(document: Mapping[str, Any]) -> dict[str, Any]:
    """What `generation` counts the changes of: all but the metadata and the status."""
    return {k: v for k, v in document.items() if k not in ("metadata", "status", "apiVersion")}


def at_revision(document: Mapping[str, Any], revision: int) -> dict[str, Any]:
    """A copy that says it is of `revision`."""
    metadata = {**document.get("metadata", {}), "resourceVersion": str(revision)}
    return {**document, "metadata": metadata}
