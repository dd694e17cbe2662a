"""Who owns which fields of an object: metadata.managedFields, read, changed and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from plait.serve.api import fields
from plait.serve.api.fields import Fields

_MOST_UPDATES = 10  # entries; older ones are joined, as Kubernetes does
ANCIENT = "ancient-changes"
BEFORE = "before-first-apply"


class Entry(Struct, frozen=True, kw_only=True):
    """What one manager owns.

    Attributes:
        operation: ``Apply`` or ``Update``; a manager that does both has two entries.
        time: RFC 3339; empty: the apply changed nothing.
    """

    manager: str
    operation: str
    api_version: str
    subresource: str = ""
    time: str = ""
    paths: Fields = frozenset()

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Entries of equal identity are one; whoever applies is one in all versions."""
        version = "" if self.operation == "Apply" else self.api_version
        return self.manager, self.operation, version, self.subresource

    def __str__(self) -> str:
        """As conflicts name it."""
        below = f' with subresource "{self.subresource}"' if self.subresource else ""
        using = f" using {self.api_version}" if self.operation == "Update" else ""
        return f'"{self.manager}"{below}{using}'


def parse(document: Mapping[str, Any]) -> tuple[Entry, ...]:
    """Entries of a document; what cannot be read is dropped, so ``[{}]`` resets them."""
    listed = document.get("metadata", {}).get("managedFields") or ()
    return tuple(_entry(item) for item in listed if isinstance(item, Mapping) and item)


def _entry(item: Mapping[str, Any]) -> Entry:
    trie = item.get("fieldsV1") or {}
    return Entry(
        manager=str(item.get("manager", "")),
        operation=str(item.get("operation", "Update")),
        api_version=str(item.get("apiVersion", "")),
        subresource=str(item.get("subresource", "")),
        time=str(item.get("time", "")),
        paths=frozenset(fields.parse(trie) if isinstance(trie, Mapping) else ()),
    )


def written(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The list as it stands in the metadata: applies first, then by time; empty entries go."""
    kept = sorted(
        _joined([entry for entry in entries if entry.paths]),
        key=lambda e: (e.operation != "Apply", e.time, e.manager, e.subresource),
    )
    return [_written(entry) for entry in kept]


def _written(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {
        "manager": entry.manager,
        "operation": entry.operation,
        "apiVersion": entry.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields.written(entry.paths),
    }
    if entry.time:
        found["time"] = entry.time
    if entry.subresource:
        found["subresource"] = entry.subresource
    return found


def _joined(entries: Sequence[Entry]) -> list[Entry]:
    updates = sorted((e for e in entries if e.operation == "Update"), key=lambda e: e.time)
    surplus = len(updates) - _MOST_UPDATES
    if surplus <= 0:
        return list(entries)
    old = updates[: surplus + 1]
    joined = structs.replace(
        old[-1], manager=ANCIENT, paths=frozenset().union(*(e.paths for e in old))
    )
    return [e for e in entries if e not in old] + [joined]


def with_entries(document: dict[str, Any], entries: Sequence[Entry]) -> dict[str, Any]:
    """The document with these owners."""
    metadata = {k: v for k, v in document["metadata"].items() if k != "managedFields"}
    listed = written(entries)
    if listed:
        metadata["managedFields"] = listed
    return {**document, "metadata": metadata}


def updated(
    table: str, live: dict[str, Any] | None, new: dict[str, Any], by: Entry
) -> dict[str, Any]:
    """The new document, with what it changes owned by `by`, whose paths are ignored.

    An object without owners gets none (nobody has applied it yet), unless it is new.
    """
    entries = _base(live, new)
    if live is not None and not entries:
        return with_entries(new, ())
    before, after = _scope(live or {}, by), _scope(new, by)
    old = dict(fields.leaves(table, before))
    now = dict(fields.leaves(table, after))
    changed = {path for path, value in now.items() if path not in old or old[path] != value}
    made = set(fields.maps(table, after)) - set(fields.maps(table, before))
    taken = changed | (old.keys() - now.keys())
    kept = [
        structs.replace(entry, paths=entry.paths - taken)
        for entry in entries
        if entry.identity != by.identity
    ]
    own = next((entry for entry in entries if entry.identity == by.identity), None)
    held = (own.paths - taken) if own else frozenset()
    mine = held | changed | made
    time = own.time if own and mine == own.paths and not changed else by.time
    return with_entries(new, [*kept, structs.replace(by, paths=frozenset(mine), time=time)])


def _base(live: dict[str, Any] | None, new: dict[str, Any]) -> tuple[Entry, ...]:
    """The entries to go on from: those that the client wrote, if it wrote others."""
    if "managedFields" in new["metadata"]:
        return parse(new)
    return parse(live) if live else ()


def _scope(document: dict[str, Any], by: Entry) -> dict[str, Any]:
    if by.subresource == "status":
        return {"status": document["status"]} if "status" in document else {}
    return fields.owned(document)
