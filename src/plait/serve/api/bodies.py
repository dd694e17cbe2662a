"""Bodies of requests: JSON and YAML, read strictly, with the fields that are there twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from plait.config import codec
from plait.config.document import printed
from plait.config.ports import Fault
from plait.serve.api import protobuf, status

JSON = "application/json"
YAML = "application/yaml"
OBJECTS = (JSON, YAML, protobuf.MEDIA)
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)

_DEEPEST = 100
_PATIENCE = 30.0  # seconds until a body must be there
_YAML_LIKE = (YAML, APPLY_PATCH, "application/x-yaml", "text/yaml")


class Body(Struct, frozen=True, kw_only=True):
    """What a request carries.

    Attributes:
        media: content type without its parameters.
        duplicates: paths of fields that are there twice; the last one counts.
    """

    value: Any
    media: str
    duplicates: tuple[str, ...] = ()


async def read(request: web.Request, accepted: Sequence[str]) -> Body:
    """Read a body of one of the content types `accepted`; none given means JSON.

    Raises:
        StatusError: 400, 408, 413 or 415.
    """
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower() or JSON
    if media not in accepted:
        raise status.unsupported(accepted)
    if (request.content_length or 0) > status.LIMIT:
        raise status.too_large()
    try:
        async with asyncio.timeout(_PATIENCE):
            raw = await request.read()
    except TimeoutError as error:
        raise status.StatusError(408, "Timeout", "the body took too long") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise status.too_large() from error
    if media == protobuf.MEDIA:
        return Body(value=protobuf.decode(raw), media=media)
    is_json = media not in _YAML_LIKE or raw.lstrip()[:1] in (b"{", b"")
    found = _json(raw, media) if is_json else _yaml(raw, media)
    see_depth(found.value)
    return found


def _json(raw: bytes, media: str) -> Body:
    try:
        value = msgspec.json.decode(raw)
        duplicates = _duplicates(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise status.bad_request(f"the body is not valid JSON: {error}") from error
    return Body(value=value, media=media, duplicates=duplicates)


def _yaml(raw: bytes, media: str) -> Body:
    try:
        text = raw.decode()
        documents = codec.read_yaml(text, "body")
    except (UnicodeDecodeError, RecursionError) as error:
        raise status.bad_request(f"the body is not valid YAML: {error}") from error
    for document in documents:
        if isinstance(document, Fault):
            told = f"the body is not valid YAML: {document.problem} ({document.origin})"
            raise status.bad_request(told)
        twice = tuple(printed(duplicate.path) for duplicate in document.duplicates)
        return Body(value=document.value, media=media, duplicates=twice)
    raise status.bad_request("the body has no YAML document")


def _duplicates(raw: bytes) -> tuple[str, ...]:
    """Paths of the fields that a JSON text has twice, in the order of the text."""
    twice: dict[int, tuple[dict[str, Any], list[str]]] = {}

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            counts = Counter(name for name, _ in pairs)
            twice[id(found)] = (found, [name for name, count in counts.items() if count > 1])
        return found

    root = json.loads(raw, object_pairs_hook=collect)
    return tuple(_named(root, twice, "")) if twice else ()


def _named(value: Any, twice: dict[int, tuple[dict[str, Any], list[str]]], path: str) -> list[str]:
    if isinstance(value, list):
        return [p for i, part in enumerate(value) for p in _named(part, twice, f"{path}[{i}]")]
    if not isinstance(value, dict):
        return []
    here = twice.get(id(value))
    prefix = f"{path}." if path else ""
    found = [f"{prefix}{name}" for name in here[1]] if here else []
    for name, part in value.items():
        found += _named(part, twice, f"{prefix}{name}")
    return found


def see_depth(value: Any) -> None:
    """Look at how deep a value is nested: what reads it may call itself for each level.

    Raises:
        StatusError: 400; too deep.
    """
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            part
            for outer in level
            if isinstance(outer, dict | list)
            for part in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise status.bad_request(f"an object may not be nested deeper than {_DEEPEST} levels")
