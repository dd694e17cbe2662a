"""The shape of metadata and status, looked at before anything reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.serve.api import status

_TEXTS = ("name", "namespace", "generateName", "uid", "resourceVersion", "creationTimestamp")
_MAPS = ("labels", "annotations")
_LISTS = ("ownerReferences", "managedFields")


def see(metadata: Any, conditions_of: Any) -> None:
    """Has everything the type that it must have?  `conditions_of` is the object's status.

    Raises:
        StatusError: 400, with the first field that has not.
    """
    if not isinstance(metadata, Mapping):
        raise _wrong("metadata", "a map")
    for name in _TEXTS:
        if not isinstance(metadata.get(name) or "", str):
            raise _wrong(f"metadata.{name}", "a text")
    for name in _MAPS:
        _see_texts(f"metadata.{name}", metadata.get(name))
    for name in _LISTS:
        _see_maps(f"metadata.{name}", metadata.get(name))
    finalizers = metadata.get("finalizers")
    if finalizers is not None and not _is_list_of(finalizers, str):
        raise _wrong("metadata.finalizers", "a list of texts")
    if conditions_of is None:
        return
    if not isinstance(conditions_of, Mapping):
        raise _wrong("status", "a map")
    _see_maps("status.conditions", conditions_of.get("conditions"))


def _see_texts(path: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise _wrong(path, "a map")
    for name, part in value.items():
        if not isinstance(part, str):
            raise _wrong(f"{path}.{name}", "a text: put quotes around it")


def _see_maps(path: str, value: Any) -> None:
    if value is not None and not _is_list_of(value, Mapping):
        raise _wrong(path, "a list of maps")


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _wrong(path: str, what: str) -> status.StatusError:
    return status.bad_request(f"{path}: must be {what}")
