"""Written forms of durations, moments, amounts and bytes, and their values."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|µs|ns)")
_UNITS: Final = {
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}
_DURATION: Final = re.compile(rf"(?:{_PART.pattern})+")
_LONGEST: Final = 9_000_000_000  # seconds: Envoy counts nanoseconds in 64 bits
_QUANTITY: Final = re.compile(
    r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|[kMGTPE]|[KMGTPE]i|n|u|[eE][+-]?[0-9]+)?"
)
_MOMENT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def parse_duration(text: str) -> float:
    """Seconds of ``10s``, ``0.5s``, ``1h2m3ms``, ``0``.

    Raises:
        ValueError: it is no duration.
    """
    if text == "0":
        return 0.0
    if len(text) > 64 or not _DURATION.fullmatch(text):
        raise ValueError('a duration, such as "10s", "0.5s" or "1m30s"')
    parts = _PART.findall(text)
    if len(parts) == 1 and parts[0][1] == "s":
        total = float(parts[0][0])
    else:
        total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if total > _LONGEST:
        raise ValueError(f"a duration of at most {_LONGEST}s")
    return round(total, 9)


def write_duration(seconds: float) -> str:
    """``10s`` or ``0.5s``: to the nanosecond, no more digits than it has."""
    text = f"{seconds:.9f}".rstrip("0").rstrip(".")
    return f"{text}s"


def parse_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 moment.

    Raises:
        ValueError: it is none.
    """
    expected = 'a moment, such as "2026-01-01T00:00:00Z"'
    if not _MOMENT.fullmatch(text):
        raise ValueError(expected)
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(expected) from error


def write_time(seconds: float) -> str:
    """RFC 3339 in UTC, with microseconds where it has them."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="auto").replace("+00:00", "Z")


def parse_quantity(text: str) -> str:
    """The amount as it is.

    Raises:
        ValueError: it is none.
    """
    if not _QUANTITY.fullmatch(text):
        raise ValueError('an amount, such as "500m", "1Gi" or 2')
    return text


def parse_bytes(text: str) -> bytes:
    """Bytes in base64.

    Raises:
        ValueError: it is no base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError("base64") from error


def write_bytes(content: bytes) -> str:
    """Base64 of bytes."""
    return base64.b64encode(content).decode()


UNITS: Final[dict[str, tuple[Callable[[str], Any], Callable[[Any], Any]]]] = {
    "seconds": (parse_duration, write_duration),
    "time": (parse_time, write_time),
    "quantity": (parse_quantity, str),
    "base64": (parse_bytes, write_bytes),
}
"""How a field with that unit is read and written."""
