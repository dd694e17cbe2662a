"""A small but real xDS client over gRPC, delta and state of the world, that counts what it gets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc

from plait.xds import protos
from plait.xds.resource import PREFIX

SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"


def node(
    identity: str = "sidecar~10.0.0.1~client-1.demo~demo.svc.cluster.local",
    *,
    labels: Mapping[str, str] | None = None,
    **metadata: str,
) -> Any:
    """A Node as Istio's agents write it."""
    message = protos.Node(id=identity)
    fields = message.metadata.fields
    for key, value in metadata.items():
        fields[key].string_value = value
    for key, value in (labels or {}).items():
        fields["LABELS"].struct_value.fields[key].string_value = value
    return message


class Client:
    """One stream.  What arrives is kept by type and name, and acknowledged.

    Attributes:
        versions: by type, by name, what the client holds.
        resources: likewise, the serialised resources.
        responses: every response, in order.
        messages: number of responses by type; `size`: bytes by type.
        judge: gives the reason for which a response is refused; None: it is taken.
        ended: set when the server ended the stream; `error`: why, if it was not in peace.
    """

    def __init__(self, call: Any, *, delta: bool, node: Any) -> None:
        self.versions: dict[str, dict[str, str]] = {}
        self.resources: dict[str, dict[str, bytes]] = {}
        self.responses: list[Any] = []
        self.messages: Counter[str] = Counter()
        self.size: Counter[str] = Counter()
        self.judge: Callable[[Any], str | None] = lambda _: None
        self.silent = False  # acknowledge nothing
        self.ended = asyncio.Event()
        self.error: grpc.aio.AioRpcError | None = None
        self._call = call
        self._delta = delta
        self._node: Any = node
        self._names: dict[str, set[str]] = {}
        self._news = asyncio.Event()
        self._turn = asyncio.Lock()

    async def subscribe(
        self, type_url: str, *names: str, initial: Mapping[str, str] | None = None
    ) -> None:
        """Ask for names; none: the wildcard."""
        held = self._names.setdefault(type_url, set())
        held.update(names)
        if self._delta:
            request = protos.DeltaDiscoveryRequest(
                resource_names_subscribe=names, initial_resource_versions=initial or {}
            )
        else:
            request = protos.DiscoveryRequest(resource_names=sorted(held))
        await self.request(request, type_url)

    async def unsubscribe(self, type_url: str, *names: str) -> None:
        """Ask for these names no longer."""
        held = self._names.setdefault(type_url, set())
        held.difference_update(names)
        if self._delta:
            request = protos.DeltaDiscoveryRequest(resource_names_unsubscribe=names)
        else:
            request = protos.DiscoveryRequest(resource_names=sorted(held))
        await self.request(request, type_url)

    async def request(self, request: Any, type_url: str) -> None:
        """Write a request, with the node if it is the first."""
        request.type_url = type_url
        if self._node is not None:
            request.node.CopyFrom(self._node)
            self._node = None
        async with self._turn:  # grpc takes one message at a time
            await self._call.write(request.SerializeToString())

    async def until(self, holds: Callable[[], object], what: str = "what is awaited") -> None:
        """Wait until something holds, looked at after each response."""
        try:
            async with asyncio.timeout(10):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what} did not happen; got {self.log()}") from None

    async def has(self, type_url: str, *names: str) -> None:
        """Wait until these resources are held."""
        await self.until(lambda: set(names) <= self.versions.get(type_url, {}).keys(), str(names))

    def log(self) -> list[tuple[str, list[str], list[str]]]:
        """Every response as last part of the type, names, removed names."""
        return [
            (
                response.type_url.rpartition(".")[2],
                sorted(self._listed(response)),
                sorted(getattr(response, "removed_resources", ())),
            )
            for response in self.responses
        ]

    async def read(self) -> None:
        """Take responses until the stream ends."""
        try:
            await self._read()
        except grpc.aio.AioRpcError as error:
            self.error = error
        self.ended.set()

    async def _read(self) -> None:
        cls = protos.DeltaDiscoveryResponse if self._delta else protos.DiscoveryResponse
        while (data := await self._call.read()) is not grpc.aio.EOF:
            response = cls.FromString(data)
            self.messages[response.type_url] += 1
            self.size[response.type_url] += len(data)
            self.responses.append(response)
            error = self.judge(response)
            if error is None:
                self._take(response)
            self._news.set()
            if not self.silent:
                await self._answer(response, error)

    def _take(self, response: Any) -> None:
        versions = self.versions.setdefault(response.type_url, {})
        resources = self.resources.setdefault(response.type_url, {})
        for name, (version, body) in self._listed(response).items():
            versions[name] = version
            resources[name] = body
        for name in getattr(response, "removed_resources", ()):
            versions.pop(name, None)
            resources.pop(name, None)

    def _listed(self, response: Any) -> dict[str, tuple[str, bytes]]:
        if self._delta:
            return {r.name: (r.version, r.resource.value) for r in response.resources}
        return {_name(r): (response.version_info, r.value) for r in response.resources}

    async def acknowledge(self, response: Any) -> None:
        """Accept a response that was not answered."""
        await self._answer(response, None)

    async def _answer(self, response: Any, error: str | None) -> None:
        if self._delta:
            request = protos.DeltaDiscoveryRequest(response_nonce=response.nonce)
        else:
            names = sorted(self._names.get(response.type_url, ()))
            request = protos.DiscoveryRequest(response_nonce=response.nonce, resource_names=names)
            request.version_info = response.version_info
        if error is not None:
            request.error_detail.code = 13
            request.error_detail.message = error
        await self.request(request, response.type_url)


@asynccontextmanager
async def connected(
    address: str,
    *,
    delta: bool = True,
    node: Any = None,
    silent: bool = False,
    credentials: Any = None,
) -> AsyncIterator[Client]:
    """A client of the control plane at `address`, with TLS if there are `credentials`."""
    method = "DeltaAggregatedResources" if delta else "StreamAggregatedResources"
    options = (("grpc.max_receive_message_length", -1),)
    opened = (
        grpc.aio.insecure_channel(address, options=options)
        if credentials is None
        else grpc.aio.secure_channel(address, credentials, options=options)
    )
    async with (
        opened as channel,
        asyncio.TaskGroup() as group,
    ):
        client = Client(channel.stream_stream(SERVICE + method)(), delta=delta, node=node)
        client.silent = silent
        reader = group.create_task(client.read())
        try:
            yield client
        finally:
            reader.cancel()


def short(types: Iterable[str]) -> list[str]:
    """Last parts of type URLs."""
    return [one.removeprefix(PREFIX).rpartition(".")[2] for one in types]


def _name(resource: Any) -> str:
    """Name of a resource in an Any."""
    classes = {
        "Cluster": protos.Cluster,
        "Listener": protos.Listener,
        "RouteConfiguration": protos.RouteConfiguration,
        "Secret": protos.Secret,
    }
    kind = resource.type_url.rpartition(".")[2]
    if kind == "ClusterLoadAssignment":
        return str(protos.ClusterLoadAssignment.FromString(resource.value).cluster_name)
    return str(classes[kind].FromString(resource.value).name)
