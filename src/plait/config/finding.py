"""What reading a document finds, before it is known which object it is about."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct, structs

from plait.config.diagnostics import Severity
from plait.config.document import Path

_LONGEST: Final = 60


class Finding(Struct, frozen=True, kw_only=True):
    """One finding; the fields are those of `Diagnostic`, the path is not printed yet.

    Attributes:
        discreet: the message for who must not see the value; empty: it shows none.
    """

    code: str
    severity: Severity
    path: Path
    message: str
    hint: str = ""
    discreet: str = ""


def wrong(path: Path, message: str, hint: str = "", discreet: str = "") -> Finding:
    """A value of the wrong type."""
    return Finding(
        code="PLT1005",
        severity=Severity.ERROR,
        path=path,
        message=message,
        hint=hint,
        discreet=discreet,
    )


def without_value(finding: Finding) -> Finding:
    """The same finding, told without the value."""
    if not finding.discreet:
        return finding
    return structs.replace(finding, message=finding.discreet, hint="")


def invalid(path: Path, message: str, hint: str = "") -> Finding:
    """A broken rule about one object."""
    return Finding(code="PLT1006", severity=Severity.ERROR, path=path, message=message, hint=hint)


def shown(value: Any) -> str:
    """A value as JSON, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def meant(name: str, known: Iterable[str]) -> str:
    """``did you mean "hosts"?``, or which names there are."""
    names = [*known]
    lower = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.7)
    if near:
        return f'did you mean "{lower[near[0]]}"?'
    return f"known here: {', '.join(names)}" if len(names) <= 12 else ""
