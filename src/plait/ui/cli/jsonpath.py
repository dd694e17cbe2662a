r"""kubectl's JSONPath templates: text with expressions in braces.

``{.a.b}``, ``{.a[0]}``, ``{.a[0,2]}``, ``{.a[1:5:2]}``, ``{.a[*].b}``, ``{.a.x\.y}``,
``{.a['x.y']}``, ``{.a['x','y']}``, ``{..name}``, filters
``{.items[?(@.kind=="Service")].metadata.name}``, ``{range .items[*]}…{end}``, ``{"text"}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import click

_PLACES = r"(?:-?\d+|(?:-?\d+)?(?::(?:-?\d+)?){1,2})"
_STEP = re.compile(
    rf"""\.\.(?P<deep>[\w-]+|\*)          # everywhere below
      | \.(?P<name>(?:\\.|[\w/-])+|\*)   # a field; a backslash takes a dot as part of it
      | \[\?\(@(?P<path>[^=!<>)]*?)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+?))?\)\]
      | \[(?P<quoted>'[^']*'|"[^"]*"|'[^']*'(?:\s*,\s*'[^']*')+)\]  # fields with any characters
      | \[(?P<index>\*|{_PLACES}(?:,{_PLACES})*)\]
    """,
    re.VERBOSE,
)
_EXPRESSION = re.compile(r"""\{((?:[^{}"']|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')*)\}""")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def render(template: str, value: Any) -> str:
    """The template with every expression replaced by what it selects, joined by blanks.

    Raises:
        ClickException: the template cannot be read.
    """
    parts: list[str] = []
    _play(list(_tokens(template)), value, value, parts)
    return "".join(parts)


def _tokens(template: str) -> Iterator[tuple[str, str]]:
    place = 0
    for found in _EXPRESSION.finditer(template):
        if found.start() > place:
            yield "text", template[place : found.start()]
        yield "expression", found.group(1).strip()
        place = found.end()
    if "{" in template[place:]:
        raise click.ClickException(f"jsonpath: a brace is not closed in {template[place:]!r}")
    if place < len(template):
        yield "text", template[place:]


def _play(tokens: list[tuple[str, str]], root: Any, here: Any, parts: list[str]) -> None:
    i = 0
    while i < len(tokens):
        kind, text = tokens[i]
        i += 1
        if kind == "text":
            parts.append(text)
        elif text.startswith("range "):
            end = _end(tokens, i)
            for one in select(text[6:].strip(), here):
                _play(tokens[i:end], root, one, parts)
            i = end + 1
        elif text[:1] in "\"'" and len(text) > 1:
            parts.append(_unescaped(text[1:-1]))
        elif text == "end":
            raise click.ClickException("jsonpath: {end} without {range}")
        else:
            start = root if text.startswith("$") else here
            found = select(text.lstrip("$@"), start)
            parts.append(" ".join(_shown(one) for one in found))


def _end(tokens: list[tuple[str, str]], start: int) -> int:
    depth = 1
    for i in range(start, len(tokens)):
        kind, text = tokens[i]
        if kind == "expression":
            depth += text.startswith("range ")
            depth -= text == "end"
        if not depth:
            return i
    raise click.ClickException("jsonpath: {range} without {end}")


def select(path: str, value: Any) -> list[Any]:
    """All that `path` selects in `value`, in order.

    Raises:
        ClickException: the path cannot be read.
    """
    found, place = [value], 0
    if path and path[0] not in ".[":
        path = f".{path}"
    if path == ".":
        return found
    while place < len(path):
        step = _STEP.match(path, place)
        if step is None:
            raise click.ClickException(f"jsonpath: cannot read {path[place:]!r}")
        if step["quoted"]:
            names = [a or b for a, b in _QUOTED.findall(step["quoted"])]
            found = [one for name in names for each in found for one in _named(each, name)]
        else:
            found = [one for each in found for one in _stepped(step, each)]
        place = step.end()
    return found


def _stepped(step: re.Match[str], value: Any) -> Iterator[Any]:
    part = step.groupdict()
    if part["deep"]:
        yield from _below(value, part["deep"])
    elif part["path"] is not None:
        yield from (one for one in _items(value) if _holds(part, one))
    elif part["index"]:
        yield from _indexed(value, part["index"])
    elif part["name"] == "*":
        yield from _items(value)
    else:
        name = part["name"].replace("\\", "")
        if isinstance(value, dict) and name in value:
            yield value[name]


def _named(value: Any, name: str) -> Iterator[Any]:
    """The field of that name; if there is none, what the name selects as a path, as in kubectl."""
    plain = name.replace("\\", "")
    if isinstance(value, dict) and plain in value:
        yield value[plain]
    elif "." in name:
        yield from select(name, value)


def _indexed(value: Any, index: str) -> Iterator[Any]:
    """What a list has at these places, which must be there, as in kubectl."""
    if index == "*":
        yield from _items(value)
        return
    if not isinstance(value, list):
        raise click.ClickException(f"jsonpath: [{index}] selects from a list, not from {value!r}")
    for part in index.split(","):
        yield from value[_slice(part, len(value))]


def _slice(part: str, length: int) -> slice:
    """``2``, ``1:5`` or ``1:5:2`` as a slice of a list of that length."""
    if ":" not in part:
        place = _place(int(part), length)
        _see(place, length - 1, length)
        return slice(place, place + 1)
    first, last, step = (int(one) if one else None for one in (*part.split(":"), "")[:3])
    start = _place(first or 0, length)
    end = length if last is None else _place(last, length)
    for place in (start, end):
        _see(place, length, length)
    if step == 0:
        raise click.ClickException(f"jsonpath: [{part}] never ends")
    return slice(start, end, step)


def _place(index: int, length: int) -> int:
    return index + length if index < 0 else index


def _see(place: int, most: int, length: int) -> None:
    if not 0 <= place <= most:
        raise click.ClickException(f"jsonpath: there is no index {place} in a list of {length}")


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _below(value: Any, name: str) -> Iterator[Any]:
    if isinstance(value, dict) and name in value:
        yield value[name]
    for one in _items(value):
        if name == "*":
            yield one
        yield from _below(one, name)


def _holds(part: dict[str, str], value: Any) -> bool:
    found = select(part["path"].strip() or ".", value)
    if not part["op"]:
        return bool(found)
    text = part["value"].strip()
    wanted = text[1:-1] if text[:1] in "\"'" else _literal(text)
    return any(_compared(one, part["op"], wanted) for one in found)


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _compared(left: Any, operator: str, right: Any) -> bool:
    if operator in ("==", "!="):
        return bool(left == right) == (operator == "==")
    try:
        less, equal = bool(left < right), bool(left == right)
    except TypeError:
        return False
    return {"<": less, "<=": less or equal, ">": not (less or equal), ">=": not less}[operator]


def _shown(value: Any) -> str:
    """As kubectl prints it: what is no text is JSON, dense and in the order of keys."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), text)
