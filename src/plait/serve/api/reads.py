"""Reading: one object, or a collection in pages."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from plait.config.record import Record
from plait.serve.api import selectors, status
from plait.serve.api.backend import Backend, is_stored
from plait.serve.api.forms import Printer
from plait.serve.api.paths import Target, whole
from plait.serve.api.replies import reply
from plait.serve.api.turns import in_turns


class _Page(Struct, frozen=True, kw_only=True):
    """Where a list goes on: after which object, and the revision of the first page."""

    revision: int
    after: tuple[str, str]


async def get(backend: Backend, target: Target, request: web.Request) -> web.Response:
    """One object."""
    revision_asked(backend, request)
    return reply(Printer.of(backend, target, request).one(found(backend, target)))


async def listed(backend: Backend, target: Target, request: web.Request) -> web.Response:
    """All objects of a collection that are selected, in pages if the client wants them."""
    query = request.query
    asked = revision_asked(backend, request)
    page = _page(query.get("continue", ""))
    if page and query.get("resourceVersion"):
        raise status.bad_request("specifying resource version is not allowed when using continue")
    if query.get("resourceVersionMatch") == "Exact" and asked not in (0, backend.store.revision):
        raise status.expired(f"The resourceVersion {asked} is not kept for lists")
    selector = selectors.parse(query.get("labelSelector", ""), query.get("fieldSelector", ""))
    revision = page.revision if page else backend.store.revision  # before the first turn is over
    records = await selected(backend, target, selector)
    if page:
        records = [r for r in records if (r.key.namespace, r.key.name) > page.after]
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    limit = whole(query, "limit", 0)
    if limit and len(records) > limit:
        last = records[limit - 1].key
        if selector.is_everything:
            metadata["remainingItemCount"] = len(records) - limit
        records = records[:limit]
        metadata["continue"] = _token(revision, last.namespace, last.name)
    return reply(await Printer.of(backend, target, request).many(records, metadata))


async def selected(backend: Backend, target: Target, selector: selectors.Selector) -> list[Record]:
    """Records that a collection has now and a selector matches, in key order."""
    records = collected(backend, target, selector)
    return [record async for record in in_turns(records) if is_selected(record, selector)]


def collected(backend: Backend, target: Target, selector: selectors.Selector) -> Sequence[Record]:
    """Records of a collection in key order, as narrow as its namespace makes it."""
    namespace = selector.namespace or None if target.namespace is None else target.namespace
    return backend.records(target.kind, namespace if target.kind.namespaced else None)


def is_selected(record: Record, selector: selectors.Selector) -> bool:
    """Does the selector match?"""
    labels = record.document["metadata"].get("labels") or {}
    return selector.matches(record.key.namespace, record.key.name, labels)


def found(backend: Backend, target: Target) -> Record:
    """The object that a path names.

    Raises:
        StatusError: 404.
    """
    record = backend.record(target.key)
    if record is None:
        raise status.not_found(target.kind, target.name)
    return record


def see_identity(target: Target, value: dict[str, Any], old: Record) -> None:
    """Is `old` the object that the client meant, by the uid and revision it names, if any?

    Raises:
        StatusError: 409; it is another one by now.
    """
    metadata, known = value["metadata"], old.document["metadata"]
    asked = metadata.get("resourceVersion")
    if asked and not str(asked).isdecimal():
        raise status.bad_request(f'metadata.resourceVersion: Invalid value: "{asked}"')
    if asked and is_stored(old) and int(asked) != old.revision:
        raise status.conflict(target.kind, target.name)
    if metadata.get("uid") and metadata["uid"] != known.get("uid"):
        raise status.conflict(
            target.kind,
            target.name,
            f"Precondition failed: UID in precondition: {metadata['uid']}, "
            f"UID in object meta: {known.get('uid')}",
        )


def revision_asked(backend: Backend, request: web.Request) -> int:
    """The resourceVersion that a read asks for at least; 0: any.

    Raises:
        StatusError: 400 for what is none; 504 for one that does not exist yet.
    """
    asked = whole(request.query, "resourceVersion", 0)
    if asked > backend.store.revision:
        told = f"Too large resource version: {asked}, current: {backend.store.revision}"
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        details = {"causes": [cause], "retryAfterSeconds": 1}
        raise status.StatusError(504, "Timeout", f"Timeout: {told}", details)
    return asked


def _token(revision: int, namespace: str, name: str) -> str:
    page = _Page(revision=revision, after=(namespace, name))
    return base64.urlsafe_b64encode(msgspec.json.encode(page)).decode()


def _page(token: str) -> _Page | None:
    if not token:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token), type=_Page)
    except (ValueError, msgspec.DecodeError) as error:
        raise status.bad_request("continue key is not valid") from error
