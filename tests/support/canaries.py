"""Secrets that are searched for in everything that is written or said, in every usual form."""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

_BLOCK = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(\\n|\s)*[A-Za-z0-9+/]{16}")
_LEAST = 12  # bytes of a secret that are searched for; fewer are found by chance


class Canaries:
    """Secrets by name; what is found is told by that name, never by its value."""

    def __init__(self) -> None:
        self._forms: dict[str, frozenset[bytes]] = {}

    def add(self, name: str, secret: bytes | str) -> None:
        """Search for a secret from now on."""
        raw = secret.encode() if isinstance(secret, str) else secret
        assert len(raw) >= _LEAST, name
        self._forms[name] = frozenset(forms(raw))

    def add_key(self, name: str, pem: str) -> None:
        """Search for a private key: its number, which its DER has too, and the lines of its PEM."""
        key = serialization.load_pem_private_key(pem.encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        number = key.private_numbers().private_value.to_bytes(32, "big")
        lines = [line.encode() for line in pem.splitlines()[1:-1] if len(line) > 40]
        self._forms[name] = frozenset(one for part in (number, *lines) for one in forms(part))

    def __len__(self) -> int:
        return len(self._forms)

    def found(self, data: bytes | str) -> set[str]:
        """Names of the secrets in some bytes, and of a private key that is none of them."""
        raw = data.encode() if isinstance(data, str) else data
        names = {name for name, known in self._forms.items() if any(one in raw for one in known)}
        return names | ({"a private key"} if _BLOCK.search(raw) else set())

    def below(self, top: Path, stores: Mapping[str, str]) -> dict[str, set[str]]:
        """What is found in the files of a directory, but in those that match a glob of `stores`."""
        leaks = {}
        for path in _files(top):
            inside = path.relative_to(top)
            if any(_matches(inside, pattern) for pattern in stores):
                continue
            if names := self.found(_read(path)):
                leaks[str(inside)] = names
        return leaks

    def among(self, pids: Iterable[int]) -> dict[str, set[str]]:
        """What is found in the arguments and variables of processes."""
        leaks = {}
        for pid in pids:
            for name in ("cmdline", "environ"):
                if names := self.found(_read(Path(f"/proc/{pid}/{name}"))):
                    leaks[f"{pid}/{name}"] = names
        return leaks


def forms(raw: bytes) -> Iterator[bytes]:
    """A secret as it is, in hexadecimal, and in base64 wherever in a longer text it stands."""
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw)
        start, end = -(-before * 4 // 3), len(text) - (4 if (before + len(raw)) % 3 else 0)
        inner = text[start + (1 if before else 0) : end]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def of_mesh(top: Path) -> list[int]:
    """Processes whose arguments or variables name a directory."""
    mark = str(top).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            said = _read(entry / "cmdline") + _read(entry / "environ")
            if mark in said:
                found.append(int(entry.name))
    return sorted(found)


def core_limits(pids: list[int]) -> set[str]:
    """How many bytes of core the processes may leave."""
    found = set()
    for pid in pids:
        for line in _read(Path(f"/proc/{pid}/limits")).decode().splitlines():
            if line.startswith("Max core file size"):
                found.add(line.split()[4])
    return found


def _matches(path: Path, pattern: str) -> bool:
    """Whether each part of a path matches that of the pattern."""
    parts = pattern.split("/")
    pairs = zip(path.parts, parts, strict=False)
    return len(path.parts) == len(parts) and all(fnmatchcase(*pair) for pair in pairs)


def _files(top: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(top):
        for name in names:
            path = Path(directory, name)
            try:
                is_file = stat.S_ISREG(path.lstat().st_mode)
            except FileNotFoundError:
                continue
            if is_file:
                yield path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it is gone
        return b""
