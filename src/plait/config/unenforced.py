"""Fields that are read and have no effect yet: each use of one is said."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from plait.config.catalog import Kind
from plait.config.diagnostics import Severity
from plait.config.document import Path
from plait.config.finding import Finding, shown


def findings(kind: Kind, body: Any, path: Path) -> Iterator[Finding]:
    """A warning for each field of `body` that `kind` says is not enforced."""
    for pattern in kind.unenforced:
        steps, value = split(pattern)
        for place, found in _find(body, steps, path):
            if value is None:
                yield not_enforced(place)
            elif isinstance(found, str) and found.upper() == value.upper():
                yield not_enforced(place, found)


def not_enforced(path: Path, value: str | None = None) -> Finding:
    """A field, or one value of it, that has no effect."""
    what = "this field" if value is None else shown(value)
    return Finding(
        code="PLT1007",
        severity=Severity.WARNING,
        path=path,
        message=f"{what} is kept but not enforced yet",
        hint="do not rely on it",
    )


@cache
def split(pattern: str) -> tuple[tuple[str, ...], str | None]:
    """``http[].port=TLS`` as ``("http", "[]", "port")`` and ``TLS``; None: any value."""
    fields, _, value = pattern.partition("=")
    return tuple(fields.replace("[]", ".[]").split(".")), value or None


def _find(body: Any, steps: tuple[str, ...], path: Path) -> Iterator[tuple[Path, Any]]:
    if not steps:
        if body not in (None, False, "", []):
            yield path, body
    elif steps[0] == "[]":
        for i, part in enumerate(body if isinstance(body, list) else ()):
            yield from _find(part, steps[1:], (*path, i))
    elif isinstance(body, dict) and steps[0] in body:
        yield from _find(body[steps[0]], steps[1:], (*path, steps[0]))
