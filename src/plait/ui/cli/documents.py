"""Objects that a user names by files: read once, with every problem at its place."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from plait.config import codec
from plait.config.document import Document
from plait.config.ports import Fault

_ENDINGS = (".yaml", ".yml", ".json")


def read(names: tuple[str, ...], *, recursive: bool) -> Iterator[Document | Fault]:
    """Every document of the files, of the directories and of standard input (``-``).

    Raises:
        ClickException: a file is not there.
    """
    for name in names:
        if name == "-":
            yield from codec.read_yaml(sys.stdin.read(), "stdin", source="stdin")
            continue
        for path in _files(Path(name), recursive=recursive):
            try:
                text = path.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise click.ClickException(f"cannot read {path}: {error}") from error
            yield from codec.read_yaml(text, str(path))


def _files(path: Path, *, recursive: bool) -> list[Path]:
    if not path.exists():
        raise click.ClickException(f"there is no file or directory {path}")
    if not path.is_dir():
        return [path]
    found = path.rglob("*") if recursive else path.iterdir()
    return sorted(one for one in found if one.suffix in _ENDINGS and one.is_file())
