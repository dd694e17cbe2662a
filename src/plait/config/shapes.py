"""Readers and writers of values, made from the types of a struct's fields.

A reader collects every finding and goes on with what is good: an unknown field is left out, a
value of the wrong type is the field's default.  So one reading shows all that is wrong.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from enum import Enum
from functools import cache
from math import isfinite
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from plait.config.diagnostics import Severity
from plait.config.document import Path
from plait.config.finding import Finding, meant, shown, wrong
from plait.config.written import UNITS

Found = list[Finding]
_SMALLEST: Final = -(2**63)
_GREATEST: Final = 2**63 - 1
_BAD: Final = object()  # what a reader returns for a value it has reported


class Shape(NamedTuple):
    """How values of a type are read from JSON's, and written."""

    read: Callable[[Any, Path, Found], Any]
    write: Callable[[Any], Any]
    empty: Any = _BAD  # what null stands for in a map


class _Field(NamedTuple):
    name: str
    shape: Shape
    default: Any


def read(value: Any, into: type[Struct], path: Path, found: Found) -> Any:
    """Read a struct; what is wrong is added to `found`.

    All fields of `into` must have defaults.
    """
    made = shape(into).read(value, path, found)
    return into() if made is _BAD else made


def write(value: Any) -> dict[str, Any]:
    """The JSON form of a struct, without what is as by default."""
    written: dict[str, Any] = shape(type(value)).write(value)
    return written


def shape(of: Any) -> Shape:
    """The shape of a type that a field may have.

    Raises:
        TypeError: no field may have that type.
    """
    origin, args = get_origin(of), get_args(of)
    if origin is None:
        return _plain(of)
    if origin is Annotated:
        return _annotated(args[1])
    if origin is tuple:
        return _list(shape(args[0]))
    if origin in (Union, types.UnionType):
        return _union(args)
    return _map(shape(args[1]))  # Mapping[str, …]


@cache
def _plain(of: Any) -> Shape:
    if isinstance(of, type) and issubclass(of, Struct):
        return _struct(of)
    if isinstance(of, type) and issubclass(of, Enum):
        return _enum(of)
    if of not in _SIMPLE:
        raise TypeError(f"no field may be of type {of}")
    return _SIMPLE[of]


def _struct(of: type[Struct]) -> Shape:
    empty = of()
    fields = {
        each.encode_name: _Field(each.name, shape(each.type), getattr(empty, each.name))
        for each in msgspec.structs.fields(of)
    }

    def read_struct(value: Any, path: Path, found: Found) -> Any:
        if not isinstance(value, dict):
            return _refuse(value, "an object with fields", path, found)
        arguments = {}
        for name, part in value.items():
            field = fields.get(name)
            if field is None:
                found.append(unknown(name, fields, path))
            elif part is not None:
                made = field.shape.read(part, (*path, name), found)
                if made is not _BAD:
                    arguments[field.name] = made
        return of(**arguments)

    def write_struct(value: Any) -> dict[str, Any]:
        return {
            name: field.shape.write(part)
            for name, field in fields.items()
            if (part := getattr(value, field.name)) != field.default
            or type(part) is not type(field.default)
        }

    return Shape(read_struct, write_struct, empty)


def unknown(name: str, known: Iterable[str], path: Path) -> Finding:
    """A field that its kind does not have."""
    return Finding(
        code="PLT1003",
        severity=Severity.WARNING,
        path=(*path, name),
        message="unknown field",
        hint=meant(name, known),
    )


def _enum(of: type[Enum]) -> Shape:
    members = {each.value: each for each in of}

    def read_enum(value: Any, path: Path, found: Found) -> Any:
        made = members.get(value) if isinstance(value, str) else None
        if made is not None:
            return made
        near = meant(value, members) if isinstance(value, str) else ""
        hint = near if near.startswith("did") else ""
        return _refuse(value, f"one of {', '.join(members)}", path, found, hint)

    return Shape(read_enum, lambda value: value.value)


def _list(item: Shape) -> Shape:
    def read_list(value: Any, path: Path, found: Found) -> Any:
        if not isinstance(value, list):
            hint = "write it as a list: [...]" if not isinstance(value, dict) else ""
            return _refuse(value, "a list", path, found, hint)
        made = [item.read(part, (*path, i), found) for i, part in enumerate(value)]
        return tuple(part for part in made if part is not _BAD)

    return Shape(read_list, lambda value: [item.write(part) for part in value])


def _map(item: Shape) -> Shape:
    def read_map(value: Any, path: Path, found: Found) -> Any:
        if not isinstance(value, dict):
            return _refuse(value, "a map", path, found)
        made = {}
        for name, part in value.items():
            if part is None and item.empty is not _BAD:
                made[str(name)] = item.empty
                continue
            inner = item.read(part, (*path, str(name)), found)
            if inner is not _BAD:
                made[str(name)] = inner
        return made

    return Shape(read_map, lambda value: {name: item.write(part) for name, part in value.items()})


def _union(args: tuple[Any, ...]) -> Shape:
    rest = [each for each in args if each is not type(None)]
    if len(rest) == 1:
        return shape(rest[0])
    return _INT_OR_STRING


def _annotated(meta: Meta) -> Shape:
    unit = (meta.extra or {}).get("unit")
    if unit is not None:
        return _unit(unit)
    return _whole(
        int(meta.ge) if meta.ge is not None else _SMALLEST,
        int(meta.le) if meta.le is not None else _GREATEST,
    )


def _unit(name: str) -> Shape:
    parse, write_unit = UNITS[name]

    def read_unit(value: Any, path: Path, found: Found) -> Any:
        text = str(value) if name == "quantity" and _is_number(value) else value
        if isinstance(text, str):
            try:
                return parse(text)
            except ValueError as error:
                return _refuse(value, str(error), path, found)
        hint = f'did you mean "{value}s"?' if name == "seconds" and _is_number(value) else ""
        expected = {"seconds": 'a duration, such as "10s"', "time": "a moment", "base64": "base64"}
        return _refuse(value, expected.get(name, "an amount"), path, found, hint)

    return Shape(read_unit, write_unit)


def _whole(least: int, most: int) -> Shape:
    def read_int(value: Any, path: Path, found: Found) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            return _refuse(value, "a whole number", path, found, _without_quotes(value))
        if not least <= value <= most:
            return _refuse(value, f"a number from {least} to {most}", path, found)
        return value

    return Shape(read_int, _same)


def _read_float(value: Any, path: Path, found: Found) -> Any:
    if not _is_number(value) or not isfinite(_as_float(value)):
        return _refuse(value, "a number", path, found, _without_quotes(value))
    return float(value)


def _read_bool(value: Any, path: Path, found: Found) -> Any:
    if isinstance(value, bool):
        return value
    hint = "remove the quotes" if value in ("true", "false") else ""
    return _refuse(value, "true or false", path, found, hint)


def _read_text(value: Any, path: Path, found: Found) -> Any:
    if isinstance(value, str):
        return value
    hint = ""
    if isinstance(value, bool):
        hint = "put quotes around it: on, off, yes, no, y and n are booleans in YAML"
    elif _is_number(value):
        hint = "put quotes around it"
    return _refuse(value, "text", path, found, hint)


def _read_int_or_text(value: Any, path: Path, found: Found) -> Any:
    if isinstance(value, str):
        return value
    if _is_number(value) and _as_float(value).is_integer():
        return int(value)
    return _refuse(value, "a number or a name", path, found)


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _same(value: Any) -> Any:
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _without_quotes(value: Any) -> str:
    digits = isinstance(value, str) and value.strip().isdecimal()
    return "remove the quotes" if digits else ""


def _refuse(value: Any, expected: str, path: Path, found: Found, hint: str = "") -> Any:
    discreet = f"the value is not {expected}"
    found.append(wrong(path, f"{shown(value)} is not {expected}", hint, discreet))
    return _BAD


_INT_OR_STRING: Final = Shape(_read_int_or_text, _same)
_SIMPLE: Final[dict[Any, Shape]] = {
    str: Shape(_read_text, _same, ""),
    bool: Shape(_read_bool, _same),
    int: _whole(_SMALLEST, _GREATEST),
    float: Shape(_read_float, _same),
    Any: Shape(lambda value, path, found: value, _same),
}
