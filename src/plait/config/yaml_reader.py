"""Texts of one or many YAML or JSON documents, read as kubectl reads them.

The text is split at its ``---`` lines first, so that a broken document spares the others.  PyYAML's
C parser is asked for events only; values are made from them by our own rules
(`plait.config.scalars`), because PyYAML's differ from kubectl's in six kinds of words.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from plait.config import scalars
from plait.config.document import Document, Duplicate, Place
from plait.config.meta import Origin
from plait.config.ports import Fault

DEEPEST: Final = 100
"""Levels of nesting; more is a mistake or an attack."""
MOST_COPIES: Final = 100_000
"""Values that aliases may repeat; more is a mistake or an attack."""

Below = dict[str, Place] | list[Place] | None

_CORE: Final = "tag:yaml.org,2002:"
_RESOLVED: Final = tuple(_CORE + name for name in ("int", "float", "bool", "null"))
_SPLIT: Final = re.compile(r"^(?=---(?:\s|$))", re.MULTILINE)
_EMPTY: Final = re.compile(r"(?:\s*(?:#[^\n]*|%[^\n]*|---[ \t]*(?:#[^\n]*)?)?(?:\n|\Z))*")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class _Wrong(Exception):  # noqa: N818 - a mistake of the text, on its way to a Fault
    """What is wrong with a document, where the tree says it."""

    def __init__(self, problem: str, mark: Any = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mark = mark


def read(text: str, name: str, *, source: str = "files") -> tuple[Document | Fault, ...]:
    """Read every document of `text`, in order; empty ones are left out.

    Args:
        text: YAML or JSON.
        name: of the text, for locators.
        source: name of the source, for faults.
    """
    found: list[Document | Fault] = []
    shift = 0
    for part in _SPLIT.split(_SURROGATE.sub("\ufffd", text.removeprefix("\ufeff"))):
        if not _EMPTY.fullmatch(part):
            found.extend(_part(part, name, shift, source))
        shift += part.count("\n")
    return tuple(found)


def _part(text: str, name: str, shift: int, source: str) -> list[Document | Fault]:
    found: list[Document | Fault] = []
    try:
        found.extend(_Parser(text, name, shift))
    except _Wrong as wrong:
        found.append(_fault(wrong.problem, wrong.mark, name, shift, source))
    except yaml.YAMLError as error:
        documents = _json(text, name, shift)
        if documents is not None:
            return [*documents]
        problem, mark = _told(error)
        found.append(_fault(problem, mark, name, shift, source))
    return found


class _Parser:
    """Makes values and places from the events of one part of a text.

    The parser's own trees are not used: at some ten thousand levels they end the process.
    """

    def __init__(self, text: str, name: str, shift: int) -> None:
        self._loader = yaml.CBaseLoader(text)
        self._name = name
        self._shift = shift
        self._duplicates: list[Duplicate] = []
        self._anchors: dict[str, tuple[Any, Below]] = {}
        self._path: list[str | int] = []
        self._copies = 0

    def __iter__(self) -> Iterator[Document]:
        """Yield each document that is not empty.

        Raises:
            yaml.YAMLError: it is no YAML.
            _Wrong: it is, but not for us.
        """
        while (event := self._next()) is not None:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            self._anchors, self._duplicates = {}, []
            first = self._next()
            value, below = self._node(first)
            if value is None:
                continue
            if not isinstance(value, dict):
                raise _Wrong(_not_an_object(value), first.start_mark)
            root = self._place(first.start_mark, below)
            found = tuple(self._duplicates)
            yield Document(value=value, name=self._name, root=root, duplicates=found)

    def _next(self) -> Any:
        return self._loader.get_event()

    def _place(self, mark: Any, below: Below) -> Place:
        return Place(mark.line + 1 + self._shift, mark.column + 1, below)

    def _node(self, event: Any) -> tuple[Any, Below]:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if isinstance(event, yaml.ScalarEvent):
            made: tuple[Any, Below] = _scalar(event), None
        elif len(self._path) >= DEEPEST:
            raise _Wrong(f"nested deeper than {DEEPEST} levels", event.start_mark)
        elif isinstance(event, yaml.SequenceStartEvent):
            made = self._sequence()
        else:
            made = self._mapping()
        if event.anchor is not None:
            self._anchors[event.anchor] = made
        return made

    def _sequence(self) -> tuple[list[Any], Below]:
        values: list[Any] = []
        places: list[Place] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._path.append(len(values))
            value, below = self._node(event)
            self._path.pop()
            values.append(value)
            places.append(self._place(event.start_mark, below))
        return values, places

    def _mapping(self) -> tuple[dict[str, Any], Below]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        places: dict[str, Place] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            mark = event.start_mark
            name = "" if (merging := _is_merge(event)) else self._key(event)
            self._path.append(name)
            value, below = self._node(self._next())
            if merging:
                _merge(value, merged, mark)
            else:
                self._see(places.get(name), mark)
                values[name], places[name] = value, self._place(mark, below)
            self._path.pop()
        return ({**merged, **values} if merged else values), places

    def _see(self, earlier: Place | None, mark: Any) -> None:
        if earlier is not None:
            line = mark.line + 1 + self._shift
            path = tuple(self._path)
            self._duplicates.append(Duplicate(path=path, first=earlier.line, last=line))

    def _key(self, event: Any) -> str:
        plain = isinstance(event, yaml.ScalarEvent | yaml.AliasEvent)
        value = self._node(event)[0] if plain else None
        if value is None or isinstance(value, dict | list):
            raise _Wrong("a key must be a text, a number or a boolean", event.start_mark)
        return value if isinstance(value, str) else json.dumps(value)

    def _alias(self, event: Any) -> tuple[Any, Below]:
        found = self._anchors.get(event.anchor)
        if found is None:
            # The word is not shown: it may be a password that begins with *.
            hint = "put quotes around a text that begins with *"
            raise _Wrong(f"there is no such anchor before it; {hint}", event.start_mark)
        return self._copy(found[0], event.start_mark, len(self._path)), found[1]

    def _copy(self, value: Any, mark: Any, depth: int) -> Any:
        self._copies += 1
        if depth > DEEPEST:
            raise _Wrong(f"nested deeper than {DEEPEST} levels", mark)
        if self._copies > MOST_COPIES:
            raise _Wrong(f"aliases repeat more than {MOST_COPIES} values", mark)
        if isinstance(value, dict):
            return {name: self._copy(part, mark, depth + 1) for name, part in value.items()}
        return (
            [self._copy(part, mark, depth + 1) for part in value]
            if isinstance(value, list)
            else value
        )


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    try:
        if event.implicit[0] or event.tag in _RESOLVED:
            return scalars.plain(text)
        if event.tag == _CORE + "binary":
            return base64.b64decode(text).decode()
    except ValueError as error:
        raise _Wrong(str(error), event.start_mark) from error
    return text


def _is_merge(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.implicit[0] and event.value == "<<"


def _merge(value: Any, merged: dict[str, Any], mark: Any) -> None:
    for part in value if isinstance(value, list) else [value]:
        if not isinstance(part, dict):
            raise _Wrong("what << merges in must be a mapping", mark)
        merged.update({name: below for name, below in part.items() if name not in merged})


def _told(error: yaml.YAMLError) -> tuple[str, Any]:
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error).split("\n", 1)[0], None
    problem = ", ".join(part for part in (error.context, error.problem) if part)
    return _with_hint(problem), error.problem_mark


def _json(text: str, name: str, shift: int) -> tuple[Document, ...] | None:
    """Documents of JSON that YAML cannot read; positions are not known.  None: it is no JSON."""
    if not text.lstrip().startswith("{"):
        return None
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    found, start = [], 0
    while rest := text[start:].lstrip():
        start = len(text) - len(rest)
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        line = text.count("\n", 0, start) + 1 + shift
        found.append(Document(value=_settled(value), name=name, root=Place(line, 1, None)))
        start = end
    return tuple(found)


def _settled(value: Any, depth: int = 0) -> Any:
    if depth > DEEPEST:
        raise _Wrong(f"nested deeper than {DEEPEST} levels")
    match value:
        case dict():
            return {_settled(k): _settled(part, depth + 1) for k, part in value.items()}
        case list():
            return [_settled(part, depth + 1) for part in value]
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case float():
            return scalars.settle(value)
        case _:
            return value


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def _not_an_object(value: Any) -> str:
    what = "a list" if isinstance(value, list) else f"the value {json.dumps(value)[:40]}"
    return f"a document must be an object with apiVersion and kind, not {what}"


def _with_hint(problem: str) -> str:
    if "cannot start any token" in problem:
        return f"{problem}; indent with spaces, not with tabs; put quotes around @ and `"
    if "mapping values are not allowed" in problem:
        return f"{problem}; put quotes around a value that contains a colon and a space"
    return problem


def _fault(problem: str, mark: Any, name: str, shift: int, source: str) -> Fault:
    locator = f"{name}:{shift + 1}"
    if mark is not None:
        locator = f"{name}:{mark.line + 1 + shift}:{mark.column + 1}"
    return Fault(origin=Origin(source=source, locator=locator), problem=problem)
