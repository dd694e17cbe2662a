"""One document as it was written, and where each of its fields stands."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from msgspec import Struct

Path = tuple[str | int, ...]
"""Way to a field: names and positions in lists."""

_SIMPLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Place(NamedTuple):
    """Where a key or an item stands, and the places below it: by name, or in order."""

    line: int
    column: int
    below: dict[str, Place] | list[Place] | None


class Duplicate(Struct, frozen=True, kw_only=True):
    """A key that a mapping has twice; `first` and `last` are its lines."""

    path: Path
    first: int
    last: int


class Document(Struct, frozen=True, kw_only=True):
    """One document of a text.

    Attributes:
        value: its JSON form.
        name: of the text, such as the file's path.
        duplicates: keys written twice; the last one counts.
        root: where it begins, and all its fields; lines and columns from 1.
    """

    value: dict[str, Any]
    name: str
    root: Place = Place(1, 1, None)
    duplicates: tuple[Duplicate, ...] = ()

    @property
    def locator(self) -> str:
        """``file:line`` where the document begins."""
        return f"{self.name}:{self.root.line}"

    def locate(self, path: Path) -> str:
        """``file:line:column`` of a field: of its key, or of a list's item.

        A field that is not written is at the nearest one around it.
        """
        place = self.root
        for step in path:
            below = _below(place, step)
            if below is None:
                break
            place = below
        return f"{self.name}:{place.line}:{place.column}"

    def item(self, index: int) -> Document | None:
        """The item of a list of objects as a document; None: it is no mapping."""
        value = self.value["items"][index]
        if not isinstance(value, dict):
            return None
        items = _below(self.root, "items")
        return Document(
            value=value,
            name=self.name,
            root=(items and _below(items, index)) or self.root,
            duplicates=tuple(
                Duplicate(path=found.path[2:], first=found.first, last=found.last)
                for found in self.duplicates
                if found.path[:2] == ("items", index)
            ),
        )


def printed(path: Path) -> str:
    """``spec.http[0].headers[x.y/z]``: the form in which people and Kubernetes write it."""
    text = ""
    for step in path:
        if isinstance(step, str) and _SIMPLE.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{step}]"
    return text


def _below(place: Place, step: str | int) -> Place | None:
    below: dict[str, Place] | list[Place] | None = place.below
    if isinstance(below, dict) and isinstance(step, str):
        return below.get(step)
    if isinstance(below, list) and isinstance(step, int) and step < len(below):
        found: Place = below[step]
        return found
    return None
