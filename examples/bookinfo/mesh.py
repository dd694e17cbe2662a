"""The working copy of the mesh's YAML: made, moved off taken ports, and read."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

SOURCE = Path(__file__).parent / "mesh"

_PORT_LINES = {
    "WorkloadEntry": r"(^    http: ){port}\b",
    "Gateway": r"(^ +number: ){port}\b",
    "Sidecar": r"(^ +number: ){port}\b",
}
"""Where the objects that open a port here say which, by kind."""


class Instance(NamedTuple):
    """One process of a service."""

    app: str
    version: str
    name: str
    host: str
    port: int


class Layout(NamedTuple):
    """What the YAML says about this machine; addresses are ``HOST:PORT``."""

    instances: tuple[Instance, ...]
    gateway: str
    proxy: str


def copy(target: Path) -> list[str]:
    """Copy the YAML to `target` with free ports; says which had to be replaced."""
    notes = []
    for file in sorted(SOURCE.glob("*.yaml")):
        shutil.copyfile(file, target / file.name)
        text = (target / file.name).read_text()
        parts = re.split(r"(?m)(?<=\n)(?=---$)", text)
        for i, part in enumerate(parts):
            found = _socket(yaml.safe_load(part.removeprefix("---")))
            if found is None or is_free(*found[1:]):
                continue
            kind, host, port = found
            other = free_port(host)
            pattern = _PORT_LINES[kind].format(port=port)
            parts[i] = re.sub(pattern, rf"\g<1>{other}", part, count=1, flags=re.MULTILINE)
            notes.append(f"{host}:{port} is taken: {file.name} has {other} instead")
        (target / file.name).write_text("".join(parts))
    return notes


def layout(directory: Path) -> Layout:
    """Read the copy: one instance for each WorkloadEntry, by name."""
    documents = [
        document for file in sorted(directory.glob("*.yaml")) for document in _documents(file)
    ]
    sockets = {found[0]: f"{found[1]}:{found[2]}" for one in documents if (found := _socket(one))}
    entries = [one for one in documents if one["kind"] == "WorkloadEntry"]
    return Layout(
        instances=tuple(sorted(_instance(entry) for entry in entries)),
        gateway=sockets["Gateway"],
        proxy=sockets["Sidecar"],
    )


def _documents(file: Path) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all(file.read_text())


def _instance(entry: dict[str, Any]) -> Instance:
    spec = entry["spec"]
    labels = spec["labels"]
    return Instance(
        app=labels["app"],
        version=labels["version"],
        name=entry["metadata"]["name"],
        host=spec["address"],
        port=spec["ports"]["http"],
    )


def _socket(document: dict[str, Any]) -> tuple[str, str, int] | None:
    """Kind, address and port of an object for which something listens on this machine."""
    spec = document["spec"]
    match document["kind"]:
        case "WorkloadEntry":
            return "WorkloadEntry", spec["address"], spec["ports"]["http"]
        case "Gateway":
            server = spec["servers"][0]
            return "Gateway", server["bind"], server["port"]["number"]
        case "Sidecar":
            listener = spec["egress"][0]
            return "Sidecar", listener["bind"], listener["port"]["number"]
        case _:
            return None


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str) -> int:
    """A port of `host` that nobody has now."""
    with socket.socket() as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
    return port
