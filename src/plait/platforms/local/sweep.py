"""Everything that a mesh made on this machine is taken away, whoever is still alive of it."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

from msgspec import Struct

from plait.base import place as places
from plait.base import processes
from plait.base.place import Place
from plait.base.processes import Handle, Process
from plait.platforms.local import members, volumes
from plait.platforms.local.journal import Journals
from plait.platforms.local.network import Network

_PATIENCE = 5.0
_PAUSE = 0.02
_BOOTSTRAP = "envoy.json"


class _Envoy(Struct, frozen=True):
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
    place, network, journals = Place(run), Network(run), Journals(Place(run))
    _end(_known(places.read(place.agent, Handle)) or processes.find("agent", "--run", str(run)))
    for directory in sorted((run / "proxy").glob("*")):  # after the agent, which starts them anew
        _end_envoy(directory)
    for journal in journals.read_all():
        for one in journal.runs.values():
            _end(_known(one.handle))
    for number in network.numbers():
        members.kill_all(network.path(number))
    network.remove_all()
    volumes.take_places(journals.made(), ())
    shutil.rmtree(run, ignore_errors=True)


def _end_envoy(directory: Path) -> None:
    note = places.read(directory / "journal.json", _Envoy)
    _end((note and _known(note.handle)) or processes.find("-c", str(directory / _BOOTSTRAP)))
    if note and note.base_id is not None:
        places.shared_memory(note.base_id).unlink(missing_ok=True)


def _known(handle: Handle | None) -> Process | None:
    return processes.adopt(handle) if handle else None


def _end(process: Process | None) -> None:
    """Kill a process and its group; return when it is gone."""
    if process is None:
        return
    process.send_all(signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(_PAUSE)
