"""A discovery service that gives identities, in the test's own loop, and who asks it for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
from msgspec import structs

from plait.base.clock import WallClock
from plait.config.meta import Key
from plait.config.store import Store
from plait.serve.ca.connected import proxies
from plait.serve.ca.run import CertificateAuthority, Options
from plait.xds import certificates
from tests.support.issuing import csr
from tests.support.served import Plane

NOTHING: Mapping[str, str] = MappingProxyType({})
DEMO = "spiffe://cluster.local/ns/demo/sa"


class Office:
    """A control plane at TCP and at Unix sockets, one of which only our own user can reach."""

    def __init__(self, store: Store, home: Path, options: Options) -> None:
        self.plane = Plane(store)
        self.store = store
        self.elsewhere: set[Key] = set()  # Pods that run on another machine
        ads = self.plane.ads
        self.ca = CertificateAuthority(options, store, self._runs_here, proxies(store, ads))
        self.open = f"unix:{home / 'xds.sock'}"
        self.private = f"unix:{home / 'agent' / 'xds.sock'}"
        self.ads = ads

    @property
    def tcp(self) -> str:
        return self.ads.addresses[0]

    async def serve(self) -> None:
        addresses = ("127.0.0.1:0", self.open, self.private)
        await self.ads.serve(addresses, lambda private: (self.ca.service(trusts=private),))

    async def until(self, holds: Callable[[], Any], what: str) -> None:
        try:
            async with asyncio.timeout(20):
                while not holds():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{what} did not happen: {self.ca.waits()}") from None

    def _runs_here(self, key: Key) -> bool:
        return key not in self.elsewhere


@asynccontextmanager
async def certifying(home: Path, **choices: Any) -> AsyncIterator[Office]:
    """An office whose data is in `home`; it goes on where an earlier one ended."""
    home.chmod(0o755)  # noqa: ASYNC240 - of a test
    (home / "agent").mkdir(mode=0o700, exist_ok=True)
    store = await Store.open(home / "data", WallClock())
    options = structs.replace(Options(directory=home / "ca"), **choices)
    office = Office(store, home, options)
    await office.ca.open()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(store.run()),
                group.create_task(office.ca.run()),
                group.create_task(office.serve()),
            ]
            await office.ads.started.wait()
            await office.ca.told.wait()
            try:
                yield office
            finally:
                for task in tasks:
                    task.cancel()
    finally:
        await store.close()


async def asked(
    address: str,
    said: Mapping[str, str] = NOTHING,
    *,
    text: str | None = None,
    token: str = "",
    seconds: int = 0,
) -> tuple[str, ...]:
    """The chain that an office gives; `said` is the metadata of the request.

    Raises:
        AioRpcError: it gives none.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        body = certificates.request(csr() if text is None else text, seconds, said)
        return await called(channel, body, token)


async def called(channel: Any, body: bytes, token: str = "") -> tuple[str, ...]:
    """The same, over a channel."""
    metadata = ((certificates.CREDENTIAL, f"Bearer {token}"),) if token else ()
    call: Any = channel.unary_unary(certificates.METHOD)
    return certificates.read_response(await call(body, metadata=metadata, timeout=10))


async def refused(answer: Awaitable[Any]) -> tuple[str, str]:
    """Code and words with which a request is refused."""
    try:
        found = await answer
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    raise AssertionError(f"was given {found}")


def pod(name: str = "web", account: str = "", phase: str = "Running", **metadata: Any) -> Any:
    """A Pod of namespace ``demo`` with a sidecar."""
    spec: dict[str, Any] = {"containers": [{"name": "app", "image": "app"}]}
    if account:
        spec["serviceAccountName"] = account
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "demo", **metadata},
        "spec": spec,
        "status": {"phase": phase},
    }


def played(story: Callable[[], Awaitable[None]]) -> None:
    """Run a story to its end, which comes."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(bounded())
