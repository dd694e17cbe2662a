"""OpenAPI documents: v3 of each group version, made from the structs of the kinds; v2 in name.

``kubectl explain`` reads the schemas; ``kubectl apply`` looks whether patches of a kind have the
parameter ``fieldValidation``, and then leaves validation to the server.  For a ``kind: List`` it
insists on v2, and lets through to the server what it finds no schema of there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from plait.base.digest import digest
from plait.config.catalog import Kind
from plait.serve.api import bodies, discovery, lists, schemas

PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
ASKED_PROTOBUF = PROTOBUF.replace(".v1.0", "@v1.0")
"""What kubectl accepts: it is no media type, so the answer must not be called that."""

_VALIDATED = ("post", "put", "patch")
_ACTIONS = {
    "get": "get",
    "post": "post",
    "put": "put",
    "patch": "patch",
    "delete": "delete",
}
_PATCHES = (bodies.APPLY_PATCH, bodies.JSON_PATCH, bodies.MERGE_PATCH)


def index() -> dict[str, Any]:
    """What ``/openapi/v3`` answers: where each document is, with a hash of its content."""
    paths = {}
    for group, version in discovery.group_versions():
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        content = digest(document(group, version) or b"")
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={content}"}
    return {"paths": paths}


@cache
def document(group: str, version: str) -> bytes | None:
    """The document of a group version, as JSON; None: there is no such version."""
    kinds = discovery.kinds_of(group, version)
    if not kinds:
        return None
    return msgspec.json.encode(
        {
            "openapi": "3.0.0",
            "info": {"title": "plait", "version": discovery.version()["gitVersion"]},
            "paths": {path: item for kind in kinds for path, item in _paths(kind, version)},
            "components": {"schemas": schemas.components(kinds, version)},
        }
    )


def v2() -> dict[str, Any]:
    """What ``/openapi/v2`` answers: a document without paths and schemas."""
    info = {"title": "plait", "version": discovery.version()["gitVersion"]}
    return {"swagger": "2.0", "info": info, "paths": {}}


def v2_protobuf() -> bytes:
    """The same as the message ``openapi.v2.Document``, without the paths."""
    found = v2()
    info = _field(1, found["info"]["title"].encode()) + _field(2, found["info"]["version"].encode())
    return _field(1, found["swagger"].encode()) + _field(2, info)


def _field(number: int, content: bytes) -> bytes:
    """A text or message of less than 128 bytes, as protobuf has it."""
    return bytes((number << 3 | 2, len(content))) + content


def _paths(kind: Kind, version: str) -> Iterator[tuple[str, Any]]:
    root = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
    if kind.namespaced:
        root += "/namespaces/{namespace}"
    collection, one = f"{root}/{kind.plural}", f"{root}/{kind.plural}/{{name}}"
    yield collection, {m: _operation(kind, version, m, "list") for m in ("get", "post", "delete")}
    yield one, {m: _operation(kind, version, m, "") for m in ("get", "put", "patch", "delete")}


def _operation(kind: Kind, version: str, method: str, whole: str) -> dict[str, Any]:
    action = {("get", "list"): "list", ("delete", "list"): "deletecollection"}.get(
        (method, whole), _ACTIONS[method]
    )
    name = schemas.name_of(kind, version)
    reference = {"$ref": f"#/components/schemas/{name}"}
    content = {"application/json": {"schema": reference}}
    found: dict[str, Any] = {
        "operationId": f"{action}{version.title()}{kind.kind}",
        "responses": {"200": {"description": "OK", "content": content}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": schemas.named(kind, version),
    }
    if method in _VALIDATED:
        names = ("dryRun", "fieldManager", "fieldValidation")
        found["parameters"] = [_parameter(name) for name in names]
        media = _patches(kind) if method == "patch" else (bodies.JSON,)
        found["requestBody"] = {"content": {name: {"schema": reference} for name in media}}
    return found


def _patches(kind: Kind) -> tuple[str, ...]:
    """What kubectl may send: it prefers strategic patches wherever they are listed."""
    return (*_PATCHES, bodies.STRATEGIC_PATCH) if kind.group in lists.STRATEGIC else _PATCHES


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
