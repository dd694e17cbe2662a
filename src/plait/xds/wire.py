"""xDS messages as bytes: responses joined by hand from shared pieces, requests read fast.

A response is the same for every stream that stands at the same place, but for its nonce: so the
nonce comes last, and all before it is built once.  A request repeats the client's node, which is
tens of kilobytes in Envoy: it is stepped over without being decoded after the first message.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct, structs

from plait.base.digest import digest
from plait.xds import protos
from plait.xds.resource import CLUSTER, PREFIX, Resource, varint

_NOTHING: Mapping[str, str] = MappingProxyType({})
_LONG, _LONGEST = 1_000, 500_000  # bytes of requests that are worth remembering
_SEEN = 16  # of them that are
_CLUSTER_TYPE, _CLUSTER_EDS = 2, 3  # Cluster.type and its value for endpoint discovery


class Malformed(Exception):  # noqa: N818 - it is the message, not the program, that is at fault
    """A request that cannot be read; the message says what is wrong with it."""


class Request(Struct, frozen=True, kw_only=True, gc=False):
    """What a client says, of delta and state-of-the-world streams alike.

    Attributes:
        names: subscribed (delta), or all that are wanted (state of the world).
        initial: versions that a reconnecting delta client holds, by name.
        error: why the response `nonce` was refused; None: it was accepted.
        node: the decoded Node; None after the first message, or if the client left it out.
    """

    type_url: str
    nonce: str = ""
    names: frozenset[str] = frozenset()
    unsubscribed: frozenset[str] = frozenset()
    initial: Mapping[str, str] = _NOTHING
    error: str | None = None
    node: Any = None


class Payload:
    """A response without its nonce, shared by the streams that need the same.

    Attributes:
        resources: what it carries, by name.
        removed: names it says are gone.
        needs: names of endpoint sets that the clusters in it will ask for; of those that it
            repeats unchanged, none (`news` are the others).
        tables: names of route tables that the listeners in it ask for.
        accepted: some client has acknowledged it.
        entries: what its maker remembers about the resources, by name.
    """

    __slots__ = (
        "_data",
        "_last",
        "_left",
        "accepted",
        "entries",
        "needs",
        "removed",
        "resources",
        "tables",
    )

    def __init__(
        self,
        data: bytes,
        resources: Mapping[str, Resource],
        removed: tuple[str, ...] = (),
        entries: Mapping[str, Any] = _NOTHING,
        news: Container[str] | None = None,
    ) -> None:
        known = resources if news is None else news
        self.entries = entries
        self._data = data
        self._last: tuple[str, bytes] = ("", b"")
        self._left: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self.resources = resources
        self.removed = removed
        self.needs = frozenset(n for n, r in resources.items() if n in known and _asks(r))
        self.tables = frozenset(name for r in resources.values() for name in r.tables)
        self.accepted = False

    @property
    def empty(self) -> bool:
        """Whether it says nothing."""
        return not self.resources and not self.removed

    @property
    def names(self) -> Iterator[str]:
        """All names it speaks of."""
        yield from self.resources
        yield from self.removed

    def without(self, names: frozenset[str]) -> frozenset[str]:
        """Those of `names` that it does not speak of; streams share the sets they ask with."""
        if self._left[0] is not names:
            self._left = (names, names.difference(self.resources, self.removed))
        return self._left[1]

    def message(self, nonce: str) -> bytes:
        """The whole response; streams that choose the same nonce share its bytes."""
        if self._last[0] != nonce:
            self._last = (nonce, self._data + _text(5, nonce))
        return self._last[1]


def delta(
    type_url: str, fragments: Iterable[bytes], removed: Iterable[str], version: str = ""
) -> bytes:
    """A DeltaDiscoveryResponse without its nonce."""
    parts = [_text(1, version)] if version else []
    parts += fragments
    parts.append(_text(4, type_url))
    parts += [_text(6, name) for name in removed]
    return b"".join(parts)


def state(type_url: str, resources: Iterable[Resource]) -> bytes:
    """A DiscoveryResponse without its nonce; its version is a digest of what it holds."""
    held = tuple(resources)
    version = digest(*(f"{r.name}\0{r.version}\0".encode() for r in held))
    parts = [_text(1, version)]
    parts += [_bytes(2, _any(r)) for r in held]
    parts.append(_text(4, type_url))
    return b"".join(parts)


def fragment(resource: Resource) -> bytes:
    """The resource as one entry of a DeltaDiscoveryResponse: ``Resource`` with its field's tag."""
    inner = _text(1, resource.version) + _bytes(2, _any(resource)) + _text(3, resource.name)
    return _bytes(2, inner)


def read_delta(data: bytes, *, first: bool) -> Request:
    """Decode a DeltaDiscoveryRequest; the node of the first message only.

    Raises:
        Malformed: it is not one.
    """
    return _of_delta(*_delta_message(data, first=first))


def _delta_message(data: bytes, *, first: bool) -> tuple[Any, Any]:
    """The message without its node, and the node."""
    message = _parse(protos.DeltaDiscoveryRequest, data if first else _behind(data, b"\x0a"))
    if not message.HasField("node"):
        return message, None
    node = message.node
    message.ClearField("node")
    return message, node if first else None


def _of_delta(message: Any, node: Any) -> Request:
    return Request(
        type_url=message.type_url,
        nonce=message.response_nonce,
        names=frozenset(message.resource_names_subscribe),
        unsubscribed=frozenset(message.resource_names_unsubscribe),
        initial=dict(message.initial_resource_versions) or _NOTHING,
        error=message.error_detail.message if message.HasField("error_detail") else None,
        node=node,
    )


def read_state(data: bytes, *, first: bool) -> Request:
    """Decode a DiscoveryRequest; the node of the first message only.

    Raises:
        Malformed: it is not one.
    """
    message = _parse(protos.DiscoveryRequest, data if first else _behind(data, b"\x0a\x12"))
    return Request(
        type_url=message.type_url,
        nonce=message.response_nonce,
        names=frozenset(message.resource_names),
        error=message.error_detail.message if message.HasField("error_detail") else None,
        node=message.node if first and message.HasField("node") else None,
    )


class Reader:
    """Decodes requests; a long one that many clients send alike is turned into sets once.

    Envoy names what it subscribes to in order, so proxies with the same clusters ask for endpoints
    in the same bytes.  The versions that it holds come in no order: such requests are compared
    when they are parsed, which is a fraction of making names of them.
    """

    def __init__(self) -> None:
        self._same: dict[tuple[bool, str], tuple[bytes, Request]] = {}
        self._alike: dict[str, tuple[Any, Request]] = {}  # the last one with versions, by type

    def read(self, data: bytes, *, delta: bool, first: bool) -> Request:
        """Decode a request of a stream, `delta` or state of the world; the first with its node.

        Raises:
            Malformed: it is none.
        """
        is_long = _LONG < len(data) < _LONGEST
        if first and delta and is_long:
            message, node = _delta_message(data, first=True)
            return structs.replace(self._of_delta(message), node=node)
        if first or not is_long:
            return (read_delta if delta else read_state)(data, first=first)
        body = _behind(data, b"\x0a" if delta else b"\x0a\x12")
        key = (delta, digest(body))
        same, request = self._same.get(key, (b"", None))
        if request is not None and same == body:
            return request
        request = self._read(body, delta=delta)
        if not request.initial:
            self._same[key] = (body, request)
            if len(self._same) > _SEEN:
                del self._same[next(iter(self._same))]
        return request

    def _read(self, body: bytes, *, delta: bool) -> Request:
        if not delta:
            return read_state(body, first=False)
        message, _ = _delta_message(body, first=False)
        return self._of_delta(message)

    def _of_delta(self, message: Any) -> Request:
        """The request of a message without a node; the last one's if they are equal."""
        known, request = self._alike.get(message.type_url, (None, None))
        if request is not None and message == known:
            return request
        request = _of_delta(message, None)
        if request.initial:
            self._alike[message.type_url] = (message, request)
            if len(self._alike) > _SEEN:
                del self._alike[next(iter(self._alike))]
        return request


def _parse(cls: Any, data: bytes) -> Any:
    try:
        message = cls.FromString(data)
    except protos.DecodeError as error:
        raise Malformed(f"not a {cls.DESCRIPTOR.name}: {error}") from error
    if not message.type_url.startswith(PREFIX):
        raise Malformed(f'unknown resource type "{message.type_url}"')
    return message


def _behind(data: bytes, tags: bytes) -> bytes:
    """What follows the leading fields of these tags: the node, and a version nobody asks for.

    Writers put fields in order of their numbers; one that does not costs time and nothing else.
    """
    place = 0
    while place < len(data) and data[place] in tags:
        length, start = _varint(data, place + 1)
        place = start + length
    return data[place:]


def _asks(resource: Resource) -> bool:
    """Whether it is a cluster that asks for endpoints, under its own name."""
    if resource.type_url != CLUSTER:
        return False
    return _number(resource.body, _CLUSTER_TYPE) == _CLUSTER_EDS


def _number(data: bytes, wanted: int) -> int:
    """The first varint in field `wanted` of a message that was well formed when we made it."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        match tag & 7:
            case 0:
                value, place = _varint(data, place)
                if tag >> 3 == wanted:
                    return value
            case 2:
                length, place = _varint(data, place)
                place += length
            case 1:
                place += 8
            case _:
                place += 4
    return 0


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A base-128 integer at `place`, and the place behind it."""
    value = shift = 0
    while place < len(data):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise Malformed("truncated message")


def _any(resource: Resource) -> bytes:
    return _text(1, resource.type_url) + _bytes(2, resource.body)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return b"%b%b%b" % (varint(field << 3 | 2), varint(len(value)), value)
