"""Sets of fields: who owns which part of an object, as metadata.managedFields says it.

A path is a tuple of elements: ``f:name`` a field, ``k:{…}`` an item of a keyed list, ``v:…`` a
member of a set.  The written form (FieldsV1) is the trie of those paths, where ``.`` marks a node
that is itself a member.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from plait.serve.api import lists

Path = tuple[str, ...]
Fields = frozenset[Path]

_UNOWNED = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generateName",
        "selfLink",
        "managedFields",
    }
)


def children(
    table: str, value: Any, names: lists.Names
) -> list[tuple[str, Any, lists.Names]] | None:
    """The parts of `value` that can have owners of their own; None: it is owned whole."""
    if isinstance(value, Mapping):
        if lists.is_atomic(table, names):
            return None
        return [(f"f:{name}", part, (*names, name)) for name, part in value.items()]
    if isinstance(value, list):
        keys = lists.keys(table, names)
        if keys is None:
            return None
        return [(lists.key_of(item, keys), item, names) for item in value]
    return None


def owned(document: Mapping[str, Any]) -> dict[str, Any]:
    """What of a document can have owners: not its names, its status or what the server sets."""
    metadata = owned_metadata(document)
    parts = {
        name: part
        for name, part in document.items()
        if name not in ("apiVersion", "kind", "metadata", "status")
    }
    return {"metadata": metadata, **parts} if metadata else parts


def owned_metadata(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same for the metadata: labels, annotations, finalizers and owners."""
    metadata = document.get("metadata", {})
    return {name: part for name, part in metadata.items() if name not in _UNOWNED}


def leaves(
    table: str, value: Any, names: lists.Names = (), path: Path = ()
) -> Iterator[tuple[Path, Any]]:
    """Every path of `value` that has an owner, with its value; items of keyed lists as well.

    The value of such an item is None: what it holds is in its own leaves.
    """
    parts = children(table, value, names)
    if not parts:
        if path:
            yield path, value
        return
    if path and path[-1][0] == "k":
        yield path, None
    for element, part, below in parts:
        yield from leaves(table, part, below, (*path, element))


def maps(table: str, value: Any, names: lists.Names = (), path: Path = ()) -> Iterator[Path]:
    """Paths of the maps and keyed lists in `value` that are not empty."""
    parts = children(table, value, names)
    if not parts:
        return
    if path and path[-1][0] != "k":
        yield path
    for element, part, below in parts:
        yield from maps(table, part, below, (*path, element))


def parse(trie: Mapping[str, Any], path: Path = ()) -> Iterator[Path]:
    """Read FieldsV1."""
    if not trie and path:
        yield path
    for element, below in trie.items():
        if element == ".":
            yield path
        elif isinstance(below, Mapping):
            yield from parse(below, (*path, element))


def written(paths: Iterable[Path]) -> dict[str, Any]:
    """Write FieldsV1, in an order that depends on the paths alone."""
    trie: dict[str, Any] = {}
    for path in sorted(paths):
        node = trie
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return _tidied(trie)


def _tidied(trie: dict[str, Any]) -> dict[str, Any]:
    if trie.keys() == {"."}:
        return {}
    return {k: ({} if k == "." else _tidied(v)) for k, v in sorted(trie.items())}


def printed(path: Path) -> str:
    """``.spec.ports[port=80,protocol="TCP"].name``, as conflicts name it."""
    text = ""
    for element in path:
        kind, _, body = element.partition(":")
        if kind == "f":
            text += f".{body}"
        elif kind == "k":
            pairs = (f"{k}={json.dumps(v)}" for k, v in json.loads(body).items())
            text += f"[{','.join(pairs)}]"
        else:
            text += f"[={body}]"
    return text
