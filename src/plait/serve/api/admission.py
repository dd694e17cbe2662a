"""From a body to a change: is it about what the path names, and is the object valid?"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Any

from msgspec import Struct

from plait.config import codec, seal
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.ports import Change, Fault
from plait.config.record import Record
from plait.serve.api import metadata as metadata_shape
from plait.serve.api import status
from plait.serve.api.paths import Options, Target

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # of generated names: no vowels, no words
_KEPT = ("uid", "creationTimestamp", "generation", "deletionTimestamp")
_SET_BY_SERVER = (*_KEPT, "resourceVersion", "deletionGracePeriodSeconds", "selfLink")
_VALUES = ("data", "binaryData", "immutable")
_CODES = {"PLT1003": "unknown field", "PLT1004": "duplicate field"}


class Admitted(Struct, frozen=True, kw_only=True):
    """An object that may be written.

    Attributes:
        warnings: what the client should be told.
    """

    change: Change
    warnings: tuple[str, ...]


def document(target: Target, value: Any) -> dict[str, Any]:
    """The object of a body, which must be of the kind and namespace that the path names.

    Raises:
        StatusError: 400, with what does not fit.
    """
    if not isinstance(value, dict):
        raise status.bad_request("the body is not an object")
    metadata = value.get("metadata")
    metadata = {} if metadata is None else metadata
    metadata_shape.see(metadata, value.get("status"))
    found = {**value, "metadata": metadata}
    _see_kind(target, found)
    namespace = metadata.get("namespace") or target.namespace or ""
    if namespace != (target.namespace or ""):
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    name = metadata.get("name") or target.name
    if target.name and name != target.name:
        raise status.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )
    names = {"name": name, "namespace": namespace}
    metadata = {**metadata, **{k: v for k, v in names.items() if v}}
    return {**found, "metadata": metadata}


def _see_kind(target: Target, found: dict[str, Any]) -> None:
    if not target.kind.group.endswith(".io") or target.kind.group.endswith("k8s.io"):
        found.setdefault("apiVersion", target.api_version)
        found.setdefault("kind", target.kind.kind)
    for name, field in (("Kind", "kind"), ("apiVersion", "apiVersion")):
        if not found.get(field):
            raise status.bad_request(f"Object '{name}' is missing in the body")
    if found["apiVersion"] != target.api_version:
        raise status.bad_request(
            f"the API version in the data ({found['apiVersion']}) does not match the expected "
            f"API version ({target.api_version})"
        )
    if found["kind"] != target.kind.kind:
        raise status.bad_request(
            f"the kind in the data ({found['kind']}) does not match the expected kind "
            f"({target.kind.kind})"
        )


def named(target: Target, value: dict[str, Any]) -> dict[str, Any]:
    """A new object's document with its name, made up from generateName if need be.

    Raises:
        StatusError: 422 without either; 400 with a resourceVersion.
    """
    metadata = value["metadata"]
    prefix = metadata.get("generateName")
    if not metadata.get("name") and isinstance(prefix, str) and prefix:
        suffix = "".join(secrets.choice(_ALPHABET) for _ in range(5))
        metadata = {**metadata, "name": f"{prefix[:58]}{suffix}"}
    if not metadata.get("name"):
        cause = status.Cause(
            reason="FieldValueRequired",
            field="metadata.name",
            message="Required value: name or generateName is required",
        )
        raise status.invalid(target.kind, "", [cause])
    if metadata.get("resourceVersion"):
        raise status.bad_request("resourceVersion should not be set on objects to be created")
    return {**value, "metadata": metadata}


def completed(value: dict[str, Any], old: Record | None) -> dict[str, Any]:
    """The document with what only the server sets taken from `old`."""
    metadata = {k: v for k, v in value["metadata"].items() if k not in _SET_BY_SERVER}
    if old is not None:
        known = old.document["metadata"]
        kept = (*_KEPT, "deletionGracePeriodSeconds")
        metadata |= {k: known[k] for k in kept if k in known}
    found = codec.with_texts_as_data({**value, "metadata": metadata})
    is_renewed = old is not None and seal.is_sealed(old.document) and seal.is_anew(found)
    return {k: v for k, v in found.items() if k != seal.SEALED} if is_renewed else found


def see_changeable(target: Target, value: dict[str, Any], old: Record | None) -> None:
    """Is `value` a change that `old` allows?

    Raises:
        StatusError: 422; `old` is immutable and its values change, or it is a Secret that cannot
            be opened and the client does not say its values anew.
    """
    if old is None:
        return
    cause = None
    if seal.is_secret(old.key) and seal.is_sealed(old.document) and not seal.is_anew(value):
        told = "Forbidden: the Secret cannot be opened: write its data anew, or delete it"
        cause = status.Cause(reason="FieldValueForbidden", field="data", message=told)
    for field in _VALUES if old.document.get("immutable") is True else ():
        if value.get(field) != old.document.get(field):
            told = "Forbidden: field is immutable when `immutable` is set"
            cause = status.Cause(reason="FieldValueForbidden", field=field, message=told)
    if cause is not None:
        raise status.invalid(target.kind, old.key.name, [cause])


def admitted(
    target: Target,
    value: dict[str, Any],
    options: Options,
    duplicates: Sequence[str],
    known: Collection[str] = (),
) -> Admitted:
    """Decode and validate.

    What is at the paths `known` was there before and is not of this request: a warning at most.

    Raises:
        StatusError: 400 for unknown and duplicate fields under Strict; 422 with every cause.
    """
    change = codec.decode(value, default_namespace=target.namespace or "default", source="api")
    if isinstance(change, Fault):
        raise status.bad_request(change.problem)
    strict = [f'duplicate field "{path}"' for path in duplicates]
    strict += _loose(change.problems, lambda path: path not in known)
    kept = _loose(change.problems, lambda path: path in known)
    if strict and options.validation == "Strict":
        kind, version = target.kind.kind, target.version
        raise status.bad_request(
            f'{kind} in version "{version}" cannot be handled as a {kind}: '
            f"strict decoding error: {', '.join(strict)}"
        )
    rest = [problem for problem in change.problems if problem.code not in _CODES]
    errors = [problem for problem in rest if problem.severity is Severity.ERROR]
    if errors:
        raise status.invalid(target.kind, change.key.name, [_cause(p) for p in errors])
    told = () if options.validation == "Ignore" else (*strict, *kept)
    return Admitted(change=change, warnings=(*told, *(str(problem) for problem in rest)))


def _loose(problems: Sequence[Diagnostic], of: Callable[[str], bool]) -> list[str]:
    """Unknown and duplicate fields at some paths, in Kubernetes' words."""
    return [f'{_CODES[p.code]} "{p.path}"' for p in problems if p.code in _CODES and of(p.path)]


def _cause(problem: Diagnostic) -> status.Cause:
    hint = f". {problem.hint}" if problem.hint else ""
    return status.Cause(
        reason="FieldValueInvalid",
        field=problem.path,
        message=f"Invalid value: {problem.message}{hint}",
    )
