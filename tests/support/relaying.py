"""An agent's relay as a process of its own: `python -m tests.support.relaying SOCKET CACHE XDS`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from plait.agent.relay import Relay
from tests.support.envoy import eventually
from tests.support.plane import ROOT


class Relaying:
    """The process; its socket and its cache are in `directory`."""

    def __init__(self, directory: Path, xds: str) -> None:
        self.socket = directory / "xds.sock"
        self._log = directory / "relay.log"
        self._arguments = (str(self.socket), str(directory / "cache"), xds)

    def __enter__(self) -> Self:
        self.socket.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, *self._arguments], stdout=log, stderr=log, cwd=ROOT
            )
        eventually(self._listens, 20, "the relay listens")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, sign)
        self.process.wait(20)

    def _listens(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()[-3000:]
        return self.socket.exists()


async def _main(socket: str, cache: str, xds: str) -> None:
    relay = Relay(Path(socket), Path(cache), xds, on_hosts=lambda _: None)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(relay.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
