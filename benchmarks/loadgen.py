"""Many proxies from one process: each subscribes to everything an Envoy does and acknowledges it.

It runs as a process of its own, ``python -m benchmarks.loadgen ADDRESS COUNT``: it prints one
JSON line when all have their first full configuration, and then one for each line ``expect TYPE``
that it reads, when every client has been sent one more response of that type.  Times are
`time.monotonic`, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from itertools import pairwise
from typing import Any, Self

import grpc
import uvloop
from msgspec import Struct

from benchmarks.http2 import PATH, GrpcStream
from plait.xds import protos
from plait.xds.resource import CLUSTER, ENDPOINTS, LISTENER, PREFIX, ROUTES

ORDER = (CLUSTER, ENDPOINTS, LISTENER, ROUTES)
_AT_ONCE = 200  # connections being opened


class Names(Struct, frozen=True, kw_only=True):
    """What a proxy asks for by name."""

    endpoints: tuple[str, ...]
    routes: tuple[str, ...]

    def of(self, type_url: str) -> tuple[str, ...]:
        """Names asked for in a type; none: the wildcard."""
        return {ENDPOINTS: self.endpoints, ROUTES: self.routes}.get(type_url, ())


def node(number: int, namespace: str = "bench") -> Any:
    """The node of client `number`."""
    address = f"10.200.{number >> 8 & 255}.{number & 255}"
    found = protos.Node(id=f"sidecar~{address}~client-{number}.{namespace}~{namespace}.svc")
    found.metadata.fields["NAMESPACE"].string_value = namespace
    found.metadata.fields["INSTANCE_IPS"].string_value = address
    return found


async def scout(address: str) -> Names:
    """Ask once as a full client, to know the names that clusters and listeners lead to."""
    options = (("grpc.max_receive_message_length", -1),)
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        call: Any = channel.stream_stream(PATH)()
        await call.write(_request(CLUSTER, who=node(65_000)))
        clusters = protos.DeltaDiscoveryResponse.FromString(await call.read())
        await call.write(_request(CLUSTER, nonce=clusters.nonce))
        found = (protos.Cluster.FromString(one.resource.value) for one in clusters.resources)
        endpoints = tuple(c.name for c in found if c.type == protos.Cluster.EDS)
        await call.write(_request(ENDPOINTS, endpoints))
        answer = protos.DeltaDiscoveryResponse.FromString(await call.read())
        await call.write(_request(ENDPOINTS, nonce=answer.nonce))
        await call.write(_request(LISTENER))
        listeners = protos.DeltaDiscoveryResponse.FromString(await call.read())
        call.cancel()
    routes = {name for one in listeners.resources for name in _tables(one.resource.value)}
    return Names(endpoints=endpoints, routes=tuple(sorted(routes)))


class Fleet:
    """The clients of one process.

    Attributes:
        size: bytes received by type.
        messages: responses received by type.
    """

    def __init__(self, names: Names) -> None:
        self.size: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.clients: list[GrpcStream] = []
        self._asks = {url: _request(url, names.of(url)) for url in ORDER}
        self._next = dict(pairwise(ORDER))
        self._asked: set[tuple[int, str]] = set()
        self._goal: tuple[str, int] | None = None
        self._reached = asyncio.Event()

    async def connect(self, address: str, count: int) -> float:
        """Connect `count` clients; returns when all have everything, in seconds."""
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        arrived = self._await(ROUTES, count)
        for start in range(0, count, _AT_ONCE):
            for number in range(start, min(start + _AT_ONCE, count)):
                _, client = await loop.create_connection(self._client, host, int(port))
                client.send(_request(CLUSTER, who=node(number)))
                self.clients.append(client)
            await asyncio.sleep(0)
        await arrived.wait()
        return time.monotonic() - started

    async def next(self, type_url: str) -> float:
        """Wait until every client has one more response of a type; the time of the last."""
        await self._await(type_url, self.messages[type_url] + len(self.clients)).wait()
        return time.monotonic()

    def check(self) -> None:
        """Fail if the server ended a stream."""
        ended = [client.ended for client in self.clients if client.ended]
        if ended:
            raise SystemExit(f"{len(ended)} streams ended: {ended[0]}")

    def _client(self) -> GrpcStream:
        return GrpcStream(self._took)

    def _await(self, type_url: str, messages: int) -> asyncio.Event:
        self._goal, self._reached = (type_url, messages), asyncio.Event()
        return self._reached

    def _took(self, client: GrpcStream, size: int, tail: bytes) -> None:
        type_url, nonce = _read(tail)
        self.size[type_url] += size
        self.messages[type_url] += 1
        client.send(_request(type_url, nonce=nonce))
        following = self._next.get(type_url)
        if following is not None and (id(client), following) not in self._asked:
            self._asked.add((id(client), following))
            client.send(self._asks[following])
        if self._goal is not None and self.messages[self._goal[0]] >= self._goal[1]:
            self._reached.set()


class Loadgen:
    """A fleet in a process of its own, for benchmarks that also hold the server."""

    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, Any]) -> None:
        self._process = process
        self.ready = ready

    @classmethod
    async def start(cls, address: str, count: int) -> Self:
        """Start `count` clients; `ready` tells the seconds to the first full configuration of
        all, and bytes by type.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.loadgen", address, str(count)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(process, await _line(process))

    async def expect(self, type_url: str) -> None:
        """Get ready to see one more response of a type at every client."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"expect {type_url}\n".encode())
        await _line(self._process)

    async def arrival(self) -> float:
        """When the last client had what was expected, on the clock of `time.monotonic`."""
        return float((await _line(self._process))["last"])

    async def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def main(address: str, count: int) -> None:
    """Run a fleet, told what to wait for on standard input."""
    names = await scout(address)
    fleet = Fleet(names)
    seconds = await fleet.connect(address, count)
    fleet.check()
    _say(seconds=seconds, bytes=dict(fleet.size), messages=dict(fleet.messages), names=names)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        type_url = line.decode().split()[1]
        before = fleet.size.copy()
        async with asyncio.TaskGroup() as group:
            last = group.create_task(fleet.next(type_url))
            await asyncio.sleep(0)
            _say(expecting=type_url)
        fleet.check()
        _say(last=last.result(), bytes=dict(fleet.size - before))


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise SystemExit("the load generator ended")
    found: dict[str, Any] = json.loads(line)
    return found


def _say(**fields: Any) -> None:
    if isinstance(names := fields.get("names"), Names):
        fields["names"] = {"endpoints": len(names.endpoints), "routes": list(names.routes)}
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _request(
    type_url: str, names: tuple[str, ...] = (), *, nonce: str = "", who: Any = None
) -> bytes:
    request = protos.DeltaDiscoveryRequest(
        type_url=type_url, resource_names_subscribe=names, response_nonce=nonce, node=who
    )
    body: bytes = request.SerializeToString()
    return body


def _read(tail: bytes) -> tuple[str, str]:
    """Type and nonce, from the end of a response: nothing long stands behind the type."""
    place = max(tail.rfind(b'"' + bytes((len(url),)) + url.encode()) for url in ORDER)
    rest = protos.DeltaDiscoveryResponse.FromString(tail[place:])
    if not rest.type_url.startswith(PREFIX):
        raise SystemExit("a response without type")
    return rest.type_url, rest.nonce


def _tables(body: bytes) -> set[str]:
    """Names of the route tables that a listener asks for."""
    listener = protos.Listener.FromString(body)
    found = set()
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        for one in chain.filters:
            manager = protos.HttpConnectionManager()
            if one.typed_config.Is(manager.DESCRIPTOR):
                one.typed_config.Unpack(manager)
                found.add(manager.rds.route_config_name)
    return found - {""}


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
