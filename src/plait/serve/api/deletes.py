"""Deleting: one object, a selection, or a namespace with all that is in it."""

from __future__ import annotations

import uuid

import msgspec
from aiohttp import web
from msgspec import Struct, structs

from plait.base.errors import StoreError
from plait.config.record import CONTROLLER
from plait.serve.api import bodies, selectors, status
from plait.serve.api.backend import BUILT_IN, NAMESPACE, Backend, is_stored
from plait.serve.api.forms import Printer
from plait.serve.api.paths import Target, options, whole
from plait.serve.api.reads import found, see_identity, selected
from plait.serve.api.replies import reply
from plait.serve.api.writes import API, Writer, refused

_DELETES = (bodies.JSON, bodies.YAML)
_OURS = (API, CONTROLLER)


class _Preconditions(Struct, frozen=True, kw_only=True, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _DeleteOptions(Struct, frozen=True, kw_only=True, rename="camel"):
    preconditions: _Preconditions = _Preconditions()
    dry_run: tuple[str, ...] | None = None
    grace_period_seconds: int | None = None


async def delete(backend: Backend, target: Target, request: web.Request) -> web.Response:
    """Delete an object; a namespace with all that is in it."""
    asked, wanted = options(request), await _delete_options(request)
    asked = structs.replace(asked, dry_run=asked.dry_run or "All" in (wanted.dry_run or ()))
    writer = Writer(backend=backend, target=target, options=asked)
    old = found(backend, target)
    conditions = {
        "uid": wanted.preconditions.uid,
        "resourceVersion": wanted.preconditions.resource_version,
    }
    see_identity(target, {"metadata": conditions}, old)
    records = [old] if is_stored(old) else []
    if target.kind is NAMESPACE:
        if target.name in BUILT_IN:
            told = f'namespaces "{target.name}" is forbidden: this namespace may not be deleted'
            raise status.StatusError(403, "Forbidden", told, status.details(NAMESPACE, target.name))
        records = [*backend.content(target.name), *records]
    try:
        left = await writer.delete(records, grace=wanted.grace_period_seconds)
    except StoreError as error:
        raise refused(error, target, target.name) from error
    heir = left[-1] if left else None
    if heir is None:
        uid = old.document["metadata"].get("uid", "")
        return reply(status.success(target.kind, target.name, uid))
    if heir.document["metadata"].get("deletionTimestamp") or heir.source in _OURS:
        return reply(backend.rendered(heir, target.api_version))
    # clients that wait for the object to go must not take the one that is back for it
    told = f"{heir.key} is still defined by {heir.source} ({heir.origin}), which is in force now"
    return reply(status.success(target.kind, target.name, str(uuid.uuid4())), warnings=[told])


async def delete_many(backend: Backend, target: Target, request: web.Request) -> web.Response:
    """Delete what is selected, together; what other sources define stays, with a warning."""
    if target.kind is NAMESPACE:
        raise status.method_not_allowed()
    asked, wanted = options(request), await _delete_options(request)
    asked = structs.replace(asked, dry_run=asked.dry_run or "All" in (wanted.dry_run or ()))
    query = request.query
    selector = selectors.parse(query.get("labelSelector", ""), query.get("fieldSelector", ""))
    records = await selected(backend, target, selector)
    ours = [record for record in records if record.source in _OURS]
    told = [f"{r.key} is defined by {r.source} ({r.origin})" for r in records if r not in ours]
    try:
        writer = Writer(backend=backend, target=target, options=asked)
        await writer.delete(ours, grace=wanted.grace_period_seconds)
    except StoreError as error:
        raise refused(error, target, target.name) from error
    metadata = {"resourceVersion": str(backend.store.revision)}
    printed = await Printer.of(backend, target, request).many(ours, metadata)
    return reply(printed, warnings=[f"{text}: delete it there" for text in told])


async def _delete_options(request: web.Request) -> _DeleteOptions:
    if not request.can_read_body:
        grace = whole(request.query, "gracePeriodSeconds", -1)
        return _DeleteOptions(grace_period_seconds=None if grace < 0 else grace)
    body = await bodies.read(request, _DELETES)
    try:
        return msgspec.convert(body.value, _DeleteOptions)
    except msgspec.ValidationError as error:
        raise status.bad_request(f"DeleteOptions: {error}") from error
