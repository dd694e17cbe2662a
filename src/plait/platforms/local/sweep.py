"""Everything that a mesh made on this machine is taken away, whoever is still alive of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from plait.base import place as places
from plait.base import processes
from plait.base.place import Place
from plait.base.processes import Handle, Process
from plait.platforms.local import members, volumes
from plait.platforms.local.journal import Journals
from plait.platforms.local.network import Network

_PATIENCE = 5.0
_PAUSE = 0.02
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Envoy's choice


class _ProxyJournal(msgspec.Struct, frozen=True):
    """What matters here of an agent's journal of one Envoy."""

    handle: Handle | None = None
    base_id: int | None = None


def sweep(run: Path) -> None:
    """Take away processes, namespaces, mount points and files of the mesh in `run`, and `run`.

    Needs nothing but what stands there and the names of namespaces; what is gone already, or
    half, is no obstacle, and other meshes are not touched.  The control plane must have ended:
    it would bring everything back.

    Raises:
        PlatformError: namespaces are there and cannot be taken away.
    """
    place, network = Place(run), Network(run)
    _end(_agent(place))  # first: it would start Envoys again
    journals = Journals(place)
    notes = list(_proxies(place))
    for note in notes:
        _end(processes.adopt(note.handle) if note.handle else None)
    for journal in journals.read_all():
        for one in journal.runs.values():
            _end(processes.adopt(one.handle) if one.handle else None)
    for number in network.numbers():
        members.kill_all(network.path(number))
    network.remove_all()
    volumes.take_places(journals.made(), ())
    for note in notes:
        _forget_shared_memory(note)
    shutil.rmtree(run, ignore_errors=True)


def _agent(place: Place) -> Process | None:
    handle = places.read(place.agent, Handle)
    return processes.adopt(handle) if handle else None


def _proxies(place: Place) -> Iterator[_ProxyJournal]:
    for path in sorted((place.run / "proxy").glob("*/journal.json")):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            yield msgspec.json.decode(path.read_bytes(), type=_ProxyJournal)


def _end(process: Process | None) -> None:
    """Kill a process and its group; return when it is gone."""
    if process is None:
        return
    process.send_all(signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def _forget_shared_memory(note: _ProxyJournal) -> None:
    if note.base_id is None:
        return
    with contextlib.suppress(OSError):
        os.unlink(_SHARED_MEMORY / f"envoy_shared_memory_{note.base_id * 10}")
