"""The mesh of this machine as processes: started in the background, found again, ended."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from plait.base import place as places
from plait.base import processes
from plait.base.place import Mesh
from plait.ui.cli.client import Client
from plait.ui.cli.directory import Directory

PORT = 15080
"""The API's usual port, used if it is free."""

_PATIENCE = 30.0  # seconds until the control plane must answer
_SECOND_TRY = 2.0  # seconds in which who started one that ended has started another
_ENDING = 15.0  # seconds that it is given to end
_TICK = 0.05
_ANY = "127.0.0.1:0"
_TAKEN = "another process listens there"
_SAID = ("DATA", "XDS", "API", "FILES", "IMAGES", "LOCAL", "SERVER", "TOKEN")
_FOREIGN = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class Machine:
    """The mesh whose data is in a directory."""

    def __init__(self, data: Path) -> None:
        self.data = data.absolute()
        self.directory = Directory(self.data)
        self.place = self.directory.place
        self.log = self.data / "serve.log"

    @property
    def server(self) -> str:
        """Where its API answers."""
        return f"unix:{self.data / 'api.sock'}"

    def client(self) -> Client:
        """Its API."""
        return Client(self.server)

    def running(self) -> tuple[Mesh, processes.Process] | None:
        """What was started here and still runs."""
        mesh = places.read(self.place.mesh, Mesh)
        if mesh is None:
            return None
        plane = processes.adopt(processes.Handle(mesh.pid, mesh.started))
        return (mesh, plane) if plane else None

    def start(self, files: Path, images: Path | None, api: str) -> processes.Process:
        """Start the control plane in the background.

        Raises:
            ClickException: the directory is of no use.
        """
        self.directory.prepare()
        self.log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "plait.ui.cli.main", "serve", "--local"]
        command += ["--files", str(files), "--data", str(self.data)]
        command += ["--images", str(images)] if images else []
        command += ["--xds", f"unix:{self.data / 'xds.sock'}", "--api", api, "--api", self.server]
        plane = processes.start(
            processes.Command(
                command=(*command, "--log-format", "logfmt"),
                environment=_environment(),
                directory=os.getcwd(),
            ),
            self.log,
        )
        note = Mesh(
            files=str(files),
            images=str(images or ""),
            pid=plane.pid,
            started=plane.handle.started,
        )
        places.write(self.place.mesh, note)
        return plane

    def begin(self, files: Path, images: Path | None, api: str | None) -> None:
        """Start the control plane and wait until it answers.

        Where nobody said where the API listens, a port that another process takes first is no
        reason to give up.

        Raises:
            ClickException: it ended, or takes too long; with its own words.  Of one that ended
                nothing is left.
        """
        try:
            try:
                self.await_plane(self.start(files, images, api or api_address()))
            except click.ClickException as error:
                if api or _TAKEN not in error.message:
                    raise
                self.await_plane(self.start(files, images, _ANY))
        except click.ClickException:
            self.directory.undo()
            raise

    def join(self, plane: processes.Process) -> None:
        """Wait until the control plane answers that somebody else starts.

        Raises:
            ClickException: it ended, or takes too long; with its own words.
        """
        try:
            self.await_plane(plane)
        except click.ClickException:
            another = self._another(plane)
            if another is None:
                raise
            self.await_plane(another)

    def _another(self, plane: processes.Process) -> processes.Process | None:
        """What is started in place of one that ended, as `begin` does; None: nothing is."""
        deadline = time.monotonic() + _SECOND_TRY
        while time.monotonic() < deadline and not plane.is_alive():
            found = self.running()
            if found is not None:
                return found[1]
            time.sleep(_TICK)
        return None

    def await_plane(self, plane: processes.Process) -> None:
        """Until the control plane answers.

        Raises:
            ClickException: it ended, or takes too long; with its own words.
        """
        deadline = time.monotonic() + _PATIENCE
        api = self.client()
        while time.monotonic() < deadline:
            if not plane.is_alive():
                raise click.ClickException(self._last_words())
            if (self.data / "api.sock").exists() and _is_ready(api):
                return
            time.sleep(_TICK)
        raise click.ClickException(f"the control plane does not answer; see {self.log}")

    def stop(self) -> bool:
        """End the control plane; False: none was running.  What runs in the mesh goes on."""
        found = self.running()
        if found is None:
            return False
        _, plane = found
        plane.send(signal.SIGTERM)
        deadline = time.monotonic() + _ENDING
        while plane.is_alive() and time.monotonic() < deadline:
            time.sleep(_TICK)
        plane.send(signal.SIGKILL)
        while plane.is_alive():
            time.sleep(_TICK)
        return True

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return said[-1] if said else "\n".join(["the control plane ended:", *lines[-10:]])


def api_address() -> str:
    """Where the API listens for kubectl: at the usual port if it is free, else at any."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", PORT))
        except OSError:
            return _ANY
    return f"127.0.0.1:{PORT}"


def _environment() -> dict[str, str]:
    """Our variables without those that say otherwise what we say by flags."""
    return {name: value for name, value in _inherited() if name.lower() not in _FOREIGN}


def _inherited() -> Iterator[tuple[str, str]]:
    said = {f"PLAIT_{one}" for one in _SAID}
    for name, value in os.environ.items():  # noqa: TID251 - handed on to the control plane
        if name not in said:
            yield name, value


def _is_ready(api: Client) -> bool:
    try:
        return bool(api.ask("GET", "/plait/v1/version", patience=2.0).body["ready"])
    except click.ClickException:
        return False
