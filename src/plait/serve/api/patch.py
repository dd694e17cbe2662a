"""Three ways to change a document: merge patch (RFC 7386), JSON patch (RFC 6902), strategic."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from typing import Any

import msgspec

from plait.serve.api import bodies, lists, status

_REFUSED = "the server rejected our request due to an error in our request"
_MOST = 10_000  # operations of one JSON patch, as in Kubernetes
_DIGITS = 9  # of a place in a list


def merge(document: Any, patch: Any) -> Any:
    """Apply a JSON merge patch: null removes, lists are replaced."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for name, part in patch.items():
        if part is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), part)
    return merged


def operate(document: dict[str, Any], operations: Any) -> dict[str, Any]:
    """Apply a JSON patch, whole or not at all.

    Raises:
        StatusError: 400 for what is no JSON patch; 413 for what becomes too large; 422 for a failed
            test or a missing path.
    """
    if not isinstance(operations, list) or not all(isinstance(o, dict) for o in operations):
        raise status.bad_request("a JSON patch is a list of operations")
    if len(operations) > _MOST:
        raise status.StatusError(
            413, "RequestEntityTooLarge", f"a JSON patch has at most {_MOST} operations"
        )
    root: Any = copy.deepcopy(document)
    copied = 0
    for operation in operations:
        if operation.get("op") == "copy":  # each may double what there is
            copied += _size(_at(root, _pointer(operation.get("from"))))
            if copied > status.LIMIT:
                raise status.too_large()
        root = _operate(root, operation)
    if not isinstance(root, dict):
        raise status.unprocessable(_REFUSED)
    bodies.see_depth(root)
    return root


def _size(value: Any) -> int:
    """Bytes of a value as JSON."""
    bodies.see_depth(value)
    return len(msgspec.json.encode(value))


def _operate(root: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _add(root, path, _value(operation))
        case "remove":
            return _remove(root, path)
        case "replace":
            _at(root, path)
            return _add(_remove(root, path), path, _value(operation))
        case "move":
            source = _pointer(operation.get("from"))
            moved = _at(root, source)
            return _add(_remove(root, source), path, moved)
        case "copy":
            return _add(root, path, copy.deepcopy(_at(root, _pointer(operation.get("from")))))
        case "test":
            if _at(root, path) != operation.get("value"):
                raise status.unprocessable(_REFUSED)
            return root
        case unknown:
            raise status.bad_request(f'unexpected kind of JSON patch operation: "{unknown}"')


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise status.bad_request(f'JSON patch operation "{operation["op"]}" has no value')
    return copy.deepcopy(operation["value"])  # later operations may change it: it is tried again


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise status.bad_request(f"not a JSON pointer: {text!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(root: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(root, dict) and part in root:
            root = root[part]
        elif isinstance(root, list):
            root = root[_place(part, len(root) - 1)]
        else:
            raise status.unprocessable(_REFUSED)
    return root


def _place(part: str, last: int) -> int:
    if not part.isdecimal() or len(part) > _DIGITS or (part != "0" and part[0] == "0"):
        raise status.unprocessable(_REFUSED)
    if int(part) > last:
        raise status.unprocessable(_REFUSED)
    return int(part)


def _add(root: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _at(root, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _place(last, len(parent)), value)
    else:
        raise status.unprocessable(_REFUSED)
    return root


def _remove(root: Any, path: list[str]) -> Any:
    if not path:
        return None
    _at(root, path)
    parent, last = _at(root, path[:-1]), path[-1]
    del parent[last if isinstance(parent, dict) else int(last)]
    return root


def strategic(table: str, document: Any, patch: Any, names: lists.Names = ()) -> Any:
    """Apply a strategic merge patch: like `merge`, but items of keyed lists by their keys.

    Raises:
        StatusError: 400; an item of a keyed list has no key, or a directive is unknown.
    """
    if not isinstance(patch, dict):
        return patch
    match patch.get("$patch", "merge"):
        case "replace":
            return {name: part for name, part in patch.items() if name != "$patch"}
        case "delete":
            return {}
        case "merge":
            return _strategic_map(table, document, patch, names)
        case unknown:
            raise status.bad_request(f'unknown patch directive "$patch: {unknown}"')


def _strategic_map(
    table: str, document: Any, patch: dict[str, Any], names: lists.Names
) -> dict[str, Any]:
    merged = dict(document) if isinstance(document, dict) else {}
    retained = patch.get("$retainKeys")
    if isinstance(retained, list):
        merged = {name: part for name, part in merged.items() if name in retained}
    for name, part in patch.items():
        if name.startswith("$"):
            _directive(merged, name, part)
        elif part is None:
            merged.pop(name, None)
        elif isinstance(part, list):
            merged[name] = _strategic_list(table, merged.get(name), part, (*names, name))
        else:
            merged[name] = strategic(table, merged.get(name), part, (*names, name))
    for name, order in patch.items():
        field = name.removeprefix("$setElementOrder/")
        if field != name and isinstance(merged.get(field), list):
            merged[field] = _ordered(merged[field], order, _key(table, (*names, field)))
    return merged


def _directive(merged: dict[str, Any], name: str, part: Any) -> None:
    field = name.removeprefix("$deleteFromPrimitiveList/")
    if field != name and isinstance(part, list) and isinstance(merged.get(field), list):
        gone = {_text(item) for item in part}
        merged[field] = [item for item in merged[field] if _text(item) not in gone]


def _key(table: str, names: lists.Names) -> str | None:
    """The one field that names items here; None: the list is replaced; empty: scalars."""
    keys = lists.keys(table, names)
    if keys is None:
        return None
    return keys[0] if keys else ""


def _strategic_list(table: str, live: Any, patch: list[Any], names: lists.Names) -> list[Any]:
    key = _key(table, names)
    items = list(live) if isinstance(live, list) else []
    if key is None:
        return patch
    if not key:
        known = {_text(item) for item in items}
        return items + [item for item in patch if _text(item) not in known]
    if any(isinstance(p, dict) and p.get("$patch") == "replace" and len(p) == 1 for p in patch):
        return [p for p in patch if p != {"$patch": "replace"}]
    return _joined(table, items, patch, names, key)


def _joined(
    table: str, items: list[Any], patch: list[Any], names: lists.Names, key: str
) -> list[Any]:
    """Items with those of a patch joined to the first that has the same key, or behind them."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        if isinstance(item, dict):
            places[_text(item.get(key))].append(place)
    gone: set[int] = set()
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise status.bad_request(f"map: {item!r} does not contain declared merge key: {key}")
        same = places[_text(item[key])]
        if item.get("$patch") == "delete":
            gone.update(same)
            same.clear()
        elif same:
            items[same[0]] = strategic(table, items[same[0]], item, names)
        else:
            same.append(len(items))
            items.append(strategic(table, {}, item, names))
    return [item for place, item in enumerate(items) if place not in gone]


def _ordered(items: list[Any], order: Any, key: str | None) -> list[Any]:
    """Items in the order that the client has; those it does not know keep to their successors."""
    if not isinstance(order, list):
        return items

    def name(item: Any) -> str:
        return _text(item.get(key) if key and isinstance(item, dict) else item)

    wanted: dict[str, int] = {}
    for place, item in enumerate(order):
        wanted.setdefault(name(item), place)
    found = iter(sorted((i for i in items if name(i) in wanted), key=lambda i: wanted[name(i)]))
    return [next(found) if name(item) in wanted else item for item in items]


def _text(value: Any) -> str:
    """A value as what it is found by: equal where it is written alike."""
    return json.dumps(value, sort_keys=True)
