"""What one relayed stream tells about its proxy: messages go by, and what is accepted is kept.

Messages pass as they are, with one exception.  A proxy that comes back names the versions it
holds, and is sent nothing that is unchanged; what the cache lacks of it would never come by.  So
those versions are made unknown to the control plane, by an entry behind the proxy's own: of two
entries of a protobuf map with the same key, the last is in force.

The agent asks for two things of its own on each stream: what names mean, and whom to trust.  The
latter is a secret like those that the proxy may ask for, so an answer may have both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from msgspec import Struct

from plait.agent.cache import Cache, resource
from plait.xds import dns_table, protos
from plait.xds.resource import CLUSTER, HOSTS, LISTENER, SECRET, Resource
from plait.xds.secrets import ROOTS
from plait.xds.wire import Request, read_delta

OnHosts = Callable[[Mapping[str, tuple[str, ...]]], None]
"""Told the meaning of all names, in the form of `xds.dns_table.Records`."""

_WILDCARDS: Final = (CLUSTER, LISTENER)  # types whose first answer is all there is
_UNKNOWN: Final = "?"  # no resource's version
_REFUSED: Final = 13  # the code with which Envoy refuses


class _Answer(Struct, frozen=True, kw_only=True):
    """What a response says.

    Attributes:
        whole: there is nothing else of this type.
    """

    type_url: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    whole: bool


class Heard(Struct, frozen=True, kw_only=True):
    """What to do about a response.

    Attributes:
        onward: what the proxy is told; None: nothing.
        reply: what the control plane is told at once; None: nothing.
        nonce: of what it is told when the proxy has answered to the agent; see `Tap.judged`.
    """

    onward: bytes | None = None
    reply: bytes | None = None
    nonce: str = ""


class Trust(Protocol):
    """Where a proxy learns whom to trust."""

    def take(self, body: bytes) -> None:
        """These from now on: a serialised Secret."""
        ...

    async def outcome(self) -> str:
        """Wait for what the proxy makes of them; its words if it refuses, empty if it does not."""
        ...


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

    def __init__(self, cache: Cache, hosts: Hosts, trust: Trust | None = None) -> None:
        self._cache = cache
        self._hosts = hosts
        self._trust = trust
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

    def questions(self) -> tuple[bytes, ...]:
        """The agent's own requests; they follow the proxy's first one."""
        hosts = self._cache.known(HOSTS) or {}
        if not hosts:
            self._whole.add(HOSTS)
        asked = (_question(HOSTS, "*", hosts),)
        if self._trust is None:
            return asked
        held = self._cache.known(SECRET) or {}
        roots = {name: one for name, one in held.items() if name == ROOTS}
        return (*asked, _question(SECRET, ROOTS, roots))

    def answered(self, data: bytes) -> Heard:
        """Look at a response; what to do about it."""
        message = protos.DeltaDiscoveryResponse.FromString(data)
        url = str(message.type_url)
        answer = _Answer(
            type_url=url,
            resources=tuple(
                resource(url, one.name, one.version, one.resource.value)
                for one in message.resources
            ),
            removed=tuple(name for name in message.removed_resources if not _is_roots(url, name)),
            whole=url in self._whole,
        )
        self._whole.discard(url)
        if url == HOSTS:
            self._hosts.take(answer.resources, answer.removed)
            self._accept(answer)
            return Heard(reply=_request(type_url=url, response_nonce=message.nonce))
        self._pending[url, message.nonce] = answer
        is_ours = url == SECRET and self._trust is not None
        return self._shared(message, answer) if is_ours else Heard(onward=data)

    def judged(self, nonce: str, error: str) -> bytes:
        """What to say of an answer that was for the agent alone; `error`: the proxy's refusal."""
        answer = self._pending.pop((SECRET, nonce), None)
        if error:
            status = {"code": _REFUSED, "message": error}
            return _request(type_url=SECRET, response_nonce=nonce, error_detail=status)
        if answer is not None:
            self._accept(answer)
        return _request(type_url=SECRET, response_nonce=nonce)

    def _shared(self, message: Any, answer: _Answer) -> Heard:
        """Take out of an answer whom to trust; the proxy is told what else there is.

        That nobody is trusted any more is not passed on: it would end all calls of the proxy.
        """
        for one in answer.resources:
            if one.name == ROOTS and self._trust is not None:
                self._trust.take(one.body)
        rest = [one for one in message.resources if one.name != ROOTS]
        if not rest and not answer.removed:
            return Heard(nonce=message.nonce)
        del message.resources[:], message.removed_resources[:]
        message.resources.extend(rest)
        message.removed_resources.extend(answer.removed)
        return Heard(onward=protos.encode(message))

    def _returned(self, request: Request) -> bytes:
        """What to add to the first request of a type, which says what the proxy holds."""
        url, initial = request.type_url, request.initial
        if not initial:
            if url in _WILDCARDS:
                self._whole.add(url)
            return b""
        self._cache.keep(url, {*initial, ROOTS} if url == SECRET else initial)
        held = self._cache.known(url) or {}
        lacking = {n for n, v in initial.items() if n not in held or held[n].version != v}
        return _request(initial_resource_versions=dict.fromkeys(lacking, _UNKNOWN))

    def _accept(self, answer: _Answer) -> None:
        if answer.whole:
            self._cache.keep(answer.type_url, {one.name for one in answer.resources})
        self._cache.accept(answer.type_url, answer.resources, answer.removed)


def _question(type_url: str, name: str, held: Mapping[str, Resource]) -> bytes:
    return _request(
        type_url=type_url,
        resource_names_subscribe=(name,),
        initial_resource_versions={one.name: one.version for one in held.values()},
    )


def _is_roots(type_url: str, name: str) -> bool:
    return type_url == SECRET and name == ROOTS


def _request(**fields: Any) -> bytes:
    return protos.encode(protos.DeltaDiscoveryRequest(**fields))
