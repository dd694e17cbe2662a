"""One client: its stream, joined to the hub and to whatever carries the bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from plait.mesh import ir
from plait.serve import identity
from plait.serve.feeds import Hub
from plait.serve.topics import SharedTopic
from plait.xds.channel import Channel, Topic
from plait.xds.resource import PREFIX
from plait.xds.stream import Accepted, Action, Refused, Send, Stream
from plait.xds.wire import Malformed, Payload, Reader, Request

Check = Callable[[identity.Node], str]
"""Says why a client may not be a node; empty: it may."""
_BEFORE = 100  # requests taken before the proxy's place is known


class Link(Protocol):
    """A transport's side of one stream."""

    def send(self, data: bytes) -> None:
        """Write a message; never blocks.  What is unacknowledged bounds what is queued."""
        ...

    def fail(self, reason: str) -> None:
        """End the stream: what the client said cannot be understood."""
        ...

    def refuse(self, reason: str) -> None:
        """End the stream: the client is not what it says."""
        ...


class Desk(Protocol):
    """What sessions of one server share."""

    hub: Hub
    reader: Reader

    def now(self) -> float:
        """Seconds since some moment; never goes back."""
        ...

    def soon(self, session: Session) -> None:
        """Call `session.refresh` when it is its turn."""
        ...

    def stir(self) -> None:
        """A client came or went, said something, or is waited for no longer."""
        ...

    def accepted(self, session: Session, type_url: str, payload: Payload) -> None:
        """A client was the first to take these resources."""
        ...

    def refused(self, session: Session, type_url: str, payload: Payload, error: str) -> None:
        """A client refused a response."""
        ...


class TypeState(Struct, frozen=True, kw_only=True):
    """How far a proxy is in one type.

    Attributes:
        type: the last part of the type URL, such as ``Cluster``.
        behind: names in which it differs from what it should have, sorted.
        since: seconds it has differed; None: it is in sync.
        error: what it last refused, in its own words; empty: nothing.
        error_age: seconds since then.
    """

    type: str
    synced: bool
    behind: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    since: float | None = None
    error: str = ""
    error_age: float | None = None


class ProxyState(Struct, frozen=True, kw_only=True):
    """A connected proxy.

    Attributes:
        connected: seconds it has been connected.
        delivered: newest revision that it acknowledged, warmed, in all types.
    """

    id: str
    role: str
    namespace: str
    labels: Mapping[str, str]
    address: str
    version: str
    connected: float
    delivered: int
    types: tuple[TypeState, ...]

    @property
    def synced(self) -> bool:
        """Whether it has everything."""
        return all(one.synced for one in self.types)


class Session:
    """One client's conversation over some transport; with a `check`, every claim is looked at."""

    __slots__ = (
        "_before",
        "_check",
        "_delta",
        "_desk",
        "_link",
        "_moved",
        "_started",
        "node",
        "placement",
        "stream",
    )

    def __init__(self, desk: Desk, link: Link, *, delta: bool, check: Check | None = None) -> None:
        self._desk = desk
        self._check = check
        self._link = link
        self._delta = delta
        self._before: list[Request] = []
        self._moved: ir.Placement | None = None
        self._started = desk.now()
        self.node: identity.Node | None = None
        self.placement: ir.Placement | None = None
        self.stream: Stream | None = None

    def receive(self, data: bytes) -> None:
        """Take a request; one that cannot be understood ends the stream."""
        is_claim = self.node is None or self._check is not None
        try:
            request = self._desk.reader.read(data, delta=self._delta, first=is_claim)
            if self._is_admitted(request):
                self._receive(request)
        except Malformed as error:
            self._link.fail(str(error))

    def _is_admitted(self, request: Request) -> bool:
        """Whether the client may be what it says in this request, the first or a later one."""
        if self._check is None or (request.node is None and self.node is not None):
            return True
        why = self._check(identity.parse(request.node))
        if why:
            self._link.refuse(why)
        return not why

    def _receive(self, request: Request) -> None:
        if self.node is None:
            self.node = identity.parse(request.node)
            self._desk.hub.locate(self.node.identity, self)
        if self.stream is not None:
            self._act(self.stream.on_request(request, self._desk.now()))
            self._desk.stir()
        elif len(self._before) < _BEFORE:
            self._before.append(request)
        else:
            raise Malformed("too many requests before the first answer")

    def wake(self) -> None:
        """Something that this client has may be different now."""
        self._desk.soon(self)

    def place(self, placement: ir.Placement) -> None:
        """The proxy stands here now."""
        self._moved = placement
        self._desk.soon(self)

    def refresh(self) -> None:
        """Send what changed."""
        now = self._desk.now()
        moved, self._moved = self._moved, None
        if moved is not None:
            self.placement = moved
            places = _Placed(self._desk.hub, moved, self)
            if self.stream is None:
                self._begin(Stream(places, delta=self._delta), now)
            else:
                self._act(self.stream.on_moved(places, now))
        elif self.stream is not None:
            self._act(self.stream.on_changed(now))
        self._desk.stir()  # that nothing had to be sent is news too

    def tick(self) -> None:
        """Look at the clock."""
        stream = self.stream
        if stream is not None and stream.deadline is not None:
            self._act(stream.on_tick(self._desk.now()))
            if stream.deadline is None:
                self._desk.stir()

    def fail(self, reason: str) -> None:
        """End the stream; the client will come back."""
        self._link.fail(reason)

    def close(self) -> None:
        """Forget the client."""
        if self.stream is not None:
            self.stream.close()
        if self.node is not None:
            self._desk.hub.depart(self.node.identity, self)

    @property
    def delivered(self) -> int:
        """The newest revision that the client acknowledged in all types."""
        return self._desk.hub.revision(self.stream.acknowledged) if self.stream else 0

    def holds(self, type_url: str, name: str) -> str:
        """Version of a resource that the client acknowledged; empty: none, or not the newest."""
        for channel in self.stream.channels if self.stream else ():
            if channel.type_url == type_url and name not in channel.refused | channel.owed:
                return channel.topic.held(channel.acked, channel.cleared).get(name, "")
        return ""

    def state(self) -> ProxyState | None:
        """What to tell people about this client; None: it has not said who it is."""
        node = self.node
        if node is None:
            return None
        now = self._desk.now()
        channels = self.stream.channels if self.stream else ()
        return ProxyState(
            id=node.id,
            role=node.identity.role.value,
            namespace=node.identity.namespace,
            labels=dict(node.identity.labels),
            address=next(iter(node.identity.addresses), ""),
            version=node.version,
            connected=now - self._started,
            delivered=self.delivered,
            types=tuple(_type_state(channel, now) for channel in channels),
        )

    def _begin(self, stream: Stream, now: float) -> None:
        self.stream = stream
        before, self._before = self._before, []
        try:
            for request in before:
                self._act(stream.on_request(request, now))
        except Malformed as error:
            self._link.fail(str(error))

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(data=data):
                    self._link.send(data)
                case Accepted(type_url=type_url, payload=payload):
                    self._desk.accepted(self, type_url, payload)
                case Refused(type_url=type_url, payload=payload, error=error):
                    self._desk.refused(self, type_url, payload, error)


class _Placed:
    """The topics of one placement, watched by one session."""

    __slots__ = ("_hub", "_placement", "_session")

    def __init__(self, hub: Hub, placement: ir.Placement, session: Session) -> None:
        self._hub = hub
        self._placement = placement
        self._session = session

    def topic(self, type_url: str, names: frozenset[str], *, wildcard: bool) -> SharedTopic:
        """The topic of a subscription."""
        topic = self._hub.topic(self._placement, type_url, names, wildcard=wildcard)
        topic.watchers.add(self._session)
        return topic

    def leave(self, topic: Topic) -> None:
        """Give a topic back."""
        if isinstance(topic, SharedTopic):
            topic.watchers.discard(self._session)
            if not topic.watchers:
                self._hub.leave(topic)


def _type_state(channel: Channel, now: float) -> TypeState:
    error, at = channel.error or ("", now)
    return TypeState(
        type=channel.type_url.removeprefix(PREFIX).rpartition(".")[2],
        synced=channel.settled,
        behind=() if channel.settled else tuple(sorted(channel.behind())),
        refused=tuple(sorted(channel.refused)),
        since=None if channel.since is None else now - channel.since,
        error=error,
        error_age=now - at if error else None,
    )
