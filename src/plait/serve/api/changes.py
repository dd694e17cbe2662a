"""Writing one object: create, replace, and the four kinds of patch."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from msgspec import structs

from plait.base.errors import ConflictError, StoreError
from plait.config.record import Record
from plait.serve.api import admission, apply, bodies, lists, patch, status
from plait.serve.api.backend import Backend, is_stored
from plait.serve.api.paths import Options, Target, options
from plait.serve.api.reads import found, see_identity
from plait.serve.api.replies import reply
from plait.serve.api.writes import Writer, Written, refused

_ATTEMPTS = 20  # of a patch that others get in the way of
_PAUSE = 0.002  # seconds more before each further attempt: the winner must be in force first


async def create(backend: Backend, target: Target, request: web.Request) -> web.Response:
    """A new object."""
    body = await bodies.read(request, bodies.OBJECTS)
    writer = Writer(
        backend=backend, target=target, options=options(request), duplicates=body.duplicates
    )
    value = admission.named(target, admission.document(target, body.value))
    name = value["metadata"]["name"]
    key = target.named(name)
    if backend.store.record(key) is not None:
        raise status.already_exists(target.kind, name)
    writer = structs.replace(writer, target=structs.replace(target, name=name))
    try:
        written = await writer.put(writer.owned(None, admission.completed(value, None)), None)
    except ConflictError as error:
        raise status.already_exists(target.kind, name) from error
    except StoreError as error:
        raise refused(error, target, name) from error
    return _answer(writer, written, code=201)


async def replace(backend: Backend, target: Target, request: web.Request) -> web.Response:
    """An object in the place of another; with a resourceVersion only of that one."""
    body = await bodies.read(request, bodies.OBJECTS)
    writer = Writer(
        backend=backend, target=target, options=options(request), duplicates=body.duplicates
    )
    old = found(backend, target)
    value = admission.document(target, body.value)
    see_identity(target, value, old)
    if "." in target.kind.group and not value["metadata"].get("resourceVersion"):
        cause = status.Cause(
            reason="FieldValueInvalid",
            field="metadata.resourceVersion",
            message="Invalid value: 0: must be specified for an update",
        )
        raise status.invalid(target.kind, target.name, [cause])
    try:
        written = await writer.put(writer.owned(old, _part(writer, value, old)), old)
    except ConflictError as error:
        raise status.conflict(target.kind, target.name) from error
    except StoreError as error:
        raise refused(error, target, target.name) from error
    return _answer(writer, written)


async def change(backend: Backend, target: Target, request: web.Request) -> web.Response:
    """A patch of any of the four kinds; tried again when others write at the same time."""
    body = await bodies.read(request, bodies.PATCHES)
    asked = options(request)
    _see_patch(target, body, asked)
    writer = Writer(
        backend=backend, target=target, options=asked, duplicates=body.duplicates, patches=True
    )
    for attempt in range(_ATTEMPTS):
        old = backend.record(target.key)
        value = _patched(writer, body, old)
        pinned = _is_pinned(body)
        try:
            written = await writer.put(value, old)
        except ConflictError as error:
            if pinned or attempt + 1 == _ATTEMPTS:
                raise status.conflict(target.kind, target.name) from error
            await asyncio.sleep(_PAUSE * attempt)
        except StoreError as error:
            raise refused(error, target, target.name) from error
        else:
            made = old is None or not is_stored(old)
            return _answer(writer, written, code=201 if made else 200)
    raise AssertionError


def _is_pinned(body: bodies.Body) -> bool:
    """Is the patch for one resourceVersion only?"""
    metadata = body.value.get("metadata") if isinstance(body.value, dict) else None
    return isinstance(metadata, dict) and bool(metadata.get("resourceVersion"))


def _see_patch(target: Target, body: bodies.Body, asked: Options) -> None:
    if body.media == bodies.STRATEGIC_PATCH and target.kind.group not in lists.STRATEGIC:
        raise status.unsupported([bodies.JSON_PATCH, bodies.MERGE_PATCH, bodies.APPLY_PATCH])
    if body.media != bodies.JSON_PATCH and not isinstance(body.value, dict):
        raise status.bad_request("a patch of this kind is an object")
    if body.media == bodies.APPLY_PATCH:
        if not asked.named:
            raise status.unprocessable(
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: '
                "is required for apply patch"
            )
        metadata = body.value.get("metadata")
        if isinstance(metadata, dict) and metadata.get("managedFields"):
            raise status.bad_request("metadata.managedFields must be nil")
    elif asked.force:
        raise status.unprocessable(
            'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified '
            "for non-apply patch"
        )


def _patched(writer: Writer, body: bodies.Body, old: Record | None) -> dict[str, Any]:
    """The document after the patch, with its owners."""
    target = writer.target
    table = target.kind.table
    if body.media == bodies.APPLY_PATCH:
        return _applied(writer, body, old)
    if old is None:
        raise status.not_found(target.kind, target.name)
    live = {**old.document, "apiVersion": target.api_version}
    match body.media:
        case bodies.JSON_PATCH:
            value = patch.operate(live, body.value)
        case bodies.STRATEGIC_PATCH:
            value = patch.strategic(table, live, body.value)
        case _:
            value = patch.merge(live, body.value)
    value = admission.document(target, value)
    see_identity(target, value, old)
    return writer.owned(old, _part(writer, value, old))


def _applied(writer: Writer, body: bodies.Body, old: Record | None) -> dict[str, Any]:
    target = writer.target
    config = admission.document(target, body.value)
    if old is None and config["metadata"].get("uid"):
        raise status.conflict(target.kind, target.name, "uid mismatch: the object does not exist")
    if old is None and target.subresource:
        raise status.not_found(target.kind, target.name)
    if old is not None:
        see_identity(target, config, old)
    live = {**old.document, "apiVersion": target.api_version} if old else None
    return apply.applied(
        target.kind.table, live, config, writer.entry("Apply"), force=writer.options.force
    )


def _part(writer: Writer, value: dict[str, Any], old: Record) -> dict[str, Any]:
    """Of a write to a subresource, only its part of the object."""
    if writer.target.subresource != "status":
        return value
    version = {"apiVersion": writer.target.api_version}
    rest = {k: v for k, v in old.document.items() if k != "status"}
    return {**rest, **version, **({"status": value["status"]} if "status" in value else {})}


def _answer(writer: Writer, written: Written, code: int = 200) -> web.Response:
    document = writer.backend.rendered(written.record, writer.target.api_version)
    return reply(document, code, written.warnings)
