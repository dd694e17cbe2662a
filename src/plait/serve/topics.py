"""What groups of streams share: answers, their order of change, and the bytes of responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plait.base.query import Call
from plait.xds import wire
from plait.xds.channel import NONE, Want
from plait.xds.resource import CLUSTER, ENDPOINTS, LISTENER, Absent, Answer, Present, Resource
from plait.xds.wire import Payload

_KEPT = 32  # responses kept of one topic while nothing changes
_REMEMBERED = 10_000  # names that left; a client that misses more keeps clusters nobody uses


class Entry:
    """One watched answer, shared by all feeds in which it stands.

    Attributes:
        answer: as last published; None: not known yet.
        number: of the change that brought the answer.
        last: the resource as it last was, for clients that must not lose it yet.
        accepted: the resource as a client last acknowledged it.
        feeds: where it stands, and under what name.
    """

    __slots__ = ("_fragment", "accepted", "answer", "call", "feeds", "last", "number")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.answer: Answer | None = None
        self.number = 0
        self.last: Resource | None = None
        self.accepted: Resource | None = None
        self.feeds: dict[Feed, str] = {}
        self._fragment: bytes | None = None

    @property
    def resource(self) -> Resource | None:
        """The resource, if there is one now."""
        return self.answer.resource if isinstance(self.answer, Present) else None

    @property
    def is_absent(self) -> bool:
        """Whether the proxy is to know that there is none."""
        return isinstance(self.answer, Absent)

    def publish(self, answer: Answer, number: int) -> None:
        """Answer so from change `number` on."""
        self.answer, self.number, self._fragment = answer, number, None
        if isinstance(answer, Present):
            self.last = answer.resource

    def fragment(self, resource: Resource) -> bytes:
        """The present resource as an entry of a delta response."""
        if self._fragment is None:
            self._fragment = wire.fragment(resource)
        return self._fragment


class Feed:
    """The members of one wildcard, or of one set of names.

    Attributes:
        call: whose value is the membership; None: a set of names.
        members: by name, the one that changed last at the end.
        dead: names that left, with the number of that change and what they were last.
        number: of the newest change in it.
        target: the membership to go over to; None: no other than now.
        waiting: answers not known yet among the target.
        ready: it was complete once.
        topics: what it is part of.
    """

    __slots__ = (
        "_joined",
        "call",
        "dead",
        "key",
        "members",
        "number",
        "ready",
        "target",
        "topics",
        "waiting",
    )

    def __init__(self, key: Any, call: Call | None) -> None:
        self.key = key
        self.call = call
        self.members: dict[str, Entry] = {}
        self.dead: dict[str, tuple[int, Resource | None]] = {}
        self.number = 0
        self.ready = False
        self.target: dict[str, Entry] | None = None
        self.waiting = 0
        self.topics: set[SharedTopic] = set()
        self._joined: dict[str, int] = {}

    def changed(self, since: int) -> Iterator[tuple[str, Entry]]:
        """Members that changed or joined after `since`, newest first."""
        joined = self._joined
        for name in reversed(self.members):
            entry = self.members[name]
            if entry.number <= since and joined.get(name, 0) <= since:
                return
            yield name, entry

    def joined(self, name: str) -> int:
        """Number of the change by which `name` became a member; 0: from the start, or none."""
        return self._joined.get(name, 0)

    def touch(self, name: str, entry: Entry, number: int) -> bool:
        """Put a changed entry in its place; False: it is no member."""
        if self.members.get(name) is not entry:
            return False
        del self.members[name]
        self.members[name] = entry
        self.number = number
        return True

    def turn(self, number: int) -> tuple[Entry, ...]:
        """Go over to the target; returns the entries that left."""
        target, self.target = self.target or {}, None
        left = [(name, e) for name, e in self.members.items() if target.get(name) is not e]
        for name, entry in left:
            del self.members[name]
            self._joined.pop(name, None)
            if name not in target:
                self.dead[name] = (number, entry.last)
        while len(self.dead) > _REMEMBERED:
            del self.dead[next(iter(self.dead))]
        for name in sorted(target.keys() - self.members.keys()):
            self.members[name] = target[name]
            self.dead.pop(name, None)
            if self.ready:
                self._joined[name] = number
        if not self.ready:
            self.members = dict(sorted(self.members.items(), key=lambda item: item[1].number))
        self.number, self.ready = number, True
        return tuple(entry for _, entry in left)


class SharedTopic:
    """What a group of streams is to have of one type: see `xds.channel.Topic`.

    Attributes:
        watchers: who is to be told of changes.
        left_at: when the last watcher left, on the clock of `Hub.sweep`; None: not seen yet.
    """

    __slots__ = (
        "_compared",
        "_payloads",
        "_standing",
        "_untaken",
        "feeds",
        "key",
        "left_at",
        "names",
        "number",
        "type_url",
        "watchers",
        "wildcard",
    )

    def __init__(
        self, type_url: str, feeds: tuple[Feed, ...], names: frozenset[str], *, wildcard: bool
    ) -> None:
        self.type_url = type_url
        self.feeds = feeds
        self.names = names
        self.wildcard = wildcard
        self.key: Any = None
        self.number = 0
        self.watchers: set[Any] = set()
        self.left_at: float | None = None
        self._payloads: dict[Want, Payload] = {}
        self._standing: tuple[dict[str, str], frozenset[str], frozenset[str]] | None = None
        self._compared: tuple[Any, tuple[frozenset[str], frozenset[str]]] | None = None
        self._untaken: dict[str, tuple[Entry, Resource]] | None = None
        self.refresh(1)

    def refresh(self, least: int) -> None:
        """Look at the feeds again; an empty topic that is known has the number `least`."""
        if all(feed.ready for feed in self.feeds):
            self.number = max((feed.number for feed in self.feeds), default=0) or least
        self.forget()

    def forget(self) -> None:
        """Drop what can be worked out again."""
        self._payloads.clear()
        self._standing = self._compared = self._untaken = None

    def payload(self, want: Want) -> Payload:
        """The response that brings a stream to `number`."""
        found = self._payloads.get(want)
        if found is None:
            found = self._build(want)
            if len(self._payloads) < _KEPT:
                self._payloads[want] = found
        return found

    def differing(self, since: int, removed_since: int) -> frozenset[str]:
        """Names that changed after the one number, or went after the other."""
        present, removed = self._select(Want(since=since, removed_since=removed_since))
        return frozenset(present) | frozenset(removed)

    def has(self, name: str) -> bool:
        """Whether the topic speaks of this name."""
        return any(name in feed.members for feed in self.feeds)

    def held(self, number: int, cleared: int) -> dict[str, str]:
        """Versions by name of what a client has that took all up to `number`; "" if unsure.

        It was told all removals up to `cleared`.
        """
        found: dict[str, str] = {}
        for feed in self.feeds:
            for name, entry in feed.members.items():
                if (resource := entry.resource) is not None:
                    has = self._moved(name, entry) <= number
                    found.setdefault(name, resource.version if has else "")
                elif entry.last is not None and entry.number > cleared:
                    found.setdefault(name, "")
            for name, (died, _) in feed.dead.items():
                if died > cleared:
                    found.setdefault(name, "")
        return found

    def compared(self, held: Mapping[str, str]) -> tuple[frozenset[str], frozenset[str]]:
        """Names to send to a client that holds these versions, and names to call removed.

        Clients that hold the same share what they said of it (`wire.Reader`), and the answer.
        """
        if self._standing is None:
            self._standing = self._stand()
        if self._compared is None or self._compared[0] is not held:
            self._compared = (held, self._compare(held, *self._standing))
        return self._compared[1]

    def _compare(
        self,
        held: Mapping[str, str],
        versions: Mapping[str, str],
        absent: frozenset[str],
        pending: frozenset[str],
    ) -> tuple[frozenset[str], frozenset[str]]:
        # that a cluster goes says enough of its endpoints
        told = absent - held.keys() if self.type_url == ENDPOINTS else absent
        if held == versions:  # what clients that come back mostly say
            return told, NONE
        owed = told.union(name for name, version in versions.items() if held.get(name) != version)
        return owed, frozenset(held.keys() - versions.keys() - absent - pending)

    def taken(self, held: Mapping[str, str]) -> None:
        """Note that a client says it has accepted these versions.

        What is as the client has it was accepted, though by a control plane that has ended.  Only
        the first of many clients that say the same is listened to in full.
        """
        if self._untaken is None:
            found = ((name, entry, entry.resource) for name, entry in self._all())
            self._untaken = {n: (e, r) for n, e, r in found if r and e.accepted is not r}
        for name, (entry, resource) in tuple(self._untaken.items()):
            if held.get(name) == resource.version:
                entry.accepted = resource
                del self._untaken[name]

    def _stand(self) -> tuple[dict[str, str], frozenset[str], frozenset[str]]:
        """Versions by name; names asked for that do not exist; names that are not known yet."""
        versions, absent, pending = {}, set(), set()
        for name, entry in self._all():
            if (resource := entry.resource) is not None:
                versions[name] = resource.version
            elif not entry.is_absent:
                pending.add(name)
            elif name in self.names:
                absent.add(name)
        return versions, frozenset(absent), frozenset(pending)

    def _all(self) -> Iterator[tuple[str, Entry]]:
        """All members, each name once: the first feed wins."""
        if len(self.feeds) == 1:
            yield from self.feeds[0].members.items()
            return
        merged: dict[str, Entry] = {}
        for feed in reversed(self.feeds):
            merged.update(feed.members)
        yield from merged.items()

    def _build(self, want: Want) -> Payload:
        present, removed = self._select(want)
        if want.whole and self.type_url in (CLUSTER, LISTENER):
            return self._whole(want, present) if present or removed else Payload(b"", {})
        entries = {name: present[name] for name in sorted(present)}
        resources = {n: r for n, e in entries.items() if (r := e.resource) is not None}
        if want.whole:
            data = wire.state(self.type_url, resources.values())
        else:
            fragments = [entries[n].fragment(r) for n, r in resources.items()]
            data = wire.delta(self.type_url, fragments, removed)
        return Payload(data, resources, () if want.whole else removed, entries)

    def _select(self, want: Want) -> tuple[dict[str, Entry], tuple[str, ...]]:
        """Entries to send by name, and the names to call removed, in order."""
        present: dict[str, Entry] = {}
        removed = {name for name in want.gone if not self.has(name)}  # it may have come back
        for name, entry in self._candidates(want):
            if entry.resource is not None:
                if not want.since or name in want.owed or want.since < self._moved(name, entry):
                    present.setdefault(name, entry)
            elif entry.is_absent and name not in present and self._tells(name, want):
                removed.add(name)
        if want.removes and want.since:
            removed.update(self._died(want.removed_since))
        return present, tuple(sorted(n for n in removed if n not in present))

    def _candidates(self, want: Want) -> Iterator[tuple[str, Entry]]:
        if not want.since:
            yield from self._all()
            return
        since = min(want.since, want.removed_since) if want.removes else want.since
        for feed in self.feeds:
            for name, entry in feed.changed(since):
                yield name, self._first(name) or entry
        for name in want.owed:
            if (owed := self._first(name)) is not None:
                yield name, owed

    def _first(self, name: str) -> Entry | None:
        """The entry of that name in the first feed that has it."""
        for feed in self.feeds:
            if (entry := feed.members.get(name)) is not None:
                return entry
        return None

    def _moved(self, name: str, entry: Entry) -> int:
        """Number of the change by which `name` came to be as it is for streams of this topic."""
        return max(entry.number, *(feed.joined(name) for feed in self.feeds), 0)

    def _tells(self, name: str, want: Want) -> bool:
        """Whether the absence of a member is news to the client, and may be told now."""
        if name in want.owed:
            return True
        if want.since and self.type_url == ENDPOINTS:
            return False  # who has the cluster no more asks no more; nobody is told of both
        return want.removes if want.since else name in self.names

    def _died(self, since: int) -> Iterator[str]:
        for feed in self.feeds:
            for name in reversed(feed.dead):
                if feed.dead[name][0] <= since:
                    break
                if not self.has(name):
                    yield name

    def _whole(self, want: Want, news: Mapping[str, Entry]) -> Payload:
        """All there is, with what may not be removed yet as it last was."""
        entries = dict(sorted(self._all()))
        found = {n: r for n, e in entries.items() if (r := e.resource) is not None}
        if not want.removes:
            found |= self._kept(want.removed_since, entries)
        resources = {name: found[name] for name in sorted(found)}
        data = wire.state(self.type_url, resources.values())
        known = {n: entries[n] for n in resources if n in entries}
        return Payload(data, resources, (), known, news)

    def _kept(self, since: int, entries: Mapping[str, Entry]) -> dict[str, Resource]:
        """Resources that went after `since`."""
        kept = {
            name: entry.last
            for name, entry in entries.items()
            if entry.is_absent and entry.number > since and entry.last is not None
        }
        for feed in self.feeds:
            for name, (died, last) in feed.dead.items():
                if died > since and last is not None and name not in entries:
                    kept[name] = last
        return kept
