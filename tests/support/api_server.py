"""The API of a control plane in the test's own loop, and what clients do with it."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import Struct

from plait.base.clock import WallClock
from plait.base.crowd import Limits
from plait.config.allocation import Allocation
from plait.config.meta import Key, Origin
from plait.config.ports import Batch, Change, Runtime
from plait.config.restore import Kinds
from plait.config.store import Store
from plait.controllers.run import Workloads
from plait.serve.api import app
from plait.serve.api.backend import Backend
from plait.serve.api.lock import Lock
from plait.serve.api.pages import NoPages, Pages

KUBECTL = Path(sys.executable).parent / "kubectl"
PATIENCE = 20.0


class Answer(Struct, frozen=True, kw_only=True):
    code: int
    text: str
    headers: Sequence[tuple[str, str]] = ()

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def warnings(self) -> list[str]:
        return [value for name, value in self.headers if name.lower() == "warning"]


class Ran(Struct, frozen=True, kw_only=True):
    code: int
    out: str
    err: str


class Api:
    """A server at `url`, for raw HTTP and for kubectl."""

    def __init__(
        self, store: Store, url: str, session: aiohttp.ClientSession, home: Path, pages: Pages
    ) -> None:
        self.store = store
        self.url = url
        self.session = session
        self.pages = pages
        self._home = home
        self.tls: ssl.SSLContext | None = None  # how the server is known
        self.environment = {
            "HOME": str(home),
            "KUBECONFIG": str(home / "kubeconfig"),
            "KUBECACHEDIR": str(home / "cache"),
            "PATH": "/usr/bin:/bin",
        }

    async def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        stream = io.BytesIO(data) if data is not None else None
        async with self.session.request(
            method, self.url + path, data=stream, headers=sent, ssl=self.tls or True
        ) as got:
            return Answer(
                code=got.status, text=await got.text(), headers=tuple(got.headers.items())
            )

    async def kubectl(self, *args: str, stdin: str = "") -> Ran:
        process = await self.kubectl_process(*args)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), PATIENCE)
        assert process.returncode is not None
        return Ran(code=process.returncode, out=out.decode(), err=err.decode())

    async def kubectl_process(self, *args: str) -> asyncio.subprocess.Process:
        config = self._home / "kubeconfig"
        await asyncio.to_thread(config.write_text, _kubeconfig(self.url))
        return await asyncio.create_subprocess_exec(
            str(KUBECTL),
            *args,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )


class Said:
    """A source that says what it is told to, at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._batches: asyncio.Queue[Batch] = asyncio.Queue()

    def say(self, *changes: Change, complete: bool = True) -> None:
        self._batches.put_nowait(Batch(changes=changes, complete=complete))

    async def watch(self) -> AsyncIterator[Batch]:
        while True:
            yield await self._batches.get()


@asynccontextmanager
async def api(
    home: Path,
    *,
    pages: Pages | None = None,
    sources: Sequence[Said] = (),
    runtime: Runtime | None = None,
    lock: Lock | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Api]:
    """A server with an empty store in memory, on a free port of loopback.

    With a `runtime` Deployments run on it; with a `lock` it wants TLS and tokens.
    """
    store = await Store.open(
        None, WallClock(), kinds=Kinds.known(Allocation()) if runtime else None
    )
    pages = pages or NoPages()
    opened: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
    failed: Exception | None = None
    async with asyncio.TaskGroup() as group, aiohttp.ClientSession() as session:
        tasks = [group.create_task(store.run())]
        tasks += [group.create_task(store.feed(source)) for source in sources]
        if runtime is not None:
            tasks.append(group.create_task(Workloads(store, runtime, node="here").run()))
        backend = Backend(store=store, pages=pages, runtime=runtime)
        serving = app.serve(
            backend, ["127.0.0.1:0"], lock=lock, ready=opened.set_result, limits=limits
        )
        tasks.append(group.create_task(serving))
        try:
            (address,) = await asyncio.wait_for(opened, PATIENCE)
            yield Api(store, f"{'https' if lock else 'http'}://{address}", session, home, pages)
        except Exception as error:  # noqa: BLE001 - raised again outside the group, as it was
            failed = error
        finally:
            for task in tasks:
                task.cancel()
    await store.close()
    if failed is not None:
        raise failed


def at(change: Change, source: str, locator: str) -> Change:
    """The change as another source says it."""
    return Change(
        key=change.key,
        origin=Origin(source=source, locator=locator),
        object=change.object,
        document=change.document,
        problems=change.problems,
    )


async def until(path: Any, what: str) -> None:
    """Wait until `path()` is true."""
    async with asyncio.timeout(PATIENCE):
        while not path():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.01)
    assert path(), what


def key(kind: str, namespace: str, name: str, group: str = "networking.istio.io") -> Key:
    return Key(group=group, kind=kind, namespace=namespace, name=name)


def _kubeconfig(url: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "plait",
            "contexts": [{"name": "plait", "context": {"cluster": "plait", "user": "plait"}}],
            "clusters": [{"name": "plait", "cluster": {"server": url}}],
            "users": [{"name": "plait", "user": {}}],
        }
    )
