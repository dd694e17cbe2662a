"""Many proxies from one process: each subscribes to everything an Envoy does and acknowledges it.

It runs as a process of its own, ``python -m benchmarks.loadgen ADDRESS COUNT KNOWN``, is told
what to do by lines on standard input and answers with lines of JSON.  With a directory of `papers`
as a fourth argument connections are encrypted, and each client shows its certificate.

``connect``: all clients connect at once; answers when all have their first full configuration.
``expect TYPE``: answers at once, and again when every client had one more response of that type.
``reconnect``: answers when the server was gone and is there again, and again when all clients
are back, with the versions they hold, and the server has read all they said.
``join ADDRESS``: all connect there and get a certificate for their tokens.
``renew``: all connect anew and get a certificate for the one that they show.
``tally``: bytes and messages by type since the last tally.

Times are `time.monotonic`, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import uvloop

from benchmarks.http2 import GrpcStream, opening
from benchmarks.papers import NAME, Papers
from benchmarks.scout import MARKER, ORDER, Known, node, request
from plait.xds import certificates, protos
from plait.xds.resource import PREFIX, ROUTES

_AT_ONCE = 50  # connections opened between two looks at what arrived
_ORDERS = 64  # in which clients name what they hold
_RETRY = 0.02  # seconds between two attempts to reach a server that is gone
_PATIENCE = 180.0  # seconds until a benchmark is given up


class Fleet:
    """The clients of one process.

    Attributes:
        size: bytes received by type.
        messages: responses received by type.
    """

    def __init__(
        self, address: str, count: int, known: Known, papers: Papers | None = None
    ) -> None:
        self.size: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.clients: list[GrpcStream] = []
        host, _, port = address.rpartition(":")
        self._where = (host, int(port))
        self._count = count
        self._asks = {url: request(url, tuple(sorted(known.names[url]))) for url in ORDER}
        self._resumes = [tuple(_resume(url, known) for url in ORDER) for _ in range(_ORDERS)]
        self._next = dict(pairwise(ORDER))
        self._asked: set[tuple[GrpcStream, str]] = set()
        self._goal = ("", 0)
        self._reached = asyncio.Event()
        self._gone = asyncio.Event()
        self._papers = papers
        self._context = papers.context(member=True) if papers else None

    async def connect(self) -> dict[str, Any]:
        """Connect all; returns when all have everything."""
        started = time.monotonic()
        arrived = self._await(ROUTES)

        async def begin(number: int) -> None:
            client = await self._open()
            client.send(request(ORDER[0], node=node(number)))

        await self._each(begin)
        await arrived.wait()
        return {"started": started, "last": time.monotonic()}

    async def lost(self) -> dict[str, Any]:
        """Wait until all connections are lost and a server listens again."""
        while any(client.ended is None for client in self.clients):
            self._gone.clear()
            await self._gone.wait()
        self.clients.clear()
        self._asked.clear()
        while True:
            try:
                _, writer = await asyncio.open_connection(*self._where)
            except OSError:
                await asyncio.sleep(_RETRY)
            else:
                writer.close()
                return {"open": time.monotonic()}

    async def reconnect(self) -> dict[str, Any]:
        """Connect all with what they hold; returns when the server has read it all."""
        arrived = self._await(MARKER)
        marker = request(MARKER, ("no-such-secret",))
        for number in range(self._count):
            client = await self._open()
            self._asked |= {(client, url) for url in ORDER}
            who = request("", node=node(number))  # joined, they are one message
            for resume in self._resumes[number % _ORDERS]:
                client.send(who + resume)
                who = b""
            client.send(marker)
        await arrived.wait()
        return {"last": time.monotonic()}

    async def next(self, type_url: str) -> dict[str, Any]:
        """Wait until every client has one more response of a type."""
        await self._await(type_url).wait()
        return {"last": time.monotonic()}

    def tally(self) -> dict[str, Any]:
        """What was received since the last tally."""
        ended = [client.ended for client in self.clients if client.ended]
        if ended:
            raise SystemExit(f"{len(ended)} streams ended: {ended[0]}")
        found = {"bytes": dict(self.size), "messages": dict(self.messages)}
        self.size.clear()
        self.messages.clear()
        return found

    async def join(self, address: str) -> dict[str, Any]:
        """Get a certificate for each token at another address."""
        assert self._papers is not None
        tokens = self._papers.tokens.read_text().splitlines()
        host, _, port = address.rpartition(":")
        begins = [
            opening(certificates.METHOD, ((certificates.CREDENTIAL, f"Bearer {token}"),))
            for token in tokens[: self._count]
        ]
        return await self._certify((host, int(port)), self._papers.context(member=False), begins)

    async def renew(self) -> dict[str, Any]:
        """Get a certificate for what is shown."""
        assert self._context is not None
        begins = [opening(certificates.METHOD)] * self._count
        return await self._certify(self._where, self._context, begins)

    async def _certify(
        self, where: tuple[str, int], context: ssl.SSLContext, begins: Sequence[bytes]
    ) -> dict[str, Any]:
        assert self._papers is not None
        csr, loop, done = self._papers.csr.read_text(), asyncio.get_running_loop(), asyncio.Event()
        asked = [
            certificates.request(csr, 0, {certificates.PROXY: node(number).id})
            for number in range(self._count)
        ]
        answers: list[bytes] = []
        clients: list[GrpcStream] = []

        def took(_: GrpcStream, __: int, answer: bytes) -> None:
            answers.append(answer)
            if len(answers) == self._count:
                done.set()

        async def begin(number: int) -> None:
            made = partial(GrpcStream, took, _ignored, begins[number])
            _, client = await loop.create_connection(
                made, *where, ssl=context, server_hostname=NAME
            )
            clients.append(client)
            client.send(asked[number])
            client.finish()

        started = time.monotonic()
        await self._each(begin)
        await done.wait()
        last = time.monotonic()
        for client in clients:
            client.close()
        if not all(certificates.read_response(answer) for answer in answers):
            raise SystemExit("an answer has no certificate")
        return {"started": started, "last": last}

    async def _each(self, begin: Callable[[int], Awaitable[None]]) -> None:
        """Begin for each client: one after the other, or many at once where hands are shaken."""
        places = asyncio.Semaphore(_AT_ONCE if self._context else 1)

        async def one(number: int) -> None:
            async with places:
                await begin(number)

        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(one(number))

    async def _open(self) -> GrpcStream:
        loop = asyncio.get_running_loop()
        name = NAME if self._context else None
        _, client = await loop.create_connection(
            self._client, *self._where, ssl=self._context, server_hostname=name
        )
        self.clients.append(client)
        if not len(self.clients) % _AT_ONCE:
            await asyncio.sleep(0)
        return client

    def _client(self) -> GrpcStream:
        return GrpcStream(self._took, self._gone.set)

    def _await(self, type_url: str) -> asyncio.Event:
        self._goal = (type_url, self.messages[type_url] + self._count)
        self._reached = asyncio.Event()
        return self._reached

    def _took(self, client: GrpcStream, size: int, tail: bytes) -> None:
        type_url, nonce = _read(tail)
        self.size[type_url] += size
        self.messages[type_url] += 1
        client.send(request(type_url, response_nonce=nonce))
        following = self._next.get(type_url)
        if following is not None and (client, following) not in self._asked:
            self._asked.add((client, following))
            client.send(self._asks[following])
        if self.messages[self._goal[0]] >= self._goal[1]:
            self._reached.set()


class Loadgen:
    """A fleet in a process of its own, for benchmarks that also hold the server."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls, address: str, count: int, known: Path, papers: Papers | None = None
    ) -> Self:
        """Start a process for `count` clients."""
        words = (address, str(count), str(known), *((str(papers.directory),) if papers else ()))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.loadgen", *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self = cls(process)
        await self.answer()  # it is ready
        return self

    async def ask(self, line: str) -> dict[str, Any]:
        """Tell it what to do; its first answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """Its next answer."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_PATIENCE):
            line = await self._process.stdout.readline()
        if not line:
            raise SystemExit("the load generator ended")
        found: dict[str, Any] = json.loads(line)
        return found

    async def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def main(address: str, count: int, known: Path, papers: Papers | None) -> None:
    """Run a fleet, told what to do on standard input."""
    fleet = Fleet(address, count, Known.load(known), papers)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say({"ready": True})
    while line := await reader.readline():
        async with asyncio.timeout(_PATIENCE):
            await _obey(fleet, line.decode().split())


async def _obey(fleet: Fleet, words: list[str]) -> None:
    match words:
        case ["connect"]:
            _say(await fleet.connect())
        case ["reconnect"]:
            _say(await fleet.lost())
            _say(await fleet.reconnect())
        case ["expect", type_url]:
            async with asyncio.TaskGroup() as group:
                last = group.create_task(fleet.next(type_url))
                await asyncio.sleep(0)
                _say({"expecting": type_url})
            _say(last.result())
        case ["join", address]:
            _say(await fleet.join(address))
        case ["renew"]:
            _say(await fleet.renew())
        case ["tally"]:
            _say(fleet.tally())
        case _:
            raise SystemExit(f"cannot do {words}")


def _say(fields: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _ignored() -> None:
    """A connection that has done its work may end."""


def _resume(type_url: str, known: Known) -> bytes:
    """What a client says first of a type after it was connected before.

    Envoy names what it subscribes to in order, and what it holds in no order.
    """
    asked = request(type_url, tuple(sorted(known.names[type_url])))
    entries = [
        request("", initial_resource_versions={name: version})
        for name, version in known.versions[type_url].items()
    ]
    random.shuffle(entries)
    return b"".join((asked, *entries))


def _read(tail: bytes) -> tuple[str, str]:
    """Type and nonce, from the end of a response: nothing long stands behind the type."""
    urls = (*ORDER, MARKER)
    place = max(tail.rfind(b'"' + bytes((len(url),)) + url.encode()) for url in urls)
    rest = protos.DeltaDiscoveryResponse.FromString(tail[place:])
    if not rest.type_url.startswith(PREFIX):
        raise SystemExit("a response without type")
    return rest.type_url, rest.nonce


if __name__ == "__main__":
    found = Papers(Path(sys.argv[4])) if len(sys.argv) > 4 else None
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), found))
