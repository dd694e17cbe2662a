"""A control plane with every door there is, in a process of its own, and calls at each.

Run as ``python -m tests.support.doored DIRECTORY``, it writes down there where it listens.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import grpc

from plait.base import processes
from plait.base.clock import WallClock
from plait.base.crowd import allow_files
from plait.config.record import Write
from plait.config.store import Store
from plait.serve.ads import Ads
from plait.serve.api import app
from plait.serve.api.access import Role, User
from plait.serve.api.backend import Backend
from plait.serve.api.lock import Lock
from plait.serve.api.pages import NoPages
from plait.serve.api.tokens import Tokens
from plait.serve.doors import Door, Pair, Shown
from plait.xds.resource import CLUSTER
from tests.support import mesh
from tests.support.authority import Authority, credentials, spiffe
from tests.support.envoy import eventually
from tests.support.plane import ROOT
from tests.support.xds_client import connected, node

DOORS = ("api", "api-tls", "xds", "xds-tls", "join")
JOIN = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
_ALLOWED = 20.0  # seconds that a call may take beside a flood


class Doored:
    """The process, its addresses, and what opens its doors."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.log = directory / "log"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.support.doored", str(self._directory)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        note = self._directory / "doors.json"
        eventually(note.exists, 30, "all doors are open")
        about: dict[str, Any] = json.loads(note.read_text())
        self.addresses: dict[str, str] = about["addresses"]
        self.root: str = about["root"]
        self.token: str = about["token"]
        self.pair = Pair(chain=about["chain"], key=about["key"])
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.process.pid, signal.SIGTERM)
        self.process.wait(20)

    def place(self, door: str) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.addresses[door].rpartition(":")
        return host, int(port)

    def memory(self) -> float:
        """Resident memory in MB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def connections(self) -> int:
        """How many files it has open, most of which are connections."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def serves(self, door: str) -> bool:
        """Whether somebody who may is served there."""
        if door.startswith("api"):
            return self._ask(door) == 200
        call = self._join() if door == "join" else self._stream(door)
        return asyncio.run(asyncio.wait_for(call, _ALLOWED))

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.root)

    def credentials(self, door: str) -> Any:
        """What a gRPC client shows at a door; None: it speaks plain text."""
        if door == "xds":
            return None
        return credentials(self.root, self.pair if door == "xds-tls" else None)

    def _ask(self, door: str) -> int:
        host, port = self.place(door)
        connection = (
            http.client.HTTPConnection(host, port, timeout=_ALLOWED)
            if door == "api"
            else http.client.HTTPSConnection(host, port, timeout=_ALLOWED, context=self.context())
        )
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            connection.request("GET", "/api/v1/services", headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    async def _join(self) -> bool:
        key = self.credentials("join")
        async with grpc.aio.secure_channel(self.addresses["join"], key) as channel:
            answer: bytes = await channel.unary_unary(JOIN)(b"hello")
        return answer == b"hello"

    async def _stream(self, door: str) -> bool:
        key = self.credentials(door)
        mine = node(NAMESPACE="demo")
        async with connected(self.addresses[door], node=mine, credentials=key) as client:
            await client.subscribe(CLUSTER)
            await client.has(CLUSTER, "outbound|9080||reviews.demo.svc.cluster.local")
        return True


async def _main(directory: Path) -> None:
    allow_files()
    authority, clock = Authority(), WallClock()
    store, tokens = await Store.open(None, clock), Tokens(directory / "doors", clock)
    shown = Shown(authority, (), clock)
    lock = Lock(tokens, lambda: shown.pair)
    ads = Ads(store)
    handlers = {JOIN.rpartition("/")[2]: grpc.unary_unary_rpc_method_handler(_echo)}
    service = grpc.method_handlers_generic_handler(JOIN.split("/")[1], handlers)
    doors = (
        Door(addresses=("127.0.0.1:0",), is_for_members=True),
        Door(addresses=("127.0.0.1:0",), is_for_members=False, services=(service,)),
    )
    backend = Backend(store=store, pages=NoPages())
    opened: dict[str, str] = {}
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(store.run()),
            group.create_task(ads.serve(("127.0.0.1:0",), doors=doors, shown=shown)),
        ]
        for name, has in (("api", None), ("api-tls", lock)):
            ready = asyncio.Event()

            def tell(found: tuple[str, ...], name: str = name, ready: Any = ready) -> None:
                opened[name] = found[0]
                ready.set()

            serving = app.serve(backend, ["127.0.0.1:0"], lock=has, ready=tell)
            tasks.append(group.create_task(serving))
            await ready.wait()
        await ads.started.wait()
        opened |= dict(zip(("xds", "xds-tls", "join"), ads.addresses, strict=True))
        changes = mesh.changes(mesh.service("reviews", "http:9080", ip="10.96.0.1"))
        await store.commit([Write(key=change.key, change=change) for change in changes])
        pair = authority.client(spiffe("demo"))
        about = {
            "addresses": opened,
            "root": authority.root(),
            "token": tokens.issue(User(name="vera", role=Role.VIEWER), 3600)[0],
            "chain": pair.chain,
            "key": pair.key,
        }
        fresh = directory / "doors.new"
        fresh.write_text(json.dumps(about))
        fresh.rename(directory / "doors.json")
        await stopping.wait()
        for task in tasks:
            task.cancel()
    await store.close()


async def _echo(data: bytes, context: Any) -> bytes:
    del context
    return data


if __name__ == "__main__":
    import uvloop

    processes.share_memory()
    uvloop.run(_main(Path(sys.argv[1])))
