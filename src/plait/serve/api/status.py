"""Errors as Kubernetes clients know them: metav1.Status, with the texts that people grep for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from plait.config.catalog import Kind

LIMIT = 3 * 1024 * 1024
"""Bytes that a request's body may have, as in Kubernetes."""


class Cause(Struct, frozen=True, kw_only=True):
    """One field of an object that is not as it must be.

    Attributes:
        reason: such as ``FieldValueInvalid``.
        field: its path, such as ``spec.hosts``; empty: the object.
    """

    reason: str
    field: str
    message: str


class StatusError(Exception):
    """Ends a request with a metav1.Status; nothing was changed."""

    def __init__(
        self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    @property
    def body(self) -> dict[str, Any]:
        """The JSON form."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details is not None:
            status["details"] = self.details
        return status


def resource_name(kind: Kind) -> str:
    """Plural and group as messages have them: ``virtualservices.networking.istio.io``."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def kind_name(kind: Kind) -> str:
    """Kind and group as messages have them: ``VirtualService.networking.istio.io``."""
    return f"{kind.kind}.{kind.group}" if kind.group else kind.kind


def details(kind: Kind, name: str, *, plural: bool = True) -> dict[str, Any]:
    """The `details` of an answer about one object; by its Kind instead of its plural on request."""
    found: dict[str, Any] = {"name": name} if name else {}
    if kind.group:
        found["group"] = kind.group
    return {**found, "kind": kind.plural if plural else kind.kind}


def success(kind: Kind, name: str, uid: str) -> dict[str, Any]:
    """The answer to a delete that is done."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {**details(kind, name), "uid": uid},
    }


def bad_request(message: str) -> StatusError:
    """400: the request cannot be understood."""
    return StatusError(400, "BadRequest", message)


def not_found(kind: Kind, name: str) -> StatusError:
    """404: there is no such object."""
    message = f'{resource_name(kind)} "{name}" not found'
    return StatusError(404, "NotFound", message, details(kind, name))


def no_resource() -> StatusError:
    """404: the group is known, the version or resource is not."""
    message = "the server could not find the requested resource"
    return StatusError(404, "NotFound", message, {})


def method_not_allowed() -> StatusError:
    """405: the resource knows no such verb."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def already_exists(kind: Kind, name: str) -> StatusError:
    """409: a create of something that is there."""
    message = f'{resource_name(kind)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, details(kind, name))


def conflict(kind: Kind, name: str, why: str = "") -> StatusError:
    """409: the object is no longer what the client thought."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version "
        "and try again"
    )
    message = f'Operation cannot be fulfilled on {resource_name(kind)} "{name}": {why}'
    return StatusError(409, "Conflict", message, details(kind, name))


def expired(why: str) -> StatusError:
    """410: the revision is no longer kept; list again."""
    return StatusError(410, "Expired", why)


def too_large() -> StatusError:
    """413: the body is beyond `LIMIT`."""
    return StatusError(
        413, "RequestEntityTooLarge", f"Request entity too large: limit is {LIMIT}", {}
    )


def unsupported(accepted: Sequence[str]) -> StatusError:
    """415: the body's content type is not one of `accepted`."""
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted)
    )
    return StatusError(415, "UnsupportedMediaType", message)


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> StatusError:
    """422: the object is not valid; says every cause."""
    texts = [f"{c.field}: {c.message}" if c.field else c.message for c in causes]
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    found = details(kind, name, plural=False)
    found["causes"] = [
        {"reason": c.reason, "message": c.message, "field": c.field or "<nil>"} for c in causes
    ]
    return StatusError(422, "Invalid", f'{kind_name(kind)} "{name}" is invalid: {joined}', found)


def unprocessable(message: str) -> StatusError:
    """422: a patch that does not fit the object."""
    return StatusError(422, "Invalid", message, {})


def full(message: str) -> StatusError:
    """507: the write could not be made durable, and nothing was changed."""
    return StatusError(507, "InsufficientStorage", message)
