"""Schemas of the kinds, with descriptions from the docstrings of their structs."""

from __future__ import annotations

import inspect as source
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from msgspec import inspect

from plait.config.catalog import Kind
from plait.serve.api import lists

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_FIELD = re.compile(r"(?:^(?=[a-z])|; (?=`))`?(?P<name>[a-z_0-9]+)`?: ")
_FORMATS: Mapping[str, dict[str, str]] = {
    "seconds": {"type": "string"},
    "base64": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "quantity": {"type": "string"},
}

_SCALARS: Mapping[type, str] = {
    inspect.StrType: "string",
    inspect.BoolType: "boolean",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
}

_STRING = {"type": "string"}
_STRINGS = {"type": "object", "additionalProperties": _STRING}

_METADATA: dict[str, Any] = {
    "type": "object",
    "description": "Names, labels and bookkeeping of an object.",
    "properties": {
        "name": {**_STRING, "description": "Unique among the objects of its kind and namespace."},
        "generateName": {**_STRING, "description": "Begin of a name that the server completes."},
        "namespace": {**_STRING, "description": "The space that the name is unique in."},
        "labels": {**_STRINGS, "description": "Pairs by which objects are selected."},
        "annotations": {**_STRINGS, "description": "Pairs for tools; nothing selects by them."},
        "uid": {**_STRING, "description": "Identity over time. Set by the server."},
        "resourceVersion": {**_STRING, "description": "The last change. Set by the server."},
        "generation": {"type": "integer", "description": "Changes of content. Set by the server."},
        "creationTimestamp": {**_STRING, "format": "date-time"},
        "deletionTimestamp": {**_STRING, "format": "date-time"},
        "finalizers": {
            "type": "array",
            "items": _STRING,
            "x-kubernetes-list-type": "set",
            "x-kubernetes-patch-strategy": "merge",
        },
        "ownerReferences": {
            "type": "array",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": "uid",
        },
        "managedFields": {
            "type": "array",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "x-kubernetes-list-type": "atomic",
        },
    },
}


def name_of(kind: Kind, version: str) -> str:
    """Name of a kind's schema: its group turned round, version and kind."""
    group = ".".join(reversed(kind.group.split("."))) or "core"
    return f"{group}.{version}.{kind.kind}"


def named(kind: Kind, version: str) -> dict[str, str]:
    """Group, version and kind, as clients look for them."""
    return {"group": kind.group, "version": version, "kind": kind.kind}


def components(kinds: Sequence[Kind], version: str) -> dict[str, Any]:
    """All schemas of a group version; kinds are named, what is within them is written out."""
    found = {_META: _METADATA}
    for kind in kinds:
        found[name_of(kind, version)] = _kind(kind, version)
    return found


def _kind(kind: Kind, version: str) -> dict[str, Any]:
    start = (kind.body,) if kind.body else ()
    body = _Writer(kind).write(inspect.type_info(kind.spec), start)
    inner = body.get("properties", {})
    described = body.get("description", "")
    properties: dict[str, Any] = {
        "apiVersion": {**_STRING, "description": "Group and version of this form."},
        "kind": {**_STRING, "description": "What it is."},
        "metadata": {
            "description": "Names, labels and bookkeeping.",
            "allOf": [{"$ref": f"#/components/schemas/{_META}"}],
        },
        **({kind.body: body} if kind.body else inner),
        "status": {
            "type": "object",
            "description": "What plait says of the object. Set by the server.",
            "x-kubernetes-preserve-unknown-fields": True,
        },
    }
    return {
        "type": "object",
        "description": described,
        "properties": properties,
        "x-kubernetes-group-version-kind": [named(kind, version)],
    }


class _Writer:
    """Writes the schemas of types; a struct within itself is written once."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._within: list[type] = []

    def write(self, kind: inspect.Type, names: lists.Names) -> dict[str, Any]:
        """The schema of a type; `names` is the way to it."""
        match kind:
            case inspect.Metadata(type=inner, extra=extra):
                unit = (extra or {}).get("unit", "")
                return dict(_FORMATS[unit]) if unit in _FORMATS else self.write(inner, names)
            case inspect.StructType():
                return self._struct(kind, names)
            case inspect.UnionType(types=types):
                return self._union(types, names)
            case inspect.DictType(value_type=value):
                return {"type": "object", "additionalProperties": self.write(value, names)}
            case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
                return {"type": "array", "items": self.write(item, names), **self._list(names)}
            case _:
                return _scalar(kind)

    def _list(self, names: lists.Names) -> dict[str, Any]:
        """How items of a list are joined, as kubectl needs it to make a strategic patch."""
        keys = lists.keys(self._kind.table, names)
        if keys is None or self._kind.group not in lists.STRATEGIC:
            return {"x-kubernetes-list-type": "atomic"}
        if not keys:
            return {"x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"}
        return {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": list(keys),
            "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": keys[0],
        }

    def _union(self, types: Sequence[inspect.Type], names: lists.Names) -> dict[str, Any]:
        some = [inner for inner in types if not isinstance(inner, inspect.NoneType)]
        if len(some) == 1:
            return self.write(some[0], names)
        if {type(inner) for inner in some} == {inspect.IntType, inspect.StrType}:
            return {"x-kubernetes-int-or-string": True, "type": "string"}
        return {"x-kubernetes-preserve-unknown-fields": True, "type": "object"}

    def _struct(self, kind: inspect.StructType, names: lists.Names) -> dict[str, Any]:
        described, fields = _documented(kind.cls)
        if kind.cls in self._within:
            return {"type": "object", "description": described}
        self._within.append(kind.cls)
        properties = {}
        for field in kind.fields:
            schema = self.write(field.type, (*names, field.encode_name))
            said = fields.get(field.name) or schema.get("description", "")
            properties[field.encode_name] = {**schema, "description": said} if said else schema
        self._within.pop()
        return {"type": "object", "description": described, "properties": properties}


def _scalar(kind: inspect.Type) -> dict[str, Any]:
    match kind:
        case inspect.EnumType(cls=cls):
            return {"type": "string", "enum": [member.value for member in cls]}
        case inspect.BytesType():
            return {"type": "string", "format": "byte"}
        case _ if type(kind) in _SCALARS:
            return {"type": _SCALARS[type(kind)]}
        case _:
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@cache
def _documented(struct: type) -> tuple[str, dict[str, str]]:
    """What a struct's docstring says of it, and of each of its fields."""
    text = source.getdoc(struct) or ""
    head, _, listed = text.partition("Attributes:\n")
    fields: dict[str, str] = {}
    for entry in re.split(r"\n(?=\s{4}\S)", "\n" + source.cleandoc(listed).replace("\n", "\n    ")):
        words = " ".join(entry.split())
        found = list(_FIELD.finditer(words))
        for match, after in zip(found, [*found[1:], None], strict=False):
            end = after.start() if after else len(words)
            fields[match["name"]] = words[match.end() : end].strip("; ")
    return " ".join(head.split()), fields
