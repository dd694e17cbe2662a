"""One client's xDS conversation as a pure state machine; it knows no socket and reads no clock.

What there is to send stands in topics that many streams share; a stream remembers a number for
each type: how much of the topic its client has.  All numbers are of one count, so a stream may
change from one topic to another.  At most one response of a type is unacknowledged; what changes
meanwhile is found again by the number when the acknowledgement comes, so the newest is sent and
nothing in between.

Make before break, on every push: changed clusters; their endpoints, again where Envoy has them,
because it warms a changed cluster anew; then listeners, routes and extensions; removals of
clusters last, when listeners and routes are acknowledged.  A client that never asks for endpoints
is waited for until a deadline.  A new listener counts as taken when it has its route tables.
"""

from __future__ import annotations

from msgspec import Struct

from plait.xds.channel import NONE, Channel, Topics, Want
from plait.xds.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    HOSTS,
    LISTENER,
    PUSH_ORDER,
    ROUTES,
)
from plait.xds.wire import Malformed, Payload, Request

WARMING = 1.0
"""Seconds that listeners and routes wait for a client to ask for a new cluster's endpoints.

Removals of clusters wait so long for a client that came back to ask for listeners and routes.
"""
PATIENCE = 30.0
"""Seconds that they wait for clusters to be acknowledged."""

_USERS = (LISTENER, ROUTES, EXTENSION)  # types that point to clusters
_WILDCARDS = (CLUSTER, LISTENER, HOSTS)  # types in which asking for no name means all


class Send(Struct, frozen=True, kw_only=True):
    """Write this response."""

    type_url: str
    data: bytes


class Accepted(Struct, frozen=True, kw_only=True):
    """The client took these resources."""

    type_url: str
    payload: Payload


class Refused(Struct, frozen=True, kw_only=True):
    """The client refused a response that had these resources, in its own words."""

    type_url: str
    payload: Payload
    error: str


Action = Send | Accepted | Refused


class Stream:
    """The state of one conversation; `delta` or state of the world."""

    __slots__ = (
        "_awaited",
        "_awaited_at",
        "_channels",
        "_delta",
        "_returning",
        "_tables",
        "_tables_at",
        "_topics",
        "deadline",
    )

    def __init__(self, topics: Topics, *, delta: bool) -> None:
        self._topics = topics
        self._delta = delta
        self._channels: dict[str, Channel] = {}  # in PUSH_ORDER
        self._awaited: frozenset[str] = NONE  # endpoint sets of clusters that are warming
        self._awaited_at = 0  # number of the change that sent those clusters
        self._returning = False  # a client that came back has not asked for all its types yet
        self._tables: frozenset[str] = NONE  # route tables that new listeners wait for
        self._tables_at = 0  # number of the change that sent those listeners
        self.deadline: float | None = None  # when to call on_tick

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What is subscribed to, by type, in the order of a push."""
        return tuple(self._channels.values())

    @property
    def acknowledged(self) -> int | None:
        """Number up to which the client has everything, warmed; None: all there is."""
        found = [c.confirmed for c in self._channels.values() if not c.settled]
        if any(c.owed or c.topic.number == 0 for c in self._channels.values()):
            found.append(max(c.topic.number for c in self._channels.values()) - 1)
        if self._awaited:
            found.append(self._awaited_at - 1)
        if self._tables:
            found.append(self._tables_at - 1)
        return min(found) if found else None

    def on_request(self, request: Request, now: float) -> list[Action]:
        """Take what the client says; returns what to do, in this order.

        Raises:
            Malformed: the request asks for what does not exist.
        """
        actions: list[Action] = []
        channel = self._channels.get(request.type_url)
        if channel is None:
            channel = self._open(request, now)
        else:
            known = not request.nonce or request.nonce == channel.nonce
            if request.nonce and known and channel.sending:
                self._answered(channel, request, now, actions)
            if self._delta or known:
                self._subscribe(channel, request)
        return actions + self._push(now)

    def on_changed(self, now: float) -> list[Action]:
        """Look at the topics again; returns what to send."""
        return self._push(now)

    def on_tick(self, now: float) -> list[Action]:
        """Stop waiting for endpoints and route tables if their time is up."""
        if self.deadline is None or now < self.deadline:
            return []
        self._awaited = self._tables = NONE
        self._returning, self.deadline = False, None
        return self._push(now)

    def on_moved(self, topics: Topics, now: float) -> list[Action]:
        """Go over to the topics of another placement; what is equal there is not sent again."""
        old, self._topics = self._topics, topics
        for channel in self._channels.values():
            self._turn(channel, channel.topic.names, wildcard=channel.topic.wildcard, old=old)
        return self._push(now)

    def close(self) -> None:
        """Give all topics back."""
        for channel in self._channels.values():
            self._topics.leave(channel.topic)
        self._channels.clear()

    # Requests

    def _open(self, request: Request, now: float) -> Channel:
        if request.type_url not in PUSH_ORDER:
            raise Malformed(f'unknown resource type "{request.type_url}"')
        names = _named(request.names)
        legacy = not names and request.type_url in _WILDCARDS
        wildcard = "*" in request.names or legacy
        topic = self._topics.topic(request.type_url, names, wildcard=wildcard)
        opened = self._channels | {request.type_url: Channel(request.type_url, topic)}
        self._channels = {url: opened[url] for url in PUSH_ORDER if url in opened}
        channel = opened[request.type_url]
        channel.held = request.initial or None
        if request.initial and request.type_url == CLUSTER:
            self._returning, self.deadline = True, now + WARMING
        if request.initial and request.type_url == ENDPOINTS:
            channel.owed = names & self._awaited
        return channel

    def _subscribe(self, channel: Channel, request: Request) -> None:
        if not self._delta:
            self._subscribe_whole(channel, request.names)
        elif request.names or request.unsubscribed:
            self._subscribe_some(channel, request)

    def _subscribe_whole(self, channel: Channel, names: frozenset[str]) -> None:
        topic = channel.topic
        wildcard = "*" in names or (not names and topic.wildcard)
        names = _named(names)
        if names == topic.names and wildcard == topic.wildcard:
            return
        channel.owed |= names - topic.names
        self._retopic(channel, names, wildcard=wildcard)

    def _subscribe_some(self, channel: Channel, request: Request) -> None:
        topic = channel.topic
        added, dropped = request.names, request.unsubscribed
        names = (topic.names | added) - dropped - {"*"}
        if channel.type_url == ENDPOINTS:
            self._awaited -= dropped
        wildcard = ("*" in added or topic.wildcard) and "*" not in dropped
        owed = added - {"*"}
        if wildcard:
            owed |= dropped & topic.names  # their state under the wildcard
        if wildcard and not topic.wildcard and not channel.fresh:
            channel.held = channel.held or channel.holds()
        if names != topic.names or wildcard != topic.wildcard:
            self._retopic(channel, names, wildcard=wildcard)
        if not wildcard:
            channel.owed -= dropped
            channel.refused -= dropped
        channel.owed |= owed

    def _retopic(self, channel: Channel, names: frozenset[str], *, wildcard: bool) -> None:
        old = channel.topic
        channel.topic = self._topics.topic(channel.type_url, names, wildcard=wildcard)
        self._topics.leave(old)

    def _turn(
        self, channel: Channel, names: frozenset[str], *, wildcard: bool, old: Topics
    ) -> None:
        before = channel.topic
        topic = self._topics.topic(channel.type_url, names, wildcard=wildcard)
        if topic is not before and channel.held is None and not channel.fresh:
            channel.held = channel.holds()
        channel.topic = topic
        if topic is not before:
            old.leave(before)

    def _answered(
        self, channel: Channel, request: Request, now: float, actions: list[Action]
    ) -> None:
        """Take an ACK or NACK of the response that is under way."""
        payload, number = channel.payload, channel.sending
        channel.payload, channel.sending = None, 0
        if payload is None:
            return
        if request.error is not None:
            channel.error = (request.error, now)
            channel.refused |= frozenset(payload.names)
            actions.append(Refused(type_url=channel.type_url, payload=payload, error=request.error))
        else:
            if channel.refused:
                whole = not self._delta and channel.type_url in _WILDCARDS
                channel.refused = NONE if whole else channel.refused - frozenset(payload.names)
            if not payload.accepted:
                actions.append(Accepted(type_url=channel.type_url, payload=payload))
        if not channel.refused:
            channel.acked = number
        self._progress(channel, payload, now)

    def _progress(self, channel: Channel, payload: Payload, now: float) -> None:
        """Move on in the wait for endpoints of new clusters and tables of new listeners."""
        if channel.type_url == ENDPOINTS:
            self._awaited = payload.without(self._awaited)
        elif channel.type_url == ROUTES:
            self._tables = payload.without(self._tables)
        if self.deadline is not None and (self._awaited or self._tables):
            self.deadline = now + WARMING
        elif not self._returning:
            self.deadline = None

    # Pushes

    def _push(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for channel in self._channels.values():
            if channel.idle:
                channel.since = None
                continue
            if not channel.sending and channel.topic.number and self._is_open(channel):
                self._offer(channel, now, actions)
            if channel.settled:
                channel.since = None
            elif channel.since is None:
                channel.since = now
        self._remove(now, actions)
        return actions

    def _remove(self, now: float, actions: list[Action]) -> None:
        """Remove clusters whose users turned out to have nothing to acknowledge."""
        clusters = self._channels.get(CLUSTER)
        if clusters is None or clusters.idle or clusters.sending or not clusters.topic.number:
            return
        if self._may_remove(clusters):
            self._offer(clusters, now, actions)
            clusters.since = None if clusters.settled else clusters.since

    def _is_open(self, channel: Channel) -> bool:
        """Whether this type may be sent now: what it points to is there."""
        if channel.type_url not in _USERS:
            return True
        clusters = self._channels.get(CLUSTER)
        if clusters is None:
            return True
        return not (self._awaited or clusters.sending or clusters.changed)

    def _may_remove(self, channel: Channel) -> bool:
        """Whether what pointed to removed clusters is acknowledged to do so no longer."""
        if channel.type_url != CLUSTER:
            return True
        if self._returning:
            return False
        number = channel.topic.number
        users = [c for url in _USERS if (c := self._channels.get(url)) is not None]
        return all(c.settled or (c.acked >= number and not c.refused) for c in users)

    def _offer(self, channel: Channel, now: float, actions: list[Action]) -> None:
        """Send what the client lacks, if anything."""
        topic = channel.topic
        if channel.held is not None:
            channel.resume(channel.held)
        channel.sort()
        removes = self._may_remove(channel)
        if not channel.changed and not channel.gone and channel.cleared >= topic.number:
            return
        if not channel.changed and not removes:
            return
        payload = topic.payload(self._want(channel, removes=removes))
        number, must = topic.number, channel.fresh and topic.wildcard
        channel.seen = number
        channel.fresh, channel.owed = False, NONE
        if removes:
            channel.cleared, channel.gone = number, NONE
        if payload.empty and not must:
            channel.acked = channel.acked if channel.refused else number
            return
        self._send(channel, payload, now, actions)

    def _want(self, channel: Channel, *, removes: bool) -> Want:
        return Want(
            since=channel.seen,
            removed_since=channel.cleared,
            removes=removes,
            owed=channel.owed,
            gone=channel.gone if removes else NONE,
            whole=not self._delta,
        )

    def _send(self, channel: Channel, payload: Payload, now: float, actions: list[Action]) -> None:
        number = channel.topic.number
        channel.sending, channel.payload = number, payload
        nonce = f"{number:x}"
        channel.nonce = f"{channel.nonce}+" if channel.nonce.rstrip("+") == nonce else nonce
        actions.append(Send(type_url=channel.type_url, data=payload.message(channel.nonce)))
        if payload.needs:
            self._await(payload.needs, number, now)
        if payload.tables:
            self._await_tables(payload.tables, number, now)

    def _await_tables(self, tables: frozenset[str], number: int, now: float) -> None:
        """Count these listeners as taken when they have the tables that are new to the client."""
        routes = self._channels.get(ROUTES)
        new = tables - routes.topic.names if routes else tables
        if new:
            self._tables_at = self._tables_at if self._tables else number
            self._tables |= new
            self.deadline = now + PATIENCE

    def _await(self, needs: frozenset[str], number: int, now: float) -> None:
        """Hold back listeners and routes until these endpoints are acknowledged."""
        self._awaited_at = self._awaited_at if self._awaited else number
        self._awaited = self._awaited | needs if self._awaited else needs  # shared if it can be
        self.deadline = now + PATIENCE
        endpoints = self._channels.get(ENDPOINTS)
        if endpoints is not None:
            endpoints.owed |= needs & endpoints.topic.names


def _named(names: frozenset[str]) -> frozenset[str]:
    """Names without that of the wildcard; the same set if it is not there."""
    return names - {"*"} if "*" in names else names
