"""Label and field selectors of lists and watches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from msgspec import Struct

from plait.serve.api import status

_SET = re.compile(r"^\s*(?P<key>[^\s=!(),]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)\s*$")
_EQUAL = re.compile(r"^\s*(?P<key>[^\s=!(),]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s=!(),]*)\s*$")
_EXISTS = re.compile(r"^\s*(?P<no>!?)\s*(?P<key>[^\s=!(),]+)\s*$")
_COMMA = re.compile(r",(?![^()]*\))")  # not inside the parentheses of a set

Test = Callable[[Mapping[str, str]], bool]


class Selector(Struct, frozen=True, kw_only=True):
    """What a list or watch is about.

    Attributes:
        name: of the one object; empty: all.
        namespace: of the objects, from the field selector; empty: all.
        nothing: the field selector contradicts itself.
    """

    tests: tuple[Test, ...] = ()
    name: str = ""
    namespace: str = ""
    nothing: bool = False

    def matches(self, namespace: str, name: str, labels: Mapping[str, str]) -> bool:
        """Is the object with these names and labels one of them?"""
        if self.nothing or (self.name and name != self.name):
            return False
        if self.namespace and namespace != self.namespace:
            return False
        return all(test(labels) for test in self.tests)

    @property
    def is_everything(self) -> bool:
        """Selects all there is."""
        return not (self.tests or self.name or self.namespace or self.nothing)


def parse(labels: str, fields: str) -> Selector:
    """Read both selectors.

    Raises:
        StatusError: 400, with what is wrong.
    """
    tests = tuple(_requirement(part) for part in _COMMA.split(labels) if part.strip())
    found: dict[str, str] = {}
    nothing = False
    for part in filter(None, fields.split(",")):
        path, equal, value = _field(part)
        if not equal:
            raise status.bad_request(f'field label not supported with "!=": {path}')
        nothing = nothing or found.get(path, value) != value
        found[path] = value
    return Selector(
        tests=tests,
        name=found.get("metadata.name", ""),
        namespace=found.get("metadata.namespace", ""),
        nothing=nothing,
    )


def _field(part: str) -> tuple[str, bool, str]:
    match = re.match(r"^\s*([\w.]+)\s*(==|=|!=)\s*(.*?)\s*$", part)
    if match is None:
        raise status.bad_request(f'invalid field selector: "{part}"; use field=value')
    path, op, value = match.groups()
    if path not in ("metadata.name", "metadata.namespace"):
        raise status.bad_request(f'field label not supported: "{path}"')
    return path, op != "!=", value


def _requirement(text: str) -> Test:
    if match := _SET.match(text):
        return _membership(match["key"], match["op"], match["values"])
    if match := _EQUAL.match(text):
        return _equality(match["key"], match["op"], match["value"])
    if match := _EXISTS.match(text):
        key, absent = match["key"], bool(match["no"])
        return lambda labels: (key in labels) is not absent
    raise status.bad_request(f'unable to parse requirement: "{text.strip()}"')


def _membership(key: str, op: str, values: str) -> Test:
    wanted = frozenset(value.strip() for value in values.split(","))
    if op == "in":
        return lambda labels: labels.get(key) in wanted
    return lambda labels: labels.get(key) not in wanted


def _equality(key: str, op: str, value: str) -> Test:
    if op == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value
