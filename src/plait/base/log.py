"""Logs: events with fields, at changes of state.

The event is a constant of two or three words, what varies is a field, and the names of fields
are few, so that one search finds everything about one thing.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:  # the settings need the names below, and the command line is in a hurry
    from structlog.typing import EventDict, Processor, WrappedLogger

FIELDS: Final = frozenset({
    "address",  # host:port or unix:PATH
    "addresses",  # several
    "call",  # a query and its arguments
    "code",  # PLT…, or a process's exit status
    "count",  # how many
    "error",  # the error in one line
    "keeping",  # how many things stay as they were
    "key",  # Key of an object
    "network",  # inode of a network namespace
    "path",  # a file or directory
    "phase",  # of a rotation
    "pid",
    "proxy",  # node id
    "query",  # name of a query function
    "revision",  # of the store
    "role",  # at the API
    "seconds",  # how long
    "source",  # where objects come from
    "task",  # name of a supervised task
    "type_url",  # of an xDS resource
    "uid",  # of a process
    "url",
    "version",
})  # fmt: skip
"""Names of fields, with what they hold."""

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""What the setting `log_level` may be."""

FORMATS: Final = ("auto", "console", "logfmt", "json")
"""What the setting `log_format` may be; auto: console on a terminal, logfmt elsewhere."""

_ALWAYS: Final = {"event", "level", "timestamp", "exc_info", "exception", "logger"}
_FIRST: Final = ("timestamp", "level", "event")


class UnknownFieldError(Exception):
    """A log line has a field that is not in `FIELDS`."""


def setup(*, level: str = "info", style: str = "auto", stream: TextIO | None = None) -> None:
    """Send structlog's lines to `stream` (None: standard error); can be called again.

    Args:
        level: a key of `LEVELS`; lines below it cost almost nothing.
        style: one of `FORMATS`.
        stream: is also asked whether it is a terminal.
    """
    import logging

    import structlog

    stream = stream or sys.stderr
    if style == "auto":
        style = "console" if stream.isatty() else "logfmt"
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_renderers(style, stream),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    # Libraries log through the standard library: their warnings are wanted, their chatter is not.
    logging.basicConfig(
        stream=stream, level=max(LEVELS[level], logging.WARNING), format="%(message)s", force=True
    )


def check_fields(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A processor for tests: raises UnknownFieldError at a field that is not in `FIELDS`."""
    unknown = event.keys() - FIELDS - _ALWAYS
    if unknown:
        raise UnknownFieldError(f"{', '.join(sorted(unknown))} in {event.get('event')!r}")
    return event


def _renderers(style: str, stream: TextIO) -> list[Processor]:
    import structlog

    if style == "console":
        # The default shows the values of local variables, and those may be secrets.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)]
    errors: list[Processor] = [structlog.processors.format_exc_info]
    if style == "json":
        return [*errors, structlog.processors.JSONRenderer(default=str)]
    return [*errors, _plain, structlog.processors.LogfmtRenderer(key_order=_FIRST)]


def _plain(logger: WrappedLogger, method: str, event: EventDict) -> dict[str, Any]:
    """Values as text on one line: logfmt knows nothing else."""
    return {name: _one_line(value) for name, value in event.items()}


def _one_line(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value).replace("\n", "\\n")
