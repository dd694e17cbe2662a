"""What streams watch together: calls become entries, entries feeds, feeds the topics of streams.

The hub listens to the store.  What changed is published as one step, with a number, when the
engine has worked out everything a revision caused: else a route could be sent before the cluster
it points to.  Endpoints that changed do not wait: they are published with each slice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from plait.base.query import Call, Drained, Failed
from plait.config.store import Store
from plait.mesh import ir
from plait.serve.topics import Entry, Feed, SharedTopic
from plait.xds.resource import ENDPOINTS, PUSH_ORDER, Answer, Named, Pending, Present
from plait.xds.wire import Malformed

GRACE = 30.0
"""Seconds that a topic is kept after its last stream left, for streams that come back."""
_MARKS = 1_000  # numbers whose revision is remembered


class Plan(Protocol):
    """How subscriptions become calls: `xds.subscriptions`."""

    def wildcard(self, type_url: str, placement: ir.Placement) -> tuple[Call, ...]:
        """Calls whose values are together all resources of a type."""
        ...

    def named(self, type_url: str, name: str, placement: ir.Placement) -> Call:
        """The call whose `Answer` is one resource."""
        ...


class Watcher(Protocol):
    """Who is told that a topic or a placement changed; must not act before the call returns."""

    def wake(self) -> None:
        """Something changed."""
        ...

    def place(self, placement: ir.Placement) -> None:
        """The proxy stands here now."""
        ...


class Hub:
    """All that is watched for streams, shared between them.

    Attributes:
        number: of the newest published change.
    """

    def __init__(self, store: Store, placement: Callable[..., ir.Placement], plan: Plan) -> None:
        self.number = 0
        self._store = store
        self._placement = placement
        self._plan = plan
        self._entries: dict[Call, Entry] = {}
        self._feeds: dict[Any, Feed] = {}
        self._topics: dict[Any, SharedTopic] = {}
        self._found: dict[Any, SharedTopic] = {}  # by placement and subscription
        self._places: dict[ir.Identity, tuple[ir.Placement | None, set[Watcher]]] = {}
        self._staged: dict[Entry, Answer] = {}
        self._turning: dict[Feed, None] = {}  # with a target
        self._idle: dict[SharedTopic, None] = {}
        self._marks: list[tuple[int, int]] = []  # number, revision; both increasing
        self._stop = store.listen(self.on_drained)

    def close(self) -> None:
        """Listen no more."""
        self._stop()

    # Streams

    def locate(self, identity: ir.Identity, watcher: Watcher) -> None:
        """Tell `watcher` where the proxy stands, now or when it is known, and when it changes."""
        placement, watchers = self._places.setdefault(identity, (None, set()))
        if not watchers and placement is None:
            self._store.watch_soon(self._placement, identity)
        watchers.add(watcher)
        if placement is not None:
            watcher.place(placement)

    def depart(self, identity: ir.Identity, watcher: Watcher) -> None:
        """Undo `locate`."""
        _, watchers = self._places[identity]
        watchers.discard(watcher)
        if not watchers:
            del self._places[identity]
            self._store.unwatch(self._placement, identity)

    def topic(
        self, placement: ir.Placement, type_url: str, names: frozenset[str], *, wildcard: bool
    ) -> SharedTopic:
        """The topic of a subscription.

        Raises:
            Malformed: there is no such type.
        """
        if type_url not in PUSH_ORDER:
            raise Malformed(f'unknown resource type "{type_url}"')
        asked = (placement, type_url, names, wildcard)
        topic = self._found.get(asked)
        if topic is None:
            topic = self._found[asked] = self._make(placement, type_url, names, wildcard=wildcard)
        self._idle.pop(topic, None)
        return topic

    def leave(self, topic: SharedTopic) -> None:
        """Note that a topic has no watchers; it is dropped after a while."""
        topic.left_at = None
        self._idle[topic] = None

    def sweep(self, now: float) -> None:
        """Drop what nobody watched for a while, and what can be joined again."""
        for topic in self._topics.values():
            topic.forget()
        for topic in self._idle:
            topic.left_at = now if topic.left_at is None else topic.left_at
        old = {t for t in self._idle if t.left_at is not None and now - t.left_at >= GRACE}
        places = {place for place, _ in self._places.values()}
        self._found = {a: t for a, t in self._found.items() if a[0] in places and t not in old}
        for topic in old:
            self._drop(topic)

    def revision(self, number: int | None) -> int:
        """The newest revision whose changes have numbers up to `number`; None: that of all."""
        if number is None:
            return self._marks[-1][1] if self._marks else 0
        place = bisect_right(self._marks, number, key=lambda mark: mark[0])
        return self._marks[place - 1][1] if place else 0

    # Changes

    def on_drained(self, drained: Drained, revision: int) -> None:
        """Take what the engine worked out; wakes the watchers of what changed."""
        touched: set[Feed] = set()
        for call in drained.values:
            if call[0] is self._placement:
                self._move(call)
            elif (entry := self._entries.get(call)) is not None:
                self._see(entry, touched)
            elif (feed := self._feeds.get(call)) is not None:
                self._aim(feed)
        self._begin(touched)
        if drained.done and not any(feed.waiting for feed in self._turning if feed.ready):
            self._publish(tuple(self._staged), touched)
            self._turn(touched)
            self._mark(revision)
        else:
            self._publish([e for e in self._staged if _is_endpoints(e)], touched)
        self._tell(touched)

    def _move(self, call: Call) -> None:
        identity = call[1][0]
        found = self._places.get(identity)
        value = self._store.engine.attempt(*_spread(call))
        if found is None or isinstance(value, Failed) or value == found[0]:
            return
        self._places[identity] = (value, found[1])
        for watcher in tuple(found[1]):
            watcher.place(value)

    def _see(self, entry: Entry, touched: set[Feed]) -> None:
        """Take the new value of an entry: the first at once, others when they are published."""
        value = self._store.engine.attempt(*_spread(entry.call))
        answer: Answer = Pending() if isinstance(value, Failed) else value
        if entry.answer is None:
            entry.publish(answer, self.number + 1)
            for feed in entry.feeds:
                feed.waiting -= 1
                touched.add(feed)
        elif _is_equal(entry.answer, answer):
            self._staged.pop(entry, None)
        else:
            self._staged[entry] = answer

    def _aim(self, feed: Feed) -> None:
        """Take the new membership of a wildcard."""
        if feed.call is None:
            return
        value = self._store.engine.attempt(*_spread(feed.call))
        named: tuple[Named, ...] = () if isinstance(value, Failed) else value
        if isinstance(value, Failed) and feed.ready:
            return
        self._target(feed, ((one.name, (one.query, one.args)) for one in named))

    def _target(self, feed: Feed, named: Iterable[tuple[str, Call]]) -> None:
        target = {name: self._entry(call) for name, call in named}
        before = feed.target or {}
        feed.target = target
        for name, entry in target.items():
            entry.feeds.setdefault(feed, name)
        feed.waiting = sum(entry.answer is None for entry in target.values())
        for entry in before.values():
            self._release(entry, feed)
        self._turning[feed] = None

    def _entry(self, call: Call) -> Entry:
        entry = self._entries.get(call)
        if entry is None:
            entry = self._entries[call] = Entry(call)
            self._store.watch_soon(*_spread(call))
        return entry

    def _begin(self, touched: set[Feed]) -> None:
        """Make feeds ready of which everything is known for the first time."""
        for feed in tuple(self._turning):
            if not feed.ready and not feed.waiting:
                del self._turning[feed]
                feed.turn(self.number + 1)
                touched.add(feed)
        if touched:
            self.number += 1

    def _publish(self, entries: Sequence[Entry], touched: set[Feed]) -> None:
        """Put staged answers in force."""
        if not entries:
            return
        self.number += 1
        for entry in entries:
            entry.publish(self._staged.pop(entry), self.number)
            for feed, name in entry.feeds.items():
                if feed.touch(name, entry, self.number):
                    touched.add(feed)

    def _turn(self, touched: set[Feed]) -> None:
        """Put new memberships in force."""
        turning = [feed for feed in self._turning if feed.ready]
        self.number += bool(turning)
        for feed in turning:
            del self._turning[feed]
            touched.add(feed)
            for entry in feed.turn(self.number):
                self._release(entry, feed)

    def _mark(self, revision: int) -> None:
        if self._marks and self._marks[-1][0] == self.number:
            self._marks.pop()
        self._marks.append((self.number, revision))
        if len(self._marks) > _MARKS:
            del self._marks[: _MARKS // 2]

    def _tell(self, feeds: Iterable[Feed]) -> None:
        topics = {topic for feed in feeds for topic in feed.topics}
        for topic in topics:
            topic.refresh(self.number)
        for watcher in {watcher for topic in topics for watcher in topic.watchers}:
            watcher.wake()

    # Keeping and dropping

    def _make(
        self, placement: ir.Placement, type_url: str, names: frozenset[str], *, wildcard: bool
    ) -> SharedTopic:
        plan = self._plan
        calls = plan.wildcard(type_url, placement) if wildcard else ()
        named = tuple((name, plan.named(type_url, name, placement)) for name in sorted(names))
        key = (type_url, calls, named, wildcard)
        topic = self._topics.get(key)
        if topic is None:
            feeds = [self._wildcard(call) for call in calls]
            if named:
                feeds.append(self._named((type_url, named)))
            topic = self._topics[key] = SharedTopic(
                type_url, tuple(feeds), names, wildcard=wildcard
            )
            topic.key = key
            for feed in feeds:
                feed.topics.add(topic)
        return topic

    def _wildcard(self, call: Call) -> Feed:
        feed = self._feeds.get(call)
        if feed is None:
            feed = self._feeds[call] = Feed(call, call)
            self._store.watch_soon(*_spread(call))
        return feed

    def _named(self, key: tuple[str, tuple[tuple[str, Call], ...]]) -> Feed:
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(key, None)
            self._target(feed, key[1])
            if not feed.waiting:
                del self._turning[feed]
                feed.turn(max(e.number for e in feed.target.values()) if feed.target else 1)
        return feed

    def _drop(self, topic: SharedTopic) -> None:
        del self._idle[topic]
        del self._topics[topic.key]
        for feed in topic.feeds:
            feed.topics.discard(topic)
            if not feed.topics:
                self._end(feed)

    def _end(self, feed: Feed) -> None:
        del self._feeds[feed.key]
        self._turning.pop(feed, None)
        if feed.call is not None:
            self._store.unwatch(*_spread(feed.call))
        entries = {*feed.members.values(), *(feed.target or {}).values()}
        feed.members, feed.target = {}, None
        for entry in entries:
            self._release(entry, feed)

    def _release(self, entry: Entry, feed: Feed) -> None:
        """Forget an entry that stands in no feed any more."""
        name = entry.feeds.get(feed)
        if name is None or feed.members.get(name) is entry:
            return
        if feed.target is not None and feed.target.get(name) is entry:
            return
        del entry.feeds[feed]
        if not entry.feeds:
            self._staged.pop(entry, None)
            del self._entries[entry.call]
            self._store.unwatch(*_spread(entry.call))


def _spread(call: Call) -> tuple[Any, ...]:
    return (call[0], *call[1])


def _is_equal(old: Answer, new: Answer) -> bool:
    """Whether a proxy would see no difference."""
    if isinstance(old, Present) and isinstance(new, Present):
        return old.resource.version == new.resource.version
    return type(old) is type(new)


def _is_endpoints(entry: Entry) -> bool:
    return entry.last is not None and entry.last.type_url == ENDPOINTS
