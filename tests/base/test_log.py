"""Log lines: one form for each place, and no field that is not on the list."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from plait.base import log

SOURCE = Path(__file__).parents[2] / "src" / "plait"


@pytest.fixture(autouse=True)
def _default_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def written(style: str, level: str = "info") -> str:
    stream = io.StringIO()
    log.setup(level=level, style=style, stream=stream)
    logger = structlog.get_logger("x")
    logger.debug("too fine", count=1)
    logger.warning("source lost", source="consul dc1", error="a\nb", keeping=412)
    return stream.getvalue()


def test_json_is_one_object_a_line():
    line = json.loads(written("json"))

    assert {"level": "warning", "event": "source lost", "keeping": 412}.items() <= line.items()


def test_logfmt_is_one_line_with_the_event_first():
    text = written("logfmt")

    assert text.count("\n") == 1
    assert 'level=warning event="source lost" source="consul dc1" error=' in text


def test_what_is_no_terminal_gets_logfmt():
    assert "level=warning" in written("auto")


def test_debug_lines_are_written_when_asked_for():
    assert "too fine" in written("logfmt", level="debug")


@pytest.mark.parametrize("style", ["json", "logfmt", "console"])
def test_an_exception_brings_its_traceback(style: str):
    stream = io.StringIO()
    log.setup(style=style, stream=stream)

    structlog.get_logger("x").error("task failed", task="t", exc_info=KeyError("v2"))

    assert "KeyError" in stream.getvalue()


def test_an_unknown_field_is_found():
    with pytest.raises(log.UnknownFieldError, match="colour in 'sky seen'"):
        log.check_fields(None, "info", {"event": "sky seen", "colour": "blue"})


def test_every_line_in_plait_uses_known_fields():
    methods = {"debug", "info", "warning", "error", "exception"}
    unknown = [
        f"{path.name}:{node.lineno} {keyword.arg}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in methods
        and ast.unparse(node.func.value) in ("_log", "log", "logger")
        for keyword in node.keywords
        if keyword.arg not in log.FIELDS | {"exc_info"}
    ]

    assert unknown == []


@pytest.mark.parametrize("style", ["json", "logfmt", "console"])
def test_a_traceback_shows_no_values_of_variables(style: str):
    stream = io.StringIO()
    log.setup(style=style, stream=stream)
    hidden = "canary-" + "in-a-variable"

    empty: dict[int, str] = {}
    try:
        empty[len(hidden)]
    except KeyError:
        structlog.get_logger("x").exception("task failed")

    assert "KeyError" in stream.getvalue()
    assert hidden not in stream.getvalue()
