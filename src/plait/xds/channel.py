"""One type of one client's xDS conversation: how much of a topic the client has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from plait.xds.wire import Payload

NONE: frozenset[str] = frozenset()


class Want(Struct, frozen=True, kw_only=True):
    """Which part of a topic a stream needs.

    Attributes:
        since: what changed after this number; 0: everything.
        removed_since: what went after this number.
        removes: whether removals may be told now.
        owed: names to send whether they changed or not.
        gone: names to call removed, which the topic does not know.
        whole: a state-of-the-world response.
    """

    since: int
    removed_since: int
    removes: bool = True
    owed: frozenset[str] = NONE
    gone: frozenset[str] = NONE
    whole: bool = False


class Topic(Protocol):
    """What a group of streams is to have of one type."""

    @property
    def number(self) -> int:
        """Of the newest change; 0: nothing is known yet, and nothing may be answered."""
        ...

    @property
    def wildcard(self) -> bool:
        """Whether everything there is was asked for."""
        ...

    @property
    def names(self) -> frozenset[str]:
        """Names asked for one by one."""
        ...

    def payload(self, want: Want) -> Payload:
        """The response that brings a stream to `number`; shared by those that want the same."""
        ...

    def differing(self, since: int, removed_since: int) -> frozenset[str]:
        """Names that changed after the one number, or went after the other."""
        ...

    def has(self, name: str) -> bool:
        """Whether the topic speaks of this name."""
        ...

    def held(self, number: int, cleared: int) -> dict[str, str]:
        """Versions by name of what a client has that took all up to `number`; "" if unsure.

        It was told all removals up to `cleared`.
        """
        ...

    def compared(self, held: Mapping[str, str]) -> tuple[frozenset[str], frozenset[str]]:
        """Names to send to a client that holds these versions, and names to call removed."""
        ...

    def taken(self, held: Mapping[str, str]) -> None:
        """Note that a client says it has accepted these versions."""
        ...


class Topics(Protocol):
    """Where the topics of one placement are found."""

    def topic(self, type_url: str, names: frozenset[str], *, wildcard: bool) -> Topic:
        """The topic of a subscription; whoever takes one gives it back with `leave`.

        Raises:
            Malformed: there is no such type.
        """
        ...

    def leave(self, topic: Topic) -> None:
        """Give a topic back."""
        ...


class Channel:
    """One type of a stream.

    Attributes:
        seen: the client was given all changes up to this number, whatever it made of them.
        cleared: the client was told all removals up to this number.
        acked: the client took all changes up to this number.
        sending: number that the unacknowledged response brings the client to; 0: there is none.
        owed: names to be sent whether they changed or not.
        gone: names that the client holds and the topic does not know.
        held: versions by name that the client holds, to be compared when the topic is known.
        refused: names of which the client holds an older version than it was sent.
        error: the client's words when it last refused something, and when that was.
        since: when the client last ceased to be up to date; None: it is.
    """

    __slots__ = (
        "acked",
        "cleared",
        "error",
        "fresh",
        "gone",
        "held",
        "nonce",
        "owed",
        "payload",
        "refused",
        "seen",
        "sending",
        "since",
        "topic",
        "type_url",
    )

    def __init__(self, type_url: str, topic: Topic) -> None:
        self.type_url = type_url
        self.topic = topic
        self.seen = self.cleared = self.acked = self.sending = 0
        self.fresh = True  # nothing was answered yet
        self.nonce = ""
        self.payload: Payload | None = None
        self.owed = self.gone = self.refused = NONE
        self.held: Mapping[str, str] | None = None
        self.error: tuple[str, float] | None = None
        self.since: float | None = None

    @property
    def changed(self) -> bool:
        """Whether something other than a removal waits to be sent."""
        return bool(self.seen < self.topic.number or self.owed or self.fresh)

    @property
    def settled(self) -> bool:
        """Whether the client has acknowledged everything."""
        topic = self.topic
        return (
            self.acked >= topic.number > 0
            and self.cleared >= topic.number
            and not (self.sending or self.owed or self.gone or self.refused)
        )

    @property
    def confirmed(self) -> int:
        """Number up to which the client took everything, removals too."""
        told = min(self.acked, self.cleared)
        return min(told, self.sending - 1) if self.sending else told

    @property
    def idle(self) -> bool:
        """Whether it is settled and nothing it holds waits to be compared."""
        return not self.fresh and self.held is None and self.settled

    def behind(self) -> frozenset[str]:
        """Names in which the client differs from what it should have."""
        pending = self.topic.differing(self.acked, min(self.acked, self.cleared))
        return pending | self.owed | self.gone | self.refused

    def holds(self) -> dict[str, str]:
        """Versions by name of what the client has now, or will have when it answers."""
        return self.topic.held(self.sending or self.seen, self.cleared)

    def sort(self) -> None:
        """Call gone what is owed and the topic does not know; only a known topic can tell."""
        lost = frozenset(name for name in self.owed if not self.topic.has(name))
        if lost:
            self.owed -= lost
            self.gone |= lost

    def resume(self, held: Mapping[str, str]) -> None:
        """Go on from what the client holds."""
        topic = self.topic
        owed, gone = topic.compared(held)
        if self.fresh:  # the client's own words, and not what it was sent since
            topic.taken(held)
        self.owed |= owed
        self.gone |= gone
        self.seen = self.cleared = topic.number
        self.acked = 0 if self.owed or self.gone or self.refused else topic.number
        self.fresh, self.held = False, None
