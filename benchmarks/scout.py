"""One client that keeps what it is sent: whole responses, and the names and versions in them.

What it learns is shared by the thousand clients of `loadgen` and the bare server of `bare`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Self

import grpc
import msgspec
from msgspec import Struct

from benchmarks.http2 import PATH
from plait.xds import protos
from plait.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET

ORDER = (CLUSTER, ENDPOINTS, LISTENER, ROUTES)
MARKER = SECRET
"""A type in which one name that does not exist is asked for, to see that all before was read."""


class Known(Struct, frozen=True, kw_only=True):
    """What a proxy asks for, and what it holds.

    Attributes:
        names: asked for by name, by type; none: the wildcard.
        versions: versions by name, by type.
        responses: the first response of each type, by type.
    """

    names: dict[str, tuple[str, ...]]
    versions: dict[str, dict[str, str]]
    responses: dict[str, bytes]

    def save(self, path: Path) -> None:
        """Write it to a file."""
        path.write_bytes(msgspec.msgpack.encode(self))

    @classmethod
    def load(cls, path: Path) -> Known:
        """Read what `save` wrote."""
        return msgspec.msgpack.decode(path.read_bytes(), type=cls)


def node(number: int, namespace: str = "bench") -> Any:
    """The node of client `number`."""
    address = f"10.200.{number >> 8 & 255}.{number & 255}"
    found = protos.Node(id=f"sidecar~{address}~client-{number}.{namespace}~{namespace}.svc")
    found.metadata.fields["NAMESPACE"].string_value = namespace
    found.metadata.fields["INSTANCE_IPS"].string_value = address
    return found


def request(type_url: str, names: tuple[str, ...] = (), **fields: Any) -> bytes:
    """A DeltaDiscoveryRequest as bytes; `names` are subscribed."""
    message = protos.DeltaDiscoveryRequest(
        type_url=type_url, resource_names_subscribe=names, **fields
    )
    body: bytes = message.SerializeToString()
    return body


class Scout:
    """A connected client; it acknowledges everything."""

    def __init__(self, address: str) -> None:
        options = (("grpc.max_receive_message_length", -1),)
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._call: Any = self._channel.stream_stream(PATH)()
        self.known = Known(names={}, versions={}, responses={})

    @classmethod
    async def start(cls, address: str) -> Self:
        """Connect and take the first configuration."""
        self = cls(address)
        who = node(65_000)
        names: dict[str, tuple[str, ...]] = {}
        for type_url in ORDER:
            wanted = names.get(type_url, ())
            await self._call.write(request(type_url, wanted, node=who))
            who = None
            data = await self.take()
            answer = protos.DeltaDiscoveryResponse.FromString(data)
            held = {one.name: one.version for one in answer.resources}
            self.known.responses[type_url] = data
            self.known.versions[type_url] = held
            self.known.names[type_url] = wanted
            bodies = [one.resource.value for one in answer.resources]
            if type_url == CLUSTER:
                clusters = [protos.Cluster.FromString(body) for body in bodies]
                names[ENDPOINTS] = tuple(c.name for c in clusters if c.type == protos.Cluster.EDS)
            elif type_url == LISTENER:
                tables = {name for body in bodies for name in _tables(body)}
                names[ROUTES] = tuple(sorted(tables))
        return self

    async def take(self) -> bytes:
        """The next response, acknowledged."""
        async with asyncio.timeout(60):
            data: bytes = await self._call.read()
        answer = protos.DeltaDiscoveryResponse.FromString(data)
        await self._call.write(request(answer.type_url, response_nonce=answer.nonce))
        return data

    async def stop(self) -> None:
        """Disconnect."""
        self._call.cancel()
        await self._channel.close()


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
