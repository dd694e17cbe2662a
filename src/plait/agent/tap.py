"""What one relayed stream tells about its proxy: messages go by, and what is accepted is kept.

Messages pass as they are, with one exception.  A proxy that comes back names the versions it
holds, and is sent nothing that is unchanged; what the cache lacks of it would never come by.  So
those versions are made unknown to the control plane, by an entry behind the proxy's own: of two
entries of a protobuf map with the same key, the last is in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from plait.agent.cache import Cache, resource
from plait.xds import dns_table, protos
from plait.xds.resource import CLUSTER, HOSTS, LISTENER, Resource
from plait.xds.wire import Request, read_delta

OnHosts = Callable[[Mapping[str, tuple[str, ...]]], None]
"""Told the meaning of all names, in the form of `xds.dns_table.Records`."""

_WILDCARDS: Final = (CLUSTER, LISTENER)  # types whose first answer is all there is
_UNKNOWN: Final = "?"  # no resource's version


class _Answer(Struct, frozen=True, kw_only=True):
    """What a response says.

    Attributes:
        whole: there is nothing else of this type.
    """

    type_url: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    whole: bool


class Hosts:
    """The names of the mesh as one proxy sees them; told anew whenever they change."""

    def __init__(self, cache: Cache, on_hosts: OnHosts) -> None:
        self._tables: dict[str, dns_table.Records] = {}
        self._on_hosts = on_hosts
        held = cache.known(HOSTS)
        if held is not None:
            self.take(held.values(), ())

    def take(self, resources: Iterable[Resource], removed: Iterable[str]) -> None:
        """Change these hosts."""
        for one in resources:
            self._tables[one.name] = dns_table.decode(one.body)
        for name in removed:
            self._tables.pop(name, None)
        tables = (self._tables[name] for name in sorted(self._tables))
        self._on_hosts({name: found for table in tables for name, found in table.items()})


class Tap:
    """One relayed stream."""

    def __init__(self, cache: Cache, hosts: Hosts) -> None:
        self._cache = cache
        self._hosts = hosts
        self._opened: set[str] = set()
        self._whole: set[str] = set()  # types whose next answer is all there is
        self._pending: dict[tuple[str, str], _Answer] = {}  # by type and nonce

    def requested(self, data: bytes) -> bytes:
        """What to say to the control plane when the proxy says this.

        Raises:
            Malformed: it cannot be read.
        """
        request = read_delta(data, first=not self._opened)
        url = request.type_url
        answer = self._pending.pop((url, request.nonce), None)
        if answer is not None and request.error is None:
            self._accept(answer)
        if url not in self._opened:
            self._opened.add(url)
            return data + self._returned(request)
        if request.unsubscribed and url not in _WILDCARDS:
            self._cache.forget(url, request.unsubscribed)
        return data

    def question(self) -> bytes:
        """The agent's own request for the names of the mesh; it follows the proxy's first one."""
        held = self._cache.known(HOSTS) or {}
        if not held:
            self._whole.add(HOSTS)
        return _request(
            type_url=HOSTS,
            resource_names_subscribe=("*",),
            initial_resource_versions={name: one.version for name, one in held.items()},
        )

    def answered(self, data: bytes) -> bytes | None:
        """Look at a response; what to reply to it here.  None: it is for the proxy."""
        message = protos.DeltaDiscoveryResponse.FromString(data)
        url = str(message.type_url)
        answer = _Answer(
            type_url=url,
            resources=tuple(
                resource(url, one.name, one.version, one.resource.value)
                for one in message.resources
            ),
            removed=tuple(message.removed_resources),
            whole=url in self._whole,
        )
        self._whole.discard(url)
        if url != HOSTS:
            self._pending[url, message.nonce] = answer
            return None
        self._hosts.take(answer.resources, answer.removed)
        self._accept(answer)
        return _request(type_url=url, response_nonce=message.nonce)

    def _returned(self, request: Request) -> bytes:
        """What to add to the first request of a type, which says what the proxy holds."""
        url, initial = request.type_url, request.initial
        if not initial:
            if url in _WILDCARDS:
                self._whole.add(url)
            return b""
        self._cache.keep(url, initial)
        held = self._cache.known(url) or {}
        lacking = {n for n, v in initial.items() if n not in held or held[n].version != v}
        return _request(initial_resource_versions=dict.fromkeys(lacking, _UNKNOWN))

    def _accept(self, answer: _Answer) -> None:
        if answer.whole:
            self._cache.keep(answer.type_url, {one.name for one in answer.resources})
        self._cache.accept(answer.type_url, answer.resources, answer.removed)


def _request(**fields: Any) -> bytes:
    return protos.encode(protos.DeltaDiscoveryRequest(**fields))
