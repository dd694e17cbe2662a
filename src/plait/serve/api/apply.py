"""Server-side apply: join what a manager wants with what is there, by ownership of fields.

The rules are Kubernetes': https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import structs

from plait.serve.api import fields, lists, ownership
from plait.serve.api.fields import Path
from plait.serve.api.ownership import Entry
from plait.serve.api.status import StatusError

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SERVER = ("apiVersion", "kind")


def applied(
    table: str, live: dict[str, Any] | None, config: dict[str, Any], by: Entry, *, force: bool
) -> dict[str, Any]:
    """The object after `by` applied `config`: merged, pruned and with its owners.

    What `by` applied before and leaves out now goes, unless somebody else owns it.

    Raises:
        StatusError: 409; others own fields that the config sets to other values.
    """
    wanted = _without_nulls(config)
    scope = _scope(wanted, by)
    mine = frozenset(path for path, _ in fields.leaves(table, scope))
    if live is None:
        return ownership.with_entries(wanted, [structs.replace(by, paths=mine)])
    entries = _entries(table, live)
    others = [entry for entry in entries if entry.identity != by.identity]
    own = next((entry for entry in entries if entry.identity == by.identity), None)
    changed = _changed(table, live, scope, mine, by)
    known = frozenset() if force else _applied_by_client(table, live, by)
    others = _after_conflicts(others, changed, known, force=force)
    merged = _joined(live, _merge(table, _scope(live, by), scope, ()), by)
    gone = (own.paths if own else frozenset()) - mine
    merged = _pruned(table, merged, gone, [*others, structs.replace(by, paths=mine)])
    same = own is not None and own.paths == mine and _scope(merged, by) == _scope(live, by)
    untouched = _scope(merged, by) == _scope(live, by)
    time = own.time if own and same else "" if untouched and own is None else by.time
    return ownership.with_entries(merged, [*others, structs.replace(by, paths=mine, time=time)])


def _entries(table: str, live: dict[str, Any]) -> tuple[Entry, ...]:
    """The owners; all that an object without any has belongs to nobody in particular."""
    entries = ownership.parse(live)
    paths = frozenset(path for path, _ in fields.leaves(table, fields.owned(live)))
    if entries or not paths:
        return entries
    return (
        Entry(
            manager=ownership.BEFORE,
            operation="Update",
            api_version=live.get("apiVersion", ""),
            time=live["metadata"].get("creationTimestamp", ""),
            paths=paths,
        ),
    )


def _scope(document: dict[str, Any], by: Entry) -> dict[str, Any]:
    if by.subresource == "status":
        return {"status": document["status"]} if "status" in document else {}
    return fields.owned(document)


def _joined(live: dict[str, Any], scope: dict[str, Any], by: Entry) -> dict[str, Any]:
    """The live document with its part in `scope` replaced."""
    if by.subresource == "status":
        return {**live, **scope}
    server = {k: v for k, v in live["metadata"].items() if k not in fields.owned_metadata(live)}
    metadata = {**server, **scope.get("metadata", {})}
    kept = {k: v for k, v in live.items() if k in (*_SERVER, "status")}
    return {**kept, **scope, "metadata": metadata}


def _changed(
    table: str, live: dict[str, Any], scope: dict[str, Any], mine: Iterable[Path], by: Entry
) -> frozenset[Path]:
    """Paths that the config sets to something else than is there."""
    before = dict(fields.leaves(table, _scope(live, by)))
    after = dict(fields.leaves(table, scope))
    return frozenset(p for p in mine if p not in before or before[p] != after[p])


def _applied_by_client(table: str, live: dict[str, Any], by: Entry) -> frozenset[Path]:
    """What ``kubectl apply`` set before it was told ``--server-side``: its own, no conflict."""
    text = live["metadata"].get("annotations", {}).get(_LAST_APPLIED, "")
    if by.manager != "kubectl" or not text:
        return frozenset()
    try:
        said = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return frozenset()
    now = dict(fields.leaves(table, fields.owned(live)))
    leaves = fields.leaves(table, fields.owned(said))
    return frozenset(path for path, value in leaves if path in now and now[path] == value)


def _after_conflicts(
    others: Sequence[Entry], changed: frozenset[Path], known: frozenset[Path], *, force: bool
) -> list[Entry]:
    found = [(entry, sorted(entry.paths & changed - known)) for entry in others]
    if not force and any(paths for _, paths in found):
        raise _conflict([(entry, path) for entry, paths in found for path in paths])
    return [structs.replace(entry, paths=entry.paths - changed) for entry in others]


def _conflict(found: Sequence[tuple[Entry, Path]]) -> StatusError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {entry}",
            "field": fields.printed(path),
        }
        for entry, path in found
    ]
    if len(found) == 1:
        entry, path = found[0]
        told = f"1 conflict: conflict with {entry}: {fields.printed(path)}"
    else:
        by_owner: dict[str, list[str]] = {}
        for entry, path in found:
            by_owner.setdefault(str(entry), []).append(f"- {fields.printed(path)}")
        parts = (f"conflicts with {name}:\n" + "\n".join(p) for name, p in sorted(by_owner.items()))
        told = f"{len(found)} conflicts: " + "\n".join(parts)
    return StatusError(409, "Conflict", f"Apply failed with {told}", {"causes": causes})


def _merge(table: str, live: Any, config: Any, names: lists.Names) -> Any:
    if isinstance(live, Mapping) and isinstance(config, Mapping):
        if lists.is_atomic(table, names):
            return dict(config)
        merged = dict(live)
        for name, part in config.items():
            old = live.get(name)
            merged[name] = part if old is None else _merge(table, old, part, (*names, name))
        return merged
    if isinstance(live, list) and isinstance(config, list):
        keys = lists.keys(table, names)
        return config if keys is None else _merge_items(table, live, config, names, keys)
    return config


def _merge_items(
    table: str, live: list[Any], config: list[Any], names: lists.Names, keys: lists.Names
) -> list[Any]:
    """The config's items in its order; those only in `live` stay before their successors."""
    old = {lists.key_of(item, keys): item for item in live}
    wanted = {lists.key_of(item, keys): item for item in config}
    rest = OrderedDict(old)
    merged: list[Any] = []
    for key, item in wanted.items():
        while rest and next(iter(rest)) not in wanted:
            merged.append(rest.popitem(last=False)[1])
        merged.append(_merge(table, old[key], item, names) if key in old else item)
        rest.pop(key, None)
    return [*merged, *rest.values()]


def _pruned(
    table: str, document: dict[str, Any], gone: frozenset[Path], entries: Sequence[Entry]
) -> dict[str, Any]:
    """The document without `gone`, except for what somebody owns, itself or a part of it."""
    held: set[Path] = set()
    for entry in entries:
        for path in entry.paths:
            held.update(path[:length] for length in range(1, len(path) + 1))
    doomed = gone - held
    if not doomed:
        return document
    found: dict[str, Any] = _without(table, document, doomed, (), ())
    found.setdefault("metadata", document["metadata"])
    return found


def _without(
    table: str, value: Any, doomed: frozenset[Path], names: lists.Names, path: Path
) -> Any:
    parts = fields.children(table, value, names)
    if not parts:
        return value
    below = [p for p in doomed if p[: len(path)] == path and len(p) > len(path)]
    if not below:
        return value
    near = frozenset(below)
    kept = [
        (element, _without(table, part, near, under, (*path, element)), part)
        for element, part, under in parts
        if (*path, element) not in near
    ]
    full = [(e, part) for e, part, old in kept if part not in ({}, []) or part == old]
    if isinstance(value, list):
        return [part for _, part in full]
    return {element[2:]: part for element, part in full}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
