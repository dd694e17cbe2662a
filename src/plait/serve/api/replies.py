"""Answers as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from aiohttp import web


def reply(value: Any, code: int = 200, warnings: Sequence[str] = ()) -> web.Response:
    """A JSON answer, with a Warning header for each thing that the client should be told."""
    answer = web.Response(
        body=msgspec.json.encode(value) + b"\n", status=code, content_type="application/json"
    )
    warned(answer, warnings)
    return answer


def warned(answer: web.StreamResponse, warnings: Iterable[str]) -> None:
    """Add what the client should be told."""
    for text in warnings:
        answer.headers.add("Warning", f"299 - {_quoted(text)}")


def _quoted(text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in text)[:1000]
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
