"""``…/scale``: the number of replicas by itself, as ``kubectl scale`` reads and writes it."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from msgspec import structs

from plait.base.errors import StoreError
from plait.config.record import Record
from plait.serve.api import admission, bodies, patch, status
from plait.serve.api.backend import Backend
from plait.serve.api.paths import Target, options
from plait.serve.api.reads import found, see_identity
from plait.serve.api.replies import reply
from plait.serve.api.writes import Writer, refused

VERSION = "autoscaling/v1"
_PATCHES = (bodies.JSON_PATCH, bodies.MERGE_PATCH, bodies.STRATEGIC_PATCH)


async def scale(backend: Backend, target: Target, request: web.Request) -> web.Response:
    """Read, replace or patch the scale of an object.

    Raises:
        StatusError: 422; it is no number of replicas.
    """
    old = found(backend, target)
    match request.method:
        case "GET":
            return reply(_scale(old))
        case "PUT":
            value = (await bodies.read(request, bodies.OBJECTS)).value
        case "PATCH":
            value = _patched(_scale(old), await bodies.read(request, _PATCHES))
        case _:
            raise status.method_not_allowed()
    return reply(_scale(await _written(backend, target, request, (old, value))))


async def _written(
    backend: Backend, target: Target, request: web.Request, change: tuple[Record, Any]
) -> Record:
    old, value = change
    replicas = _replicas(target, value)
    see_identity(target, {"metadata": value.get("metadata") or {}}, old)
    whole = structs.replace(target, subresource="")
    writer = Writer(backend=backend, target=whole, options=options(request))
    spec = {**old.document["spec"], "replicas": replicas}
    document = {**old.document, "apiVersion": target.api_version, "spec": spec}
    owned = writer.owned(old, admission.document(whole, document))
    try:
        return (await writer.put(owned, old)).record
    except StoreError as error:
        raise refused(error, target, target.name) from error


def _scale(record: Record) -> dict[str, Any]:
    document = record.document
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {name: document["metadata"][name] for name in names if name in document["metadata"]}
    replicas = document.get("spec", {}).get("replicas", 1)
    current = document.get("status", {}).get("replicas", 0)
    return {
        "kind": "Scale",
        "apiVersion": VERSION,
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
        "status": {"replicas": current, "selector": _selector(document)},
    }


def _selector(document: dict[str, Any]) -> str:
    selector = document.get("spec", {}).get("selector") or {}
    equal = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    return ",".join([*equal, *map(_expression, selector.get("matchExpressions") or ())])


def _expression(wanted: dict[str, Any]) -> str:
    values = ",".join(wanted.get("values") or ())
    match wanted.get("operator"):
        case "In":
            return f"{wanted['key']} in ({values})"
        case "NotIn":
            return f"{wanted['key']} notin ({values})"
        case "Exists":
            return str(wanted["key"])
        case _:
            return f"!{wanted.get('key')}"


def _patched(document: dict[str, Any], body: bodies.Body) -> dict[str, Any]:
    if body.media == bodies.JSON_PATCH:
        return patch.operate(document, body.value)
    found: dict[str, Any] = patch.merge(document, body.value)
    return found


def _replicas(target: Target, value: Any) -> int:
    spec = value.get("spec") if isinstance(value, dict) else None
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else 0
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        cause = status.Cause(
            reason="FieldValueInvalid",
            field="spec.replicas",
            message=f"Invalid value: {replicas}: must be a whole number from 0",
        )
        raise status.invalid(target.kind, target.name, [cause])
    return replicas
