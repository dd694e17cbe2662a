"""What stands for container images on this machine: a map from their names to commands.

::

    [images."docker.io/example/reviews:1"]
    directory = "services"                      # relative to the map
    command = ["python3", "reviews.py"]         # entry point and arguments together
    environment = { LANG = "C.UTF-8" }
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from plait.base.errors import PlatformError
from plait.config.kinds.container import Container


class ImageMapError(PlatformError):
    """The image map cannot be read; the message says where and why."""


class NotMappedError(PlatformError):
    """The map has no such image, or no command for it; the message has the lines to add."""


class Image(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What runs in place of an image.

    Attributes:
        directory: where it starts, unless the container says; relative to the map.
        command: entry point and arguments.
    """

    directory: str = "."
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    images: Mapping[str, Image] = {}


class ImageMap:
    """The map in force: its file is read again when it changed."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._read: tuple[int, Mapping[str, Image]] = (0, {})

    def find(self, reference: str) -> Image | None:
        """What stands for an image: by its whole reference, without its tag, or its last part.

        Raises:
            ImageMapError: the file is wrong.
        """
        return self._named(reference, self._images())

    def last(self, reference: str) -> Image | None:
        """As `find`, while the file is wrong by what it said before: for what runs already."""
        try:
            return self.find(reference)
        except ImageMapError:
            return self._named(reference, self._read[1])

    def _named(self, reference: str, images: Mapping[str, Image]) -> Image | None:
        found = next((images[name] for name in names(reference) if name in images), None)
        if found is None:
            return None
        directory = self.path.parent / found.directory
        return msgspec.structs.replace(found, directory=str(directory.resolve()))

    def require(self, container: Container) -> Image:
        """What stands for a container's image, with something to run.

        Raises:
            ImageMapError: the file is wrong.
            NotMappedError: it has no such image, or no command where the container has none.
        """
        found = self.find(container.image)
        if found is None:
            raise NotMappedError(
                f'image "{container.image}" is not in {self.path}: '
                f"add to it\n{lines(container.image, container.command)}"
            )
        if not (found.command or container.command):
            raise NotMappedError(
                f'image "{container.image}" has no command in {self.path}, and container '
                f'"{container.name}" has none: add to its lines\ncommand = ["PROGRAM", "ARGUMENT"]'
            )
        return found

    def _images(self) -> Mapping[str, Image]:
        try:
            changed = self.path.stat().st_mtime_ns
            if changed != self._read[0]:
                self._read = (changed, _parsed(self.path))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ImageMapError(f"cannot read image map {self.path}: {error.strerror}") from error
        return self._read[1]


def names(reference: str) -> tuple[str, ...]:
    """What an image may be called in the map, the most exact first."""
    bare = reference.partition("@")[0]
    head, slash, tail = bare.rpartition("/")
    last = tail.partition(":")[0]
    return tuple(dict.fromkeys((reference, bare, f"{head}{slash}{last}", last)))


def lines(reference: str, command: tuple[str, ...] = ()) -> str:
    """The lines that a map lacks."""
    text = f'[images."{reference}"]\ndirectory = "."'
    return text if command else f'{text}\ncommand = ["PROGRAM", "ARGUMENT"]'


def _parsed(path: Path) -> Mapping[str, Image]:
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), _File).images
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ImageMapError(f"image map {path} is wrong: {error}") from error
